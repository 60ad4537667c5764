package intent

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// clientsItem is what an item of the inbound annotation says of callers that are not pods of the mesh: clients at a public edge, and
// those on whose behalf a gateway calls.
type clientsItem struct {
	Certificate       *certificateItem `json:"certificate"`
	ClientCertificate string           `json:"clientCertificate"`
	ForwardedClients  *[]string        `json:"forwardedClients"`
	Limits            limitsItem       `json:"limits"`
}

// certificateItem is the certificate that callers are shown.
type certificateItem struct {
	Secret string `json:"secret"`
}

// limitsItem are limits as they are written; what is empty is the default.
type limitsItem struct {
	MaxConnections    scalar `json:"maxConnections"`
	MaxRequestBytes   scalar `json:"maxRequestBytes"`
	RequestTimeout    scalar `json:"requestTimeout"`
	StreamIdleTimeout scalar `json:"streamIdleTimeout"`
	IdleTimeout       scalar `json:"idleTimeout"`
}

// scalar is a number or a text, as it is written.
type scalar string

// UnmarshalJSON reads both.
func (s *scalar) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*s = scalar(text)
		return nil
	}
	var number json.Number
	if err := json.Unmarshal(data, &number); err != nil {
		return fmt.Errorf("expected a number or a text, got %s", data)
	}
	*s = scalar(number)
	return nil
}

// Bounds of limits. Zero is no limit.
const (
	maxLimitConnections = 1_000_000
	maxLimitBytes       = 1 << 40
	minLimitTime        = time.Second
	maxLimitTime        = 24 * time.Hour
)

var clientCertificates = []string{"required", "optional", "none"}

// clientsOf reads what an item says of its clients into the listener. Its protocol and TLS have been read.
func (d *draft) clientsOf(path string, item clientsItem, in *ir.Inbound) []problem {
	var problems []problem
	fail := func(field string, err error) {
		if err != nil {
			problems = append(problems, problem{path + field, err})
		}
	}
	var err error
	in.Clients, err = ir.ParseClientCertificate(item.ClientCertificate)
	fail(".clientCertificate", withHint(err, item.ClientCertificate, clientCertificates...))
	switch {
	case in.Clients != ir.Require && in.TLS != ir.Mutual:
		fail(".clientCertificate", fmt.Errorf("has no effect with tls: %s, where certificates come with mutual TLS or not at all: remove one of both", in.TLS))
		in.Clients = ir.Require
	case in.Clients == ir.Request && in.Protocol == ir.TCP:
		fail(".clientCertificate", errors.New("expected required or none with protocol tcp, got optional: a refusal takes an answer"))
	}
	if item.Certificate != nil {
		fail(".certificate", d.certificate(*item.Certificate, in))
	}
	if item.ForwardedClients != nil {
		switch {
		case in.TLS == ir.None || in.Clients != ir.Require:
			fail(".forwardedClients", errors.New("has no effect where callers may come without a certificate, of whom nothing is believed that they say of others: "+
				"remove it, or use tls: mutual and clientCertificate: required"))
		case in.Protocol == ir.TCP:
			fail(".forwardedClients", errors.New("expected protocol http, http2 or grpc, whose requests name the client in a header, got tcp"))
		}
		var inList []problem
		in.Forwarded, inList = d.peerList(path+".forwardedClients", *item.ForwardedClients)
		problems = append(problems, inList...)
	}
	in.Limits = ir.DefaultLimits(*in)
	return append(problems, item.Limits.read(path+".limits", in)...)
}

// certificate notes which Secret is to be mounted: a pod has one.
func (d *draft) certificate(item certificateItem, in *ir.Inbound) error {
	errs := validation.IsDNS1123Subdomain(item.Secret)
	switch {
	case in.TLS == ir.None:
		return fmt.Errorf("has no effect with tls: %s: remove one of both", in.TLS)
	case item.Secret == "":
		return errors.New("expected {secret: NAME}, a Secret of type kubernetes.io/tls in the pod's namespace, got no name")
	case len(errs) > 0:
		return fmt.Errorf("expected the name of a Secret, got %q: %s", item.Secret, strings.Join(errs, "; "))
	case d.certificateSecret != "" && d.certificateSecret != item.Secret:
		return fmt.Errorf("expected %s, as in an earlier listener, got %s: a pod shows the certificate of one Secret", d.certificateSecret, item.Secret)
	}
	d.certificateSecret, in.Certificate = item.Secret, true
	return nil
}

