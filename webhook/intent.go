package webhook

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/templates"
)

// Intent is what a pod and its namespace ask for, checked and complete.
type Intent struct {
	Subject     Subject
	ID          spiffeid.ID
	X509SVIDTTL time.Duration
	Inbound     []templates.Inbound
	Upstreams   []templates.Upstream
	LogLevel    string // of Envoy
}

// draft collects the parsed annotations of one pod. Its parse methods are the parsers of the table.
type draft struct {
	platform Platform

	id        spiffeid.ID // zero when not asked for
	appPort   uint16      // zero when not asked for
	peers     []templates.Peer
	upstreams []templates.Upstream
	ttl       time.Duration
	logLevel  string
}

func (d *draft) trustDomain() spiffeid.TrustDomain { return d.platform.Cluster.TrustDomain }

// ParseIntent reads the annotations of a pod over those of its namespace over the platform's defaults. The intent is of use
// only without mistakes.
func ParseIntent(p Platform, ns Namespace, pod *corev1.Pod) (Intent, []Mistake) {
	d := draft{platform: p, peers: p.AllowedPeers, ttl: p.X509SVIDTTL, logLevel: p.Sidecar.LogLevel}
	mistakes := d.readAnnotations("", pod.Annotations)
	inherited := maps.Clone(ns.Annotations)
	maps.DeleteFunc(inherited, func(key, _ string) bool { _, own := pod.Annotations[key]; return own })
	mistakes = append(mistakes, d.readAnnotations(" of namespace "+ns.Name, inherited)...)

	asked := func(key string) bool {
		_, onPod := pod.Annotations[key]
		_, onNamespace := inherited[key]
		return onPod || onNamespace
	}
	in := Intent{Subject: subject(ns, pod), ID: d.id, X509SVIDTTL: d.ttl, Upstreams: d.upstreams, LogLevel: d.logLevel}
	identityFrom := "annotation " + AnnotationSPIFFEID
	if !asked(AnnotationSPIFFEID) {
		identityFrom = "identity, from the platform's identity.templates"
		id, err := defaultID(d.trustDomain(), p.Templates, in.Subject)
		if err != nil {
			mistakes = append(mistakes, Mistake{Where: identityFrom, What: err.Error()})
		}
		in.ID = id
	}
	if !in.ID.IsZero() {
		if err := Authorize(d.trustDomain(), p.Claims, in.Subject, in.ID); err != nil {
			mistakes = append(mistakes, Mistake{Where: identityFrom, What: err.Error()})
		}
	}
	if d.appPort != 0 {
		in.Inbound = []templates.Inbound{{Listen: p.InboundPort, App: d.appPort, Peers: d.peers}}
	}
	// What seems to be missing may be there under a wrong name, which is told already.
	if len(unknownKeys(pod.Annotations))+len(unknownKeys(inherited)) == 0 {
		mistakes = append(mistakes, d.omissions(asked, pod)...)
	}
	mistakes = append(mistakes, portMistakes(in, pod)...)
	return in, mistakes
}

// omissions are annotations that have no sense without another one. Asked says whether an annotation was written at all,
// with whatever value.
func (d *draft) omissions(asked func(key string) bool, pod *corev1.Pod) []Mistake {
	var mistakes []Mistake
	if asked(AnnotationAppPort) && len(d.peers) == 0 && !asked(AnnotationAllowedPeers) {
		mistakes = append(mistakes, Mistake{"annotation " + AnnotationAllowedPeers,
			"expected at least one peer that may call " + AnnotationAppPort + ", got none", `an example: "/web, /ns/prod/*"`})
	}
	// A namespace's default peers are of use to those of its pods that have a port.
	if _, onPod := pod.Annotations[AnnotationAllowedPeers]; onPod && !asked(AnnotationAppPort) {
		mistakes = append(mistakes, Mistake{"annotation " + AnnotationAllowedPeers,
			"has no effect without an inbound listener", "add " + AnnotationAppPort + " with the port on which the app listens, or remove it"})
	}
	if !asked(AnnotationAppPort) && !asked(AnnotationUpstreams) {
		mistakes = append(mistakes, Mistake{"annotations",
			fmt.Sprintf("expected %s, %s or both, got neither: the sidecar would have nothing to do", AnnotationAppPort, AnnotationUpstreams), ""})
	}
	return mistakes
}

// subject is who a pod is to the API server.
func subject(ns Namespace, pod *corev1.Pod) Subject {
	account := pod.Spec.ServiceAccountName
	if account == "" {
		account = defaultAccount
	}
	return Subject{Namespace: ns.Name, ServiceAccount: account, Labels: pod.Labels}
}

