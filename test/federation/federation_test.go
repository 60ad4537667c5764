package federation

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/federation"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/test/monitoring"
	"github.com/spire-injector/spire-injector/test/standalone"
)

const (
	interval = time.Second
	// patience is that of the injector.
	patience = 2 * time.Second
)

// events are what a syncer told people.
type events struct {
	registry *prometheus.Registry // of the syncer's metrics

	mu  sync.Mutex
	all []string
}

func (e *events) add(_ string, why reason.Reason, note string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, why.String()+": "+note)
}

func (e *events) have(text string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Contains(strings.Join(e.all, "\n"), text)
}

// keep runs a syncer until stop or the end of the test.
func keep(t *testing.T, own server, wanted ...registrar.Federated) (stop func(), told *events) {
	t.Helper()
	told = &events{registry: prometheus.NewRegistry()}
	client, err := spireapi.Dial(spireapi.Config{ServerAddress: own.socket, TrustDomain: own.Domain})
	must(t, err)
	syncer := federation.New(federation.Config{
		SPIRE: client, Wanted: func() []registrar.Federated { return wanted }, Interval: time.Hour, Patience: patience, Arrived: func() {},
		Logger: testr.New(t), Metrics: told.registry, Event: told.add,
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- syncer.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		must(t, <-ended)
		must(t, client.Close())
	})
	t.Cleanup(stop)
	return stop, told
}

// withPartner is the relationship with a server that shows its own SVID.
func withPartner(endpoint string) registrar.Federated {
	td := spiffeid.RequireTrustDomainFromString(partnerDomain)
	return registrar.Federated{Refresh: interval, Relationship: registrar.Relationship{
		TrustDomain: td, BundleEndpointURL: endpoint, Profile: registrar.HTTPSSPIFFE, EndpointSPIFFEID: spiffeid.RequireFromPath(td, "/spire/server"),
	}}
}

// publicly is the relationship with a server that shows a certificate of the public web.
func publicly(endpoint string) registrar.Federated {
	return registrar.Federated{Refresh: interval, Relationship: registrar.Relationship{
		TrustDomain: spiffeid.RequireTrustDomainFromString(partnerDomain), BundleEndpointURL: endpoint, Profile: registrar.HTTPSWeb,
	}}
}