// read puts what is written in the place of the defaults.
func (l limitsItem) read(path string, in *ir.Inbound) []problem {
	var problems []problem
	fail := func(field string, err error) {
		if err != nil {
			problems = append(problems, problem{path + field, err})
		}
	}
	number := func(field string, s scalar, most int64, example string, into *uint64) {
		if s == "" {
			return
		}
		q, err := resource.ParseQuantity(string(s))
		n, whole := q.AsInt64()
		if err != nil || !whole || n < 0 || n > most {
			fail(field, fmt.Errorf("expected a whole number such as %s, 0 for no limit, at most %d, got %q", example, most, s))
			return
		}
		*into = uint64(n)
	}
	duration := func(field string, s scalar, into *time.Duration) {
		if s == "" {
			return
		}
		t, err := time.ParseDuration(string(s))
		if err != nil || t != 0 && (t < minLimitTime || t > maxLimitTime) {
			fail(field, fmt.Errorf("expected a duration from %s to %s, or 0s for no limit, got %q", minLimitTime, maxLimitTime, s))
			return
		}
		*into = t
	}
	if in.Protocol == ir.TCP {
		for field, s := range map[string]scalar{".maxRequestBytes": l.MaxRequestBytes, ".requestTimeout": l.RequestTimeout, ".streamIdleTimeout": l.StreamIdleTimeout} {
			if s != "" {
				fail(field, errors.New("has no effect with protocol tcp, which has no requests: remove it"))
			}
		}
		slices.SortFunc(problems, func(a, b problem) int { return strings.Compare(a.path, b.path) })
		l.MaxRequestBytes, l.RequestTimeout, l.StreamIdleTimeout = "", "", ""
	}
	number(".maxConnections", l.MaxConnections, maxLimitConnections, "5000", &in.Limits.MaxConnections)
	number(".maxRequestBytes", l.MaxRequestBytes, maxLimitBytes, "10Mi", &in.Limits.MaxRequestBytes)
	duration(".requestTimeout", l.RequestTimeout, &in.Limits.RequestTimeout)
	duration(".streamIdleTimeout", l.StreamIdleTimeout, &in.Limits.StreamIdleTimeout)
	duration(".idleTimeout", l.IdleTimeout, &in.Limits.IdleTimeout)
	return problems
}

// clientMistakes are listeners that do not go together with what other annotations say, or with each other.
func (d *draft) clientMistakes(listeners []ir.Inbound, written map[string]value) []Mistake {
	var mistakes []Mistake
	tell := func(i int, field, what, hint string) {
		path := fmt.Sprintf("[%d]%s", i, field)
		mistakes = append(mistakes, Mistake{Where: written[AnnotationInbound].where(AnnotationInbound, path), What: what, Hint: hint})
	}
	optional := slices.IndexFunc(listeners, func(in ir.Inbound) bool { return in.Clients == ir.Request })
	if optional >= 0 && d.audit {
		tell(optional, ".clientCertificate", "optional is not possible with "+AnnotationEnforcement+": "+enforcementAudit, "write required or none, or enforce")
	}
	for i, in := range listeners {
		if len(in.Forwarded) > 0 && d.audit {
			tell(i, ".forwardedClients", "is not possible with "+AnnotationEnforcement+": "+enforcementAudit+
				", which lets in others than the gateways, who could say that they call for anybody", "remove one of both")
		}
		if optional < 0 {
			continue
		}
		for _, peer := range in.Peers {
			if first := in.Peers[0].TrustDomain(); peer.TrustDomain() != first {
				tell(i, ".peers", fmt.Sprintf("expected peers of one trust domain in a pod with clientCertificate: optional, got %s and %s", first, peer.TrustDomain()),
					"write a listener for each")
				break
			}
		}
	}
	return mistakes
}