// readAnnotations parses the annotations under our prefix, in order of their keys. Of says whose they are, for messages.
func (d *draft) readAnnotations(of string, values map[string]string) []Mistake {
	var mistakes []Mistake
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !isOurs(key) {
			continue
		}
		where := "annotation " + key
		row, known := annotationFor(key)
		switch {
		case !known && key == LabelInject:
			mistakes = append(mistakes, Mistake{where + of, "is a label, not an annotation", "move it to labels"})
		case !known:
			mistakes = append(mistakes, Mistake{where + of, "unknown key", orKnownKeys(didYouMean(key, writtenByUsers()...))})
		case row.parse == nil:
			mistakes = append(mistakes, Mistake{where + of, "is written by the webhook alone", "remove it"})
		default:
			for _, p := range row.parse(d, values[key]) {
				mistakes = append(mistakes, Mistake{Where: where + p.path + of, What: p.err.Error()})
			}
		}
	}
	return mistakes
}

func orKnownKeys(hint string) string {
	if hint != "" {
		return hint
	}
	return "expected one of " + strings.Join(writtenByUsers(), ", ")
}

func (d *draft) parseSPIFFEID(v string) []problem {
	id, err := parseID(d.trustDomain(), v)
	d.id = id
	return whole(err)
}

func (d *draft) parseAppPort(v string) []problem {
	n, err := strconv.Atoi(v)
	if err != nil {
		return whole(fmt.Errorf("expected a port from 1 to 65535, got %q", v))
	}
	d.appPort, err = portNumber(n)
	return whole(err)
}

func (d *draft) parseAllowedPeers(v string) []problem {
	items := strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })
	peers, problems := d.peerList("", items)
	d.peers = peers
	return problems
}

// peerList parses peers; path leads to the list inside its annotation.
func (d *draft) peerList(path string, items []string) ([]templates.Peer, []problem) {
	if len(items) == 0 {
		return nil, []problem{{path, errors.New("expected at least one peer, got an empty list")}}
	}
	var peers []templates.Peer
	var problems []problem
	for _, s := range items {
		peer, err := templates.ParsePeer(d.trustDomain(), nil, s)
		if err != nil {
			problems = append(problems, problem{path, err})
			continue
		}
		if !slices.Contains(peers, peer) {
			peers = append(peers, peer)
		}
	}
	return peers, problems
}

// upstreamItem is one item of the upstreams annotation as it is written.
type upstreamItem struct {
	Listen   *int     `json:"listen"`
	Address  string   `json:"address"`
	Peers    []string `json:"peers"`
	Protocol string   `json:"protocol"`
}

func (d *draft) parseUpstreams(v string) []problem {
	var items []upstreamItem
	if err := yaml.UnmarshalStrict([]byte(v), &items); err != nil {
		return whole(fmt.Errorf(`expected a YAML list such as - {listen: 8000, address: "api.default.svc:8443", peers: [/api]}: %w`, err))
	}
	if len(items) == 0 {
		return whole(errors.New("expected at least one upstream, got an empty list"))
	}
	var problems []problem
	for i, item := range items {
		path := fmt.Sprintf("[%d]", i)
		var up templates.Upstream
		var err error
		if item.Listen == nil {
			problems = append(problems, problem{path + ".listen", errors.New("expected the port on 127.0.0.1 that the app talks to, got nothing")})
		} else if up.Listen, err = portNumber(*item.Listen); err != nil {
			problems = append(problems, problem{path + ".listen", err})
		}
		if up.Address, err = templates.ParseAddress(item.Address); err != nil {
			problems = append(problems, problem{path + ".address", err})
		}
		if up.Protocol, err = templates.ParseProtocol(item.Protocol); err != nil {
			problems = append(problems, problem{path + ".protocol", err})
		}
		peers, inPeers := d.peerList(path+".peers", item.Peers)
		up.Peers = peers
		problems = append(problems, inPeers...)
		d.upstreams = append(d.upstreams, up)
	}
	return problems
}

func (d *draft) parseX509SVIDTTL(v string) []problem {
	ttl, err := parseTTL(v)
	d.ttl = ttl
	return whole(err)
}

func (d *draft) parseProxyLogLevel(v string) []problem {
	d.logLevel = v
	if slices.Contains(logLevels, v) {
		return nil
	}
	return whole(fmt.Errorf("expected one of %s, got %q", strings.Join(logLevels, ", "), v))
}
