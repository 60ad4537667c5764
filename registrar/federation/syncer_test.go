package federation_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/federation"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/registrar/spireapi/spiretest"
)

var exampleOrg = spiffeid.RequireTrustDomainFromString("example.org")

const (
	often    = 50 * time.Millisecond
	rarely   = time.Hour
	patience = 100 * time.Millisecond
)

// federated is a relationship of a trust domain with the public web's authentication.
func federated(name string, refresh time.Duration) registrar.Federated {
	return registrar.Federated{Refresh: refresh, Relationship: registrar.Relationship{
		TrustDomain: spiffeid.RequireTrustDomainFromString(name), BundleEndpointURL: "https://" + name + ":8443", Profile: registrar.HTTPSWeb,
	}}
}

// keeping is a syncer and what became known of its work.
type keeping struct {
	*federation.Syncer
	server   *spiretest.Server
	stop     func() // the server
	registry *prometheus.Registry
	arrived  atomic.Int32

	mu      sync.Mutex
	connect func(context.Context, string) (net.Conn, error) // to the server
	wanted  []registrar.Federated
	events  []string
	read    map[string]uint64 // sequence numbers of bundles by trust domain
}

// observed is a SPIRE server that waits for ever for the endpoint of slow.org, and tells which bundles are read.
type observed struct {
	*spireapi.Client
	read func(registrar.Bundle)
}

func (o observed) RefreshBundle(ctx context.Context, td spiffeid.TrustDomain) error {
	if td.Name() == "slow.org" {
		<-ctx.Done()
		return ctx.Err()
	}
	return o.Client.RefreshBundle(ctx, td)
}

func (o observed) FederatedBundle(ctx context.Context, td spiffeid.TrustDomain) (registrar.Bundle, error) {
	b, err := o.Client.FederatedBundle(ctx, td)
	o.read(b)
	return b, err
}

// serve returns a syncer that has not started, and its server.
func serve(t *testing.T, wanted ...registrar.Federated) *keeping {
	t.Helper()
	k := &keeping{server: spiretest.NewServer(exampleOrg), registry: prometheus.NewRegistry(), wanted: wanted, read: map[string]uint64{}}
	k.connect, k.stop = k.server.ServePipe(t)
	client, err := spireapi.Dial(spireapi.Config{
		ServerAddress: "unix:///in/memory",
		TrustDomain:   exampleOrg,
		Connect: func(ctx context.Context, address string) (net.Conn, error) {
			k.mu.Lock()
			connect := k.connect
			k.mu.Unlock()
			return connect(ctx, address)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	read := func(b registrar.Bundle) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.read[b.TrustDomain.Name()] = b.SequenceNumber
	}
	k.Syncer = federation.New(federation.Config{
		SPIRE:    observed{client, read},
		Interval: rarely,
		Patience: patience,
		Logger:   logr.Discard(),
		Metrics:  k.registry,
		Arrived:  func() { k.arrived.Add(1) },
		Wanted: func() []registrar.Federated {
			k.mu.Lock()
			defer k.mu.Unlock()
			return k.wanted
		},
		Event: func(eventType string, why reason.Reason, note string) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.events = append(k.events, eventType+" "+why.String()+" "+note)
		},
	})
	return k
}

// start runs the syncer until the end of the test.
func (k *keeping) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func (k *keeping) want(wanted ...registrar.Federated) {
	k.mu.Lock()
	k.wanted = wanted
	k.mu.Unlock()
	k.RelationshipsChanged()
}

// happened says whether there was an event that begins so.
func (k *keeping) happened(event string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.ContainsFunc(k.events, func(e string) bool { return strings.HasPrefix(e, event) })
}

// endpoints are those of the server's relationships by trust domain.
func (k *keeping) endpoints() map[string]string {
	all := map[string]string{}
	for _, r := range k.server.Relationships() {
		all[r.GetTrustDomain()] = r.GetBundleEndpointUrl()
	}
	return all
}

// metric is the value of a series of a trust domain, by the end of its name and its result if it has one; false if it
// is not there.
func (k *keeping) metric(t *testing.T, name, td, result string) (float64, bool) {
	t.Helper()
	families, err := k.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if family.GetName() == "spire_injector_federation_"+name && labels["trust_domain"] == td && labels["result"] == result {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue(), true
			}
		}
	}
	return 0, false
}

// eventually fails the test if something does not become true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// sequence says whether the bundle of that number was fetched.
func (k *keeping) sequence(td string, want uint64) func() bool {
	return func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.read[td] == want
	}
}

