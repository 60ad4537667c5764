package inject

import (
	"errors"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

func isRefusal(err error) bool {
	var r *intent.Refusal
	return errors.As(err, &r)
}

// A platform file that is accepted has all that injection relies on.
func FuzzParsePlatform(f *testing.F) {
	f.Add([]byte(webhooktest.PlatformFile))
	f.Add(
		[]byte(
			webhooktest.PlatformFile + `
defaults: {inboundPort: 9443, allowedPeers: [/web], federatesWith: [a.org], x509SVIDTTL: 30s, jwtSVIDTTL: 1m, drain: 0s, minTLSVersion: "1.2"}
locked: [mode]
foreignAnnotations: [spiffe.io/x]
`,
		),
	)
	f.Add([]byte("apiVersion: injector.spiffe.io/v1alpha1\nkind: InjectorConfig\n"))
	f.Add([]byte("{}"))
	f.Add([]byte("- a"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := intent.ParsePlatform(data)
		if err != nil {
			return
		}
		if p.InboundPort == 0 || len(p.Templates) == 0 || p.Sidecar.Image == "" || p.X509SVIDTTL < 10*time.Second ||
			p.Drain < 0 ||
			p.Cluster.TrustDomain.IsZero() {
			t.Errorf("%s\nbecame %+v", data, p)
		}
		injector := Injector{Platform: p, Version: "test"}
		if _, err := injector.Inject(intent.Namespace{Name: "demo"}, webhooktest.Server()); err != nil && !isRefusal(err) {
			t.Errorf("%s\ncannot inject: %v", data, err)
		}
	})
}

func FuzzParseKubernetesVersion(f *testing.F) {
	for _, s := range []string{
		"v1.36.3", "1.28", "v1.34+", "v1.30.4-gke.100", "1", "v1.99999999999999999999", "", "v1.28.1\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseKubernetesVersion(s)
		if err == nil && (v.Major < 0 || v.Minor < 0) {
			t.Errorf("%q became %+v", s, v)
		}
	})
}
