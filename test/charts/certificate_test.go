package charts

import (
	"crypto/tls"
	"encoding/base64"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/spire-injector/spire-injector/webhook/servingcert"
)

// What Helm makes is a certificate for the Service, which the API server can verify.
func TestHelmMakesTheCertificate(t *testing.T) {
	t.Parallel()
	rendered, err := render(t.Context(), InjectorChart, "identity", "")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := Decode(rendered)
	if err != nil {
		t.Fatal(err)
	}
	decoded := func(text any) []byte {
		data, err := base64.StdEncoding.DecodeString(text.(string))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	secret, _, err := unstructured.NestedMap(objects["Secret identity spire-injector-serving-cert"].Object, "data")
	if err != nil || len(secret) != 3 {
		t.Fatalf("expected ca.crt, tls.crt and tls.key, got %d keys, %v", len(secret), err)
	}
	if _, err := tls.X509KeyPair(decoded(secret["tls.crt"]), decoded(secret["tls.key"])); err != nil {
		t.Fatal(err)
	}
	var registered []servingcert.Registered
	for _, kind := range []string{"Mutating", "Validating"} {
		webhooks, _, err := unstructured.NestedSlice(objects[kind+"WebhookConfiguration  spire-injector"].Object, "webhooks")
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range webhooks {
			w := w.(map[string]any)
			bundle := w["clientConfig"].(map[string]any)["caBundle"]
			registered = append(registered, servingcert.Registered{Webhook: w["name"].(string), CABundle: decoded(bundle)})
		}
	}
	if len(registered) < 5 {
		t.Errorf("expected the webhooks of both kinds, got %d", len(registered))
	}
	for _, years := range []int{0, 9} {
		now := time.Now().AddDate(years, 0, 0)
		c := &servingcert.Certificate{Host: "spire-injector.identity.svc"}
		if err := c.Offer(decoded(secret["tls.crt"]), decoded(secret["tls.key"]), now); err != nil {
			t.Fatal(err)
		}
		c.Trust(registered, now)
		if err := c.Trusted(now); err != nil {
			t.Errorf("after %d years: %v", years, err)
		}
	}
}