// publish lets the endpoint of a trust domain serve a bundle with another key for each number.
func publish(k *keeping, td string, sequence uint64) {
	root := &types.X509Certificate{Asn1: fmt.Append(nil, sequence)}
	k.server.Publish(&types.Bundle{TrustDomain: td, SequenceNumber: sequence, X509Authorities: []*types.X509Certificate{root}})
}

func TestKeepsRelationships(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("moved.org", rarely), federated("others.org", rarely))
		k.start(t)
		eventually(t, "relationships of before", func() bool { return len(k.endpoints()) == 2 })

		moved := federated("moved.org", rarely)
		moved.BundleEndpointURL = "https://elsewhere.org/bundle"
		publish(k, "fresh.org", 7)
		k.want(moved, federated("fresh.org", rarely))
		want := map[string]string{"moved.org": "https://elsewhere.org/bundle", "others.org": "https://others.org:8443", "fresh.org": "https://fresh.org:8443"}
		eventually(t, fmt.Sprintf("relationships %v", want), func() bool { return fmt.Sprint(k.endpoints()) == fmt.Sprint(want) })
		eventually(t, "the bundle of fresh.org", k.sequence("fresh.org", 7))
		if calls := k.server.Calls("BatchDeleteFederationRelationship"); calls != 0 {
			t.Errorf("%d relationships deleted, want none", calls)
		}
	})
}

func TestNothingIsAskedOfSPIREWithoutFederation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t)
		k.start(t)
		k.Reconnected()
		time.Sleep(4 * often)
		if calls := k.server.Calls("ListFederationRelationships") + k.server.Calls("ListFederatedBundles"); calls != 0 {
			t.Errorf("%d calls, want none", calls)
		}
	})
}

func TestFetchesAgainAtItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("often.org", often), federated("rarely.org", rarely))
		for _, td := range []string{"often.org", "rarely.org"} {
			publish(k, td, 1)
		}
		k.start(t)
		for _, td := range []string{"often.org", "rarely.org"} {
			eventually(t, "the first bundle of "+td, k.sequence(td, 1))
		}
		eventually(t, "both to have arrived", func() bool { return k.arrived.Load() == 2 })
		for _, td := range []string{"often.org", "rarely.org"} {
			publish(k, td, 2)
		}
		eventually(t, "the second bundle", k.sequence("often.org", 2))
		if !k.sequence("rarely.org", 1)() {
			t.Error("the second bundle of rarely.org is there, want it not to be fetched yet")
		}
		eventually(t, "the change to be counted", func() bool {
			got, _ := k.metric(t, "bundle_changes_total", "often.org", "")
			return got == 1
		})
		if got, there := k.metric(t, "bundle_changes_total", "rarely.org", ""); got != 0 || !there {
			t.Errorf("%v changes (%t), want a 0 to count from", got, there)
		}
		if got, _ := k.metric(t, "refreshes_total", "rarely.org", "success"); got != 1 {
			t.Errorf("%v fetches of rarely.org, want 1", got)
		}
		if got, there := k.metric(t, "refreshes_total", "rarely.org", "failure"); got != 0 || !there {
			t.Errorf("%v failures (%t), want a 0 to count from", got, there)
		}
		if got, _ := k.metric(t, "refresh_interval_seconds", "rarely.org", ""); got != rarely.Seconds() {
			t.Errorf("interval %v, want %v", got, rarely.Seconds())
		}
		if got, _ := k.metric(t, "last_refresh_timestamp_seconds", "often.org", ""); time.Since(time.Unix(int64(got), 0)) > 10*time.Second {
			t.Errorf("last fetch at %v, want just now", got)
		}
	})
}

func TestStaleBundlesAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("silent.org", often), federated("patient.org", rarely))
		k.start(t)
		stale := "Warning BundleStale spire.federation: the bundle of silent.org has not been fetched for "
		eventually(t, "an event of silent.org", func() bool { return k.happened(stale) })
		if k.happened("Warning BundleStale spire.federation: the bundle of patient.org") {
			t.Error("patient.org is stale, want only after three intervals")
		}
		if got, _ := k.metric(t, "refreshes_total", "silent.org", "failure"); got < 2 {
			t.Errorf("%v failures, want every one to be counted", got)
		}
		if k.arrived.Load() != 0 {
			t.Error("a bundle arrived, want none")
		}

		publish(k, "silent.org", 3)
		eventually(t, "the bundle", k.sequence("silent.org", 3))
		eventually(t, "it to have arrived", func() bool { return k.arrived.Load() == 1 })
		// The failures of patient.org are tried again soon, and not only after an hour.
		publish(k, "patient.org", 4)
		eventually(t, "the bundle of patient.org", k.sequence("patient.org", 4))
	})
}

func TestRelationshipsThatSPIRERejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("example.org", often), federated("good.org", often))
		publish(k, "good.org", 1)
		k.start(t)
		eventually(t, "the bundle of good.org", k.sequence("good.org", 1))
		if !k.happened("Warning RelationshipRejected spire.federation: SPIRE does not take the relationship with example.org: ") {
			t.Errorf("events %q, want RelationshipRejected", k.events)
		}
		time.Sleep(4 * often)
		if got := k.server.Calls("BatchCreateFederationRelationship"); got != 2 {
			t.Errorf("%d calls to create, want one for each relationship and none soon again", got)
		}
	})
}

func TestRelationshipsThatAPolicyDenies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("denied.org", rarely))
		inPlace := func() float64 {
			got, there := k.metric(t, "relationship_in_place", "denied.org", "")
			if !there {
				return -1
			}
			return got
		}
		k.server.Before(func(_ context.Context, method string) error {
			if method == "BatchCreateFederationRelationship" {
				return status.Error(codes.PermissionDenied, "authorization denied")
			}
			return nil
		})
		k.start(t)
		eventually(t, "an event", func() bool { return k.happened("Warning RelationshipRejected ") })
		eventually(t, "the metric of a relationship that SPIRE has not", func() bool { return inPlace() == 0 })
		k.server.Before(nil)
		k.RelationshipsChanged()
		eventually(t, "the relationship, once it is allowed", func() bool { return len(k.endpoints()) == 1 })
		eventually(t, "the metric of a relationship that SPIRE has", func() bool { return inPlace() == 1 })
	})
}

// What SPIRE has is shown as soon as it was asked, and as it is.
func TestWhatSPIREHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("partner.org", often))
		shows := func(name string, want float64) func() bool {
			return func() bool {
				got, there := k.metric(t, name, "partner.org", "")
				return there && got == want
			}
		}
		k.server.Before(func(context.Context, string) error { return status.Error(codes.Unavailable, "not yet") })
		k.start(t)
		eventually(t, "a failure", func() bool {
			got, _ := k.metric(t, "refreshes_total", "partner.org", "failure")
			return got > 0
		})
		for _, name := range []string{"relationship_in_place", "bundle_present"} {
			if _, there := k.metric(t, name, "partner.org", ""); there {
				t.Errorf("%s is there, want it only after SPIRE has answered", name)
			}
		}
		k.server.Before(nil)
		eventually(t, "the relationship", shows("relationship_in_place", 1))
		eventually(t, "no bundle", shows("bundle_present", 0))
		publish(k, "partner.org", 1)
		eventually(t, "the bundle", shows("bundle_present", 1))
	})
}

func TestOneDomainDoesNotWaitForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("slow.org", often), federated("quick.org", often))
		publish(k, "quick.org", 1)
		k.start(t)
		eventually(t, "the first bundle", k.sequence("quick.org", 1))
		publish(k, "quick.org", 2)
		eventually(t, "the second bundle", k.sequence("quick.org", 2))
	})
}

func TestFollowsThePlatformFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("leaving.org", often), federated("staying.org", rarely))
		publish(k, "leaving.org", 1)
		k.start(t)
		eventually(t, "the bundle of leaving.org", k.sequence("leaving.org", 1))
		eventually(t, "failures of staying.org", func() bool {
			got, _ := k.metric(t, "refreshes_total", "staying.org", "failure")
			return got > 1
		})
		publish(k, "staying.org", 2)
		changed := time.Now() // about two seconds before the next try
		k.want(federated("staying.org", rarely))
		eventually(t, "the bundle of staying.org", k.sequence("staying.org", 2))
		if took := time.Since(changed); took > time.Second {
			t.Errorf("the bundle came after %s, want at once", took)
		}
		for _, name := range []string{"bundle_changes_total", "last_refresh_timestamp_seconds", "refresh_interval_seconds", "relationship_in_place", "bundle_present"} {
			if _, there := k.metric(t, name, "leaving.org", ""); there {
				t.Errorf("%s has leaving.org, want it dropped", name)
			}
		}
		if _, there := k.metric(t, "refreshes_total", "leaving.org", "success"); there {
			t.Error("refreshes_total has leaving.org, want it dropped")
		}
		if got := k.endpoints(); len(got) != 2 {
			t.Errorf("relationships %v, want that of leaving.org to stay", got)
		}
		calls := k.server.Calls("RefreshBundle")
		time.Sleep(4 * often)
		if got := k.server.Calls("RefreshBundle"); got != calls {
			t.Errorf("%d more fetches, want none", got-calls)
		}

		k.want(federated("staying.org", often))
		publish(k, "staying.org", 3)
		eventually(t, "the bundle at the shorter interval", k.sequence("staying.org", 3))
	})
}

