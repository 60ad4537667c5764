package ir

import (
	"fmt"
	"slices"
)

// Problem is a rule that a [Proxy] breaks.
type Problem struct {
	// Path leads to the field, in the spelling of the annotations: "inbound[0].jwt.subjects". It is empty for the proxy as
	// a whole.
	Path string
	Code Code
	// Text says what was expected and what came, and what to do where that can be said in the words of the model.
	Text string
}

// String is the problem for people who filled in the model itself.
func (p Problem) String() string {
	if p.Path == "" {
		return p.Text
	}
	return p.Path + ": " + p.Text
}

// Code names the rule that a [Problem] is about. A value never changes its meaning.
type Code string

// The rules, in the order in which they are applied.
const (
	IDMissing         Code = "IDMissing"         // a proxy has a SPIFFE ID with a path
	TTLTooShort       Code = "TTLTooShort"       // SPIRE cannot renew in time
	SocketPath        Code = "SocketPath"        // what a Unix socket's address can be
	MemoryTooSmall    Code = "MemoryTooSmall"    // Envoy would shed load without any
	DrainNegative     Code = "DrainNegative"     // a time is not negative
	NothingToDo       Code = "NothingToDo"       // a proxy has listeners or upstreams
	GatewayIncomplete Code = "GatewayIncomplete" // a gateway has listeners and upstreams
	StatisticName     Code = "StatisticName"     // what a statistic's name can be
	CollectorMissing  Code = "CollectorMissing"  // spans go somewhere
	SamplingRange     Code = "SamplingRange"     // a part is none to all

	PortTaken        Code = "PortTaken"        // two listen on one port
	ListenMissing    Code = "ListenMissing"    // a listener has a port
	AppMissing       Code = "AppMissing"       // a listener has an app behind it
	AppOfGateway     Code = "AppOfGateway"     // a gateway has no app
	AppIsSidecar     Code = "AppIsSidecar"     // Envoy would call itself
	AppAddress       Code = "AppAddress"       // an app is in its own pod
	AppAddresses     Code = "AppAddresses"     // a port of the app is on one address
	AppProtocols     Code = "AppProtocols"     // a port of the app speaks one protocol
	CaptureOfGateway Code = "CaptureOfGateway" // there is nothing to capture
	CapturedTwice    Code = "CapturedTwice"    // a connection comes to one listener
	UnknownValue     Code = "UnknownValue"     // an enum has one of its values
	TCPRoutes        Code = "TCPRoutes"        // TCP has no host and path to route by

	PeersMissing     Code = "PeersMissing"     // to Envoy an empty list means everyone
	PeersUnused      Code = "PeersUnused"      // nobody presents a certificate
	PeerZero         Code = "PeerZero"         // nobody made the peer
	SeveralDomains   Code = "SeveralDomains"   // the CA of each domain would be trusted for the peers of all
	ClientsWithTLS   Code = "ClientsWithTLS"   // only mutual TLS has modes of client certificates
	RequestWithTCP   Code = "RequestWithTCP"   // a denial takes an answer
	RequestAudited   Code = "RequestAudited"   // Envoy's own validator cannot let everyone of a trusted domain in
	CertificateNoTLS Code = "CertificateNoTLS" // without TLS nothing is presented
	OldTLSMutual     Code = "OldTLSMutual"     // peers speak TLS 1.3

	RuleWithTCP     Code = "RuleWithTCP"     // TCP has no method and no path
	RuleWithRequest Code = "RuleWithRequest" // who presents no certificate has no rule
	RuleOrder       Code = "RuleOrder"       // an item is named by its place
	RuleUnused      Code = "RuleUnused"      // what one item allows no other takes away
	RuleEmpty       Code = "RuleEmpty"       // a rule leaves something out, and lets something in
	MethodSpelling  Code = "MethodSpelling"  // what a method can be
	PathZero        Code = "PathZero"        // nobody made the path
	TooManyRules    Code = "TooManyRules"    // each is compared with each request

	ForwardedMissing Code = "ForwardedMissing" // an empty list is not one that is not written
	ForwardedPublic  Code = "ForwardedPublic"  // whoever is no known gateway could name any client
	ForwardedTCP     Code = "ForwardedTCP"     // TCP has no header that names a client
	ForwardedAudited Code = "ForwardedAudited" // as ForwardedPublic

	JWTWithTCP       Code = "JWTWithTCP"       // TCP has no header for a token
	AudienceMissing  Code = "AudienceMissing"  // a token is for somebody
	AudienceSpelling Code = "AudienceSpelling" // what an audience can be
	SubjectsMissing  Code = "SubjectsMissing"  // every token would pass

	TrustedTooMany  Code = "TrustedTooMany"  // nobody has so many proxies
	TrustedOnPublic Code = "TrustedOnPublic" // elsewhere callers are peers, which are believed
	TrustedWithTCP  Code = "TrustedWithTCP"  // TCP has no headers

	LimitNegative Code = "LimitNegative" // a limit is not negative
	LimitWithTCP  Code = "LimitWithTCP"  // TCP has no requests

	ListenOfGateway Code = "ListenOfGateway" // a gateway has no app that calls
	MatchMissing    Code = "MatchMissing"    // a route says which requests it takes
	MatchNoGateway  Code = "MatchNoGateway"  // only a gateway routes
	MatchTwice      Code = "MatchTwice"      // one route takes a request
	AddressMissing  Code = "AddressMissing"  // an upstream is somewhere
	HostSpelling    Code = "HostSpelling"    // what a Host can be
	HostWithTCP     Code = "HostWithTCP"     // TCP has no Host

	NameDomain        Code = "NameDomain"        // Envoy asks DNS for a name that leads to itself in its pod
	NamePlace         Code = "NamePlace"         // a name has an address to itself
	NameInTheWay      Code = "NameInTheWay"      // an app on all addresses takes those of names too
	PassthroughOfPort Code = "PassthroughOfPort" // only a name has further ports

	ServerPeers       Code = "ServerPeers"       // a service outside the mesh has no SVID
	ServerCAMissing   Code = "ServerCAMissing"   // without a CA Envoy would take every certificate
	ServerNameMissing Code = "ServerNameMissing" // without a name it would take that of anyone
	TooManyCAs        Code = "TooManyCAs"        // each Secret is a file

	UpstreamTime        Code = "UpstreamTime"        // Envoy counts in milliseconds, and zero is no bound to it
	RequestsWithTCP     Code = "RequestsWithTCP"     // TCP has no requests
	UpstreamConnections Code = "UpstreamConnections" // more than a pod can open
	RetryAttempts       Code = "RetryAttempts"       // each retry is load for a peer that may have too much
	RetriesOff          Code = "RetriesOff"          // what never happens has no conditions
	RetryCondition      Code = "RetryCondition"      // one that Envoy knows, once
	ConditionOfGRPC     Code = "ConditionOfGRPC"     // only gRPC has its status
	TryTimeout          Code = "TryTimeout"          // the bound of a try leads to another one
	OutlierBounds       Code = "OutlierBounds"       // what Envoy can count, and waits for

	ProbePath   Code = "ProbePath"   // what the kubelet can ask for
	ProbeTarget Code = "ProbeTarget" // what the app can be asked for
	ProbeTwice  Code = "ProbeTwice"  // a path leads to one thing
)

