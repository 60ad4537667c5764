package intent

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// clientsItem is what an item of the inbound annotation says of callers that are not pods of the mesh: clients at a
// public edge, and those on whose behalf a gateway calls.
type clientsItem struct {
	Certificate       *certificateItem `json:"certificate"`
	ClientCertificate string           `json:"clientCertificate"`
	ForwardedClients  *[]string        `json:"forwardedClients"`
	TrustedProxies    *scalar          `json:"trustedProxies"`
	MinTLSVersion     scalar           `json:"minTLSVersion"`
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

// readClients reads what an item says of its clients into the listener. Its protocol and TLS have been read.
func (r *reader) readClients(f *fieldErrors, item clientsItem, in *ir.Inbound) {
	var err error
	in.Clients, err = ir.ParseClientCertificate(item.ClientCertificate)
	f.add(".clientCertificate", withHint(err, item.ClientCertificate, ir.ClientCertificates()...))
	if item.Certificate != nil {
		in.Certificate = true
		if in.TLS != ir.None {
			f.add(".certificate", r.readCertificate(*item.Certificate))
		}
	}
	if item.ForwardedClients != nil {
		in.Forwarded = r.peersOf(f, ".forwardedClients", *item.ForwardedClients)
	}
	f.add(".trustedProxies", readTrustedProxies(item.TrustedProxies, in))
	r.readTLSVersion(f, item.MinTLSVersion, in)
	in.Limits = r.defaultLimits(*in)
	item.Limits.read(f, &in.Limits)
}

// readCertificate notes which Secret is to be mounted: a pod has one.
func (r *reader) readCertificate(item certificateItem) error {
	errs := validation.IsDNS1123Subdomain(item.Secret)
	switch {
	case item.Secret == "":
		return errors.New("expected {secret: NAME}, a Secret of type kubernetes.io/tls in the pod's namespace, got no name")
	case len(errs) > 0:
		return fmt.Errorf("expected the name of a Secret, got %q: %s", item.Secret, strings.Join(errs, "; "))
	case r.CertificateSecret != "" && r.CertificateSecret != item.Secret:
		return fmt.Errorf(
			"expected %s, as in an earlier listener, got %s: a pod presents the certificate of one Secret",
			r.CertificateSecret,
			item.Secret,
		)
	}
	r.CertificateSecret = item.Secret
	return nil
}

// read puts what is written in the place of the defaults.
func (l limitsItem) read(f *fieldErrors, limits *ir.Limits) {
	for _, limit := range []struct {
		field   string
		written scalar
		parse   func(scalar) error
	}{
		{"maxConnections", l.MaxConnections, numberInto(&limits.MaxConnections, maxLimitConnections, "5000")},
		{"maxRequestBytes", l.MaxRequestBytes, numberInto(&limits.MaxRequestBytes, maxLimitBytes, "10Mi")},
		{"requestTimeout", l.RequestTimeout, durationInto(&limits.RequestTimeout)},
		{"streamIdleTimeout", l.StreamIdleTimeout, durationInto(&limits.StreamIdleTimeout)},
		{"idleTimeout", l.IdleTimeout, durationInto(&limits.IdleTimeout)},
	} {
		if limit.written != "" {
			f.add(".limits."+limit.field, limit.parse(limit.written))
		}
	}
}

func numberInto(into *uint64, most int64, example string) func(scalar) error {
	return func(s scalar) error {
		q, err := resource.ParseQuantity(string(s))
		n, whole := q.AsInt64()
		if err != nil || !whole || n < 0 || n > most {
			return fmt.Errorf("expected a whole number such as %s, 0 for no limit, at most %d, got %q", example, most, s)
		}
		*into = uint64(n)
		return nil
	}
}

func durationInto(into *time.Duration) func(scalar) error {
	return func(s scalar) error {
		t, err := time.ParseDuration(string(s))
		if err != nil || t != 0 && (t < minLimitTime || t > maxLimitTime) {
			return fmt.Errorf("expected a duration from %s to %s, or 0s for no limit, got %q", minLimitTime, maxLimitTime, s)
		}
		*into = t
		return nil
	}
}