// SPIRE comes back without what it knew.
func TestAfterSPIREWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("partner.org", rarely))
		publish(k, "partner.org", 1)
		k.start(t)
		eventually(t, "the bundle", k.sequence("partner.org", 1))

		k.stop()
		k.server = spiretest.NewServer(exampleOrg)
		publish(k, "partner.org", 2)
		k.server.Before(func(context.Context, string) error { return status.Error(codes.Unavailable, "not yet") })
		connect, _ := k.server.ServePipe(t)
		k.mu.Lock()
		k.connect = connect
		k.mu.Unlock()
		k.Reconnected()
		eventually(t, "a failure", func() bool {
			got, _ := k.metric(t, "refreshes_total", "partner.org", "failure")
			return got > 0
		})
		k.server.Before(nil)
		eventually(t, "the relationship", func() bool { return len(k.endpoints()) == 1 })
		k.Reconnected()
		eventually(t, "the bundle of after", k.sequence("partner.org", 2))
	})
}

// Somebody else removes it.
func TestRelationshipsThatVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("partner.org", often))
		publish(k, "partner.org", 1)
		k.start(t)
		eventually(t, "the bundle", k.sequence("partner.org", 1))
		k.server.DeleteRelationship(spiffeid.RequireTrustDomainFromString("partner.org"))
		eventually(t, "the relationship again", func() bool { return len(k.endpoints()) == 1 })
	})
}

func TestWhatWasThereDoesNotArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("partner.org", often))
		k.server.PutBundle(&types.Bundle{TrustDomain: "partner.org", SequenceNumber: 1})
		publish(k, "partner.org", 2)
		k.start(t)
		eventually(t, "two fetches", func() bool {
			got, _ := k.metric(t, "refreshes_total", "partner.org", "success")
			return got > 1
		})
		if got := k.arrived.Load(); got != 0 {
			t.Errorf("arrival was told %d times, want not at all", got)
		}
	})
}

// SPIRE takes a relationship up by itself before it is told to fetch.
func TestSPIREIsLeftAloneAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("partner.org", rarely))
		var mu sync.Mutex
		called := map[string]time.Time{} // for the first time
		k.server.Before(func(_ context.Context, method string) error {
			mu.Lock()
			defer mu.Unlock()
			if called[method].IsZero() {
				called[method] = time.Now()
			}
			return nil
		})
		wait := func() time.Duration {
			eventually(t, "a fetch", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return !called["RefreshBundle"].IsZero()
			})
			mu.Lock()
			defer mu.Unlock()
			took := called["RefreshBundle"].Sub(called["ListFederationRelationships"])
			clear(called)
			return took
		}
		publish(k, "partner.org", 1)
		k.start(t)
		if took := wait(); took < patience {
			t.Errorf("told to fetch after %s, want it after %s", took, patience)
		}
		eventually(t, "the bundle", k.sequence("partner.org", 1))
		k.Reconnected()
		if took := wait(); took < patience*9/10 { // it counts from a moment before the look
			t.Errorf("told to fetch %s after SPIRE is back, want it after %s", took, patience)
		}
	})
}

// A bundle that comes by other ways than ours is awaited as well.
func TestArrivalsAreNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("partner.org", rarely))
		k.start(t)
		eventually(t, "a failure", func() bool {
			got, _ := k.metric(t, "refreshes_total", "partner.org", "failure")
			return got > 0
		})
		k.server.PutBundle(&types.Bundle{TrustDomain: "partner.org", SequenceNumber: 1})
		k.RelationshipsChanged()
		eventually(t, "arrival", func() bool { return k.arrived.Load() == 1 })
		k.server.DeleteBundle(spiffeid.RequireTrustDomainFromString("partner.org"))
		looks := k.server.Calls("ListFederationRelationships")
		k.RelationshipsChanged()
		eventually(t, "a look", func() bool { return k.server.Calls("ListFederationRelationships") > looks })
		publish(k, "partner.org", 2)
		k.Reconnected()
		eventually(t, "the second arrival", func() bool { return k.arrived.Load() == 2 })
	})
}

