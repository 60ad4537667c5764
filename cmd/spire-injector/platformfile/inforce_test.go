package platformfile

import (
	"math"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

const platformFile = `
apiVersion: injector.spiffe.io/v1alpha1
kind: InjectorConfig
trustDomain: example.org
clusterName: demo
spire:
  server: {address: "spire-server.spire:8081"}
  agentSocket: {hostPath: /run/spire/sockets, file: agent.sock}
sidecar: {image: first}
`

// source is what the file is from.
var source = &corev1.ConfigMap{}

// reports is what became known of reloads.
type reports struct {
	registry *prometheus.Registry
	events   []string
	log      []string
}

func newPlatform(t *testing.T, socketFixed bool) (*InForce, *reports) {
	t.Helper()
	r := &reports{registry: prometheus.NewRegistry()}
	metrics, err := NewMetrics(r.registry)
	if err != nil {
		t.Fatal(err)
	}
	platform, err := intent.ParsePlatform([]byte(platformFile))
	if err != nil {
		t.Fatal(err)
	}
	logger := funcr.New(func(_, line string) { r.log = append(r.log, line) }, funcr.Options{})
	return New(Config{
		File: []byte(
			platformFile,
		), Injector: inject.Injector{Platform: platform, Version: "v"}, SocketFixed: socketFixed, Metrics: metrics, Logger: logger,
		Event: func(about runtime.Object, eventType string, why reason.Reason, note string) {
			if about != source {
				t.Errorf("the event %s is about %v", why, about)
			}
			r.events = append(r.events, eventType+" "+why.String()+": "+note)
		},
	}), r
}

// values are the metrics: successes, failures, whether the last one succeeded, and the hash.
func (r *reports) values(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := strings.TrimPrefix(family.GetName(), "spire_injector_config_")
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			got[name] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
		}
	}
	return got
}

func values(success, failure, last float64) map[string]float64 {
	return map[string]float64{
		"reloads_total success":  success,
		"reloads_total failure":  failure,
		"last_reload_successful": last,
	}
}

// What the file does not say of addresses follows the cluster, also when it changes.
func TestIPFamilyOfTheCluster(t *testing.T) {
	t.Parallel()
	p, _ := newPlatform(t, false)
	platform, err := intent.ParsePlatform([]byte(platformFile))
	if err != nil {
		t.Fatal(err)
	}
	c := p.config
	c.Injector.Platform, c.IPFamily = platform, ir.IPv6
	p = New(c)
	expect := func(want ir.IPFamily) {
		t.Helper()
		if got := p.Get().Platform.IPFamily; got == nil || *got != want {
			t.Errorf("expected %s, got %v", want, got)
		}
	}
	expect(ir.IPv6)
	p.Offer(source, []byte(platformFile+"ipFamily: DualStack\n"))
	expect(ir.DualStack)
	p.Offer(source, []byte(platformFile+"locked: [mode]\n"))
	expect(ir.IPv6)
}