// MissesValue says whether the rule is broken by a value that is not there, as one is that could not be read.
func (c Code) MissesValue() bool {
	return slices.Contains([]Code{
		IDMissing, TTLTooShort, NothingToDo, GatewayIncomplete, ListenMissing, AppMissing, PeersMissing, RuleEmpty,
		ForwardedMissing, AudienceMissing, SubjectsMissing, MatchMissing, AddressMissing, ServerCAMissing, ServerNameMissing,
	}, c)
}

// Codes are all rules.
func Codes() []Code {
	return []Code{
		IDMissing, TTLTooShort, SocketPath, MemoryTooSmall, DrainNegative, NothingToDo,
		GatewayIncomplete, StatisticName, CollectorMissing, SamplingRange, PortTaken, ListenMissing, AppMissing,
		AppOfGateway, AppIsSidecar, AppAddress, AppAddresses, AppProtocols, CaptureOfGateway, CapturedTwice, UnknownValue, TCPRoutes,
		PeersMissing, PeersUnused, PeerZero, SeveralDomains, ClientsWithTLS,
		RequestWithTCP, RequestAudited, CertificateNoTLS, OldTLSMutual, RuleWithTCP, RuleWithRequest,
		RuleOrder, RuleUnused, RuleEmpty, MethodSpelling, PathZero, TooManyRules,
		ForwardedMissing, ForwardedPublic, ForwardedTCP,
		ForwardedAudited, JWTWithTCP, AudienceMissing, AudienceSpelling, SubjectsMissing,
		TrustedTooMany, TrustedOnPublic, TrustedWithTCP,
		LimitNegative, LimitWithTCP, ListenOfGateway, MatchMissing, MatchNoGateway,
		MatchTwice, AddressMissing, HostSpelling, HostWithTCP,
		NameDomain, NamePlace, NameInTheWay, PassthroughOfPort,
		ServerPeers, ServerCAMissing, ServerNameMissing, TooManyCAs,
		UpstreamTime, RequestsWithTCP, UpstreamConnections, RetryAttempts, RetriesOff,
		RetryCondition, ConditionOfGRPC, TryTimeout, OutlierBounds,
		ProbePath, ProbeTarget, ProbeTwice,
	}
}

// problems collects what is wrong with a [Proxy].
type problems []Problem

func (p *problems) tell(path string, code Code, format string, args ...any) {
	*p = append(*p, Problem{Path: path, Code: code, Text: fmt.Sprintf(format, args...)})
}