// While SPIRE takes up a new relationship by itself, it is not told to fetch any bundle, of others neither.
func TestOthersWaitForANewRelationship(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("often.org", often))
		publish(k, "often.org", 1)
		k.start(t)
		eventually(t, "the first bundle", k.sequence("often.org", 1))
		var created, fetched time.Time
		var mu sync.Mutex
		k.server.Before(func(_ context.Context, method string) error {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case method == "BatchCreateFederationRelationship":
				created = time.Now()
			case method == "RefreshBundle" && !created.IsZero() && fetched.IsZero():
				fetched = time.Now()
			}
			return nil
		})
		k.want(federated("often.org", often), federated("new.org", rarely))
		time.Sleep(10 * patience)
		mu.Lock()
		defer mu.Unlock()
		if created.IsZero() || fetched.Sub(created) < patience {
			t.Errorf("created at %v, and a bundle fetched at %v; want it %v later", created, fetched, patience)
		}
	})
}

// What SPIRE cannot answer now is tried again, and is no rejection.
func TestSPIREGoesWhileARelationshipIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("partner.org", rarely))
		k.server.Before(func(_ context.Context, method string) error {
			if method == "BatchCreateFederationRelationship" {
				return status.Error(codes.Unavailable, "restarting")
			}
			return nil
		})
		k.start(t)
		time.Sleep(10 * time.Second)
		if k.happened("Warning RelationshipRejected") {
			t.Errorf("events %q, want none: SPIRE did not reject it", k.events)
		}
		tries := k.server.Calls("BatchCreateFederationRelationship")
		if tries < 4 || tries > 9 { // after 0.5, 1, 2, … seconds, and after fetches that find no relationship
			t.Errorf("%d tries in ten seconds, want some that come more and more rarely", tries)
		}
		k.server.Before(nil)
		time.Sleep(31 * time.Second)
		if len(k.endpoints()) != 1 {
			t.Error("the relationship is not made when SPIRE is back")
		}

		// The next failure is tried again soon.
		k.server.DeleteRelationship(spiffeid.RequireTrustDomainFromString("partner.org"))
		k.server.Before(func(context.Context, string) error { return status.Error(codes.Unavailable, "restarting") })
		k.RelationshipsChanged()
		time.Sleep(100 * time.Millisecond)
		k.server.Before(nil)
		time.Sleep(time.Second)
		if len(k.endpoints()) != 1 {
			t.Error("the first retry of another failure was not soon")
		}
	})
}

// Relationships are compared at the interval, however rarely their bundles are fetched.
func TestRelationshipsAreComparedAtTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("partner.org", 100*rarely))
		publish(k, "partner.org", 1)
		k.start(t)
		eventually(t, "the bundle", k.sequence("partner.org", 1))
		for range 3 {
			k.server.DeleteRelationship(spiffeid.RequireTrustDomainFromString("partner.org"))
			time.Sleep(rarely * 112 / 100)
			if len(k.endpoints()) != 1 {
				t.Error("the relationship is not there again after an interval")
			}
		}
	})
}

// A fetch that ends after its trust domain has left the platform file leaves nothing behind.
func TestAFetchThatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("slow.org", often))
		k.start(t)
		time.Sleep(time.Second)
		k.want()
		time.Sleep(time.Minute)
		for _, result := range []string{"success", "failure"} {
			if _, there := k.metric(t, "refreshes_total", "slow.org", result); there {
				t.Errorf("refreshes_total has %s of slow.org, want it dropped", result)
			}
		}
	})
}

// A comparison that SPIRE does not answer is made again, soon at first and then more and more rarely, also while no
// bundle is due.
func TestAComparisonThatFailsIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := serve(t, federated("partner.org", 100*rarely))
		publish(k, "partner.org", 1)
		k.start(t)
		eventually(t, "the bundle", k.sequence("partner.org", 1))
		// fails has comparisons fail for a while, in which the relationship goes.
		fails := func(outage time.Duration) (tries int) {
			before := k.server.Calls("ListFederatedBundles")
			k.server.Before(func(_ context.Context, method string) error {
				if method == "ListFederatedBundles" {
					return status.Error(codes.Unavailable, "restarting")
				}
				return nil
			})
			k.server.DeleteRelationship(spiffeid.RequireTrustDomainFromString("partner.org"))
			k.RelationshipsChanged()
			time.Sleep(outage)
			k.server.Before(nil)
			return k.server.Calls("ListFederatedBundles") - before
		}
		if tries := fails(10 * time.Minute); tries < 20 || tries > 30 {
			t.Errorf("%d tries in ten minutes, want one every half a minute in the end", tries)
		}
		time.Sleep(31 * time.Second)
		if len(k.endpoints()) != 1 {
			t.Fatal("the relationship is not there again")
		}
		fails(100 * time.Millisecond)
		time.Sleep(time.Second)
		if len(k.endpoints()) != 1 {
			t.Error("the first retry of another failure was not soon")
		}
	})
}