func TestReload(t *testing.T) {
	t.Parallel()
	with := func(from, to string) string { return strings.Replace(platformFile, from, to, 1) }
	tests := []struct {
		name        string
		file        string
		socketFixed bool
		image       string // in force afterwards
		metrics     map[string]float64
		reported    []string // in the event, and in the log
	}{
		{"nothing new", platformFile, false, "first", values(0, 0, 1), nil},
		{"good", with("first", "second"), false, "second", values(1, 0, 1), []string{"the new platform file is in force"}},
		{
			"two mistakes",
			with("sidecar: {image: first}", "sidecar: {image: second, logLevel: loud}\nlocked: [nothing]"),
			false,
			"first",
			values(0, 1, 0),
			[]string{
				"the old platform file stays in force",
				"sidecar.logLevel: expected one of",
				"locked[0]: expected the name",
			},
		},
		{"no YAML", "\t", false, "first", values(0, 1, 0), []string{"the old platform file stays in force", "expected YAML"}},
		{"what needs a restart", `
apiVersion: injector.spiffe.io/v1alpha1
kind: InjectorConfig
trustDomain: other.org
clusterName: other
spire:
  server: {address: "elsewhere:8081"}
  agentSocket: {hostPath: /elsewhere, file: agent.sock}
  entryScope: cluster
  prewarm: true
sidecar: {image: second}
`, false, "first", values(0, 1, 0), []string{
			"trustDomain: a running injector cannot change it; restart its replicas", "clusterName: a", "spire.nodeSelectors: a",
			"spire.entryScope: a", "spire.prewarm: a", "spire.server.address: a",
			"spire.agentSocket, by which the injector gets its own SVID as well: a",
		}},
		{
			"the pods' socket, where the injector has another one",
			strings.Replace(with("first", "second"), "/run/spire/sockets", "/elsewhere", 1),
			true,
			"second",
			values(1, 0, 1),
			nil,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			platform, r := newPlatform(t, test.socketFixed)
			taken := 0.
			platform.OnChange(func() { taken++ })
			platform.Offer(source, []byte(test.file))
			platform.Offer(source, []byte(test.file)) // a file that is known already is no news
			if got := platform.Get(); got.Platform.Sidecar.Image != test.image || got.Version != "v" {
				t.Errorf("expected the image %s and the old version, got %s and %s", test.image, got.Platform.Sidecar.Image,
					got.Version)
			}
			inForce := platformFile
			if test.metrics["reloads_total success"] > 0 {
				inForce = test.file
			}
			test.metrics["hash"] = Hash([]byte(inForce))
			if diff := cmp.Diff(test.metrics, r.values(t)); diff != "" {
				t.Errorf("metrics (-want +got):\n%s", diff)
			}
			if outcomes := test.metrics["reloads_total success"] + test.metrics["reloads_total failure"]; len(r.events) != int(
				outcomes,
			) ||
				len(r.log) != int(outcomes) {
				t.Errorf("expected %g events and lines of log, got %q and %q", outcomes, r.events, r.log)
			}
			if taken != test.metrics["reloads_total success"] {
				t.Errorf("%g times it was told that another file is in force", taken)
			}
			for _, part := range test.reported {
				if !strings.Contains(strings.Join(r.events, "\n"), part) || !strings.Contains(strings.Join(r.log, "\n"), part) {
					t.Errorf("expected %q in the event %q and in the log %q", part, r.events, r.log)
				}
			}
		})
	}
}

// What was decided by one platform file is not what another one decides.
func TestReloadForgetsDecisions(t *testing.T) {
	inForce, _ := newPlatform(t, false)
	pod := func() *corev1.Pod {
		pod := webhooktest.Server()
		delete(pod.Annotations, intent.AnnotationSPIFFEID)
		return pod
	}
	decide := func() (remembered bool, err error) {
		res, err := inForce.Get().Create(intent.Namespace{Name: "demo"}, pod())
		return res.Remembered, err
	}
	for _, want := range []bool{false, true} {
		if got, err := decide(); err != nil || got != want {
			t.Fatalf("expected remembered=%t, got %t (%v)", want, got, err)
		}
	}
	inForce.Offer(source, []byte(platformFile+"quarantine: [/ns/demo/sa/default]\n"))
	if _, err := decide(); err == nil {
		t.Error("a pod that was admitted before its identity was quarantined: expected a denial")
	}
	inForce.Offer(source, []byte(platformFile+"locked: [proxy-image]\n"))
	if got, err := decide(); err != nil || got {
		t.Errorf("by a new platform file: expected a new decision, got remembered=%t (%v)", got, err)
	}
}

func TestReloadAfterMistakeIsMended(t *testing.T) {
	t.Parallel()
	platform, r := newPlatform(t, false)
	platform.Offer(source, []byte("{}"))
	platform.Offer(source, []byte(platformFile))
	want := values(1, 1, 1)
	want["hash"] = Hash([]byte(platformFile))
	if diff := cmp.Diff(want, r.values(t)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

// A metric is a float64, which keeps 53 bits.
func TestHash(t *testing.T) {
	t.Parallel()
	first, second := Hash([]byte("first")), Hash([]byte("second"))
	if first == second || first != Hash([]byte("first")) {
		t.Errorf("expected one number for each content, got %f and %f", first, second)
	}
	for _, hash := range []float64{first, second} {
		if hash != math.Trunc(hash) || hash <= 0 || hash >= 1<<48 {
			t.Errorf("expected a whole number of 48 bits, got %f", hash)
		}
	}
}