// eventually returns how long it took that something became true.
func eventually(t *testing.T, what string, is func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !is() {
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(begin)
}

// The partner's keys change although SPIRE takes its bundle to be good for days.
func TestBundlesStayFresh(t *testing.T) {
	t.Parallel()
	own := start(t, standalone.ServerConfig{Domain: ownDomain, LogLevel: "DEBUG"})
	partner, endpoint := startPartner(t)
	own.introduce(t, partner)

	stop, told := keep(t, own, withPartner(endpoint))
	took := eventually(t, "the partner's bundle", own.has(t, ""))
	want := partnerDomain + " " + endpoint + " spiffe://" + partnerDomain + "/spire/server"
	if got := own.relationships(t); len(got) != 1 || got[0] != want {
		t.Fatalf("relationships %q, want %q", got, want)
	}
	t.Logf("the bundle came %s after the syncer began", took.Round(time.Millisecond))
	time.Sleep(patience)
	for range 2 {
		took = eventually(t, "the partner's new key", own.has(t, partner.rotate(t)))
		t.Logf("a new key was known after %s, with an interval of %s", took.Round(time.Millisecond), interval)
	}
	wantExported(t, told.registry)
	if !own.polls() {
		t.Errorf("SPIRE has stopped to poll by itself:\n%s", own.Out)
	}

	// A quarter of the tenth of the root's life.
	if wait := time.Until(own.nextFetch(t)); wait < rootLife/40-time.Hour || wait > rootLife/40+time.Hour {
		t.Errorf("SPIRE fetches the bundle by itself in %s, expected %s", wait, rootLife/40)
	}

	// Without the syncer SPIRE keeps to that.
	stop()
	key, known := partner.rotate(t), own.has(t, "")
	if !known() {
		t.Fatal("the bundle is gone")
	}
	for end := time.Now().Add(10 * interval); time.Now().Before(end); time.Sleep(interval / 5) {
		if own.has(t, key)() {
			t.Fatal("SPIRE has fetched the bundle by itself: this test tells nothing of the syncer")
		}
	}
	keep(t, own, withPartner(endpoint))
	eventually(t, "the key that is missed", own.has(t, key))
}

// wantExported holds what is known of the metrics about federation, which alerts and the dashboard read, against what
// was exported.
func wantExported(t *testing.T, registry *prometheus.Registry) {
	t.Helper()
	families, err := registry.Gather()
	must(t, err)
	var text strings.Builder
	for _, family := range families {
		_, err := expfmt.MetricFamilyToText(&text, family)
		must(t, err)
	}
	exported, err := monitoring.Exported(text.String())
	must(t, err)
	for name, labels := range monitoring.Known() {
		if !strings.HasPrefix(name, monitoring.FederationPrefix) {
			continue
		}
		for label := range labels {
			if _, has := exported[name][label]; !has {
				t.Errorf("expected the metric %s with the label %s, got %v", name, label, exported[name])
			}
		}
	}
}

func TestRelationshipsComeBack(t *testing.T) {
	t.Parallel()
	own := start(t, standalone.ServerConfig{Domain: ownDomain, LogLevel: "DEBUG"})
	partner, endpoint := startPartner(t)
	own.introduce(t, partner)
	itself := withPartner(endpoint)
	itself.TrustDomain = own.Domain
	_, told := keep(t, own, itself, withPartner(endpoint))
	eventually(t, "the partner's bundle", own.has(t, ""))
	if !told.have("RelationshipRejected: spire.federation: SPIRE does not take the relationship with example.org") {
		t.Errorf("events %q, want that SPIRE refuses a relationship with itself", told.all)
	}
	own.dissolve(t)
	took := eventually(t, "the relationship", func() bool { return len(own.relationships(t)) == 1 })
	t.Logf("the relationship was there again after %s", took.Round(time.Millisecond))
	eventually(t, "the partner's new key", own.has(t, partner.rotate(t)))
}

// Nobody has introduced the partner: SPIRE cannot know its server.
func TestStaleBundlesAreReported(t *testing.T) {
	t.Parallel()
	own := start(t, standalone.ServerConfig{Domain: ownDomain, LogLevel: "DEBUG"})
	partner, endpoint := startPartner(t)
	_, told := keep(t, own, withPartner(endpoint))
	eventually(t, "an event", func() bool {
		return told.have("BundleStale: spire.federation: the bundle of partner.test has not been fetched for ")
	})
	own.introduce(t, partner)
	eventually(t, "the partner's bundle", own.has(t, ""))
}

// The partner shows a certificate of the public web: nobody has to introduce it, and who does not know its authority
// fetches nothing.
func TestPublicCertificates(t *testing.T) {
	t.Parallel()
	partner, endpoint, roots := startPublic(t)
	own := start(t, standalone.ServerConfig{Domain: ownDomain, LogLevel: "DEBUG", PublicRoots: roots})
	keep(t, own, publicly(endpoint))
	took := eventually(t, "the partner's bundle", own.has(t, ""))
	if got, want := own.relationships(t), partnerDomain+" "+endpoint+" https_web"; len(got) != 1 || got[0] != want {
		t.Fatalf("relationships %q, want %q", got, want)
	}
	t.Logf("the bundle came %s after the syncer began", took.Round(time.Millisecond))
	eventually(t, "the partner's new key", own.has(t, partner.rotate(t)))

	stranger := start(t, standalone.ServerConfig{Domain: "stranger.test"})
	_, told := keep(t, stranger, publicly(endpoint))
	eventually(t, "an event", func() bool {
		return told.have("BundleStale: spire.federation: the bundle of partner.test has not been fetched for ")
	})
	if keys := stranger.keys(t); len(keys) > 0 || !strings.Contains(stranger.Out.String(), "certificate signed by unknown authority") {
		t.Errorf("expected no keys of %s, since its authority is unknown; got %q:\n%s", partnerDomain, keys, stranger.Out)
	}
}
