package registrar_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/registrar/spireapi/spiretest"
)

const (
	create = "BatchCreateEntry"
	modify = "BatchUpdateEntry"
	get    = "GetEntry"
)

// newRegistrar is a replica of its own, with its own connection.
func newRegistrar(t *testing.T, address string, o registrar.Options) *registrar.Registrar {
	t.Helper()
	client, err := spireapi.Dial(spireapi.Config{ServerAddress: address, TrustDomain: exampleOrg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return registrar.New(demoCluster(t), client, o)
}

func serve(t *testing.T) (*spiretest.Server, string) {
	t.Helper()
	server := spiretest.NewServer(exampleOrg)
	address, _ := server.ServeUnix(t)
	return server, address
}

func mustEnsure(t *testing.T, r *registrar.Registrar, w registrar.Workload) string {
	t.Helper()
	id, err := ensure(t.Context(), r, w)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// ensure registers one workload.
func ensure(ctx context.Context, r *registrar.Registrar, w registrar.Workload) (string, error) {
	ids, err := r.Ensure(ctx, []registrar.Workload{w})
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

func wantKind(t *testing.T, err error, kind registrar.Kind, texts ...string) {
	t.Helper()
	var e *registrar.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("error of kind %v: %v, want kind %v", registrar.KindOf(err), err, kind)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q, want one with %q", err, text)
		}
	}
}

// wantCalls fails the test unless SPIRE was asked for so much, and for no update.
func wantCalls(t *testing.T, server *spiretest.Server, creates, gets int) {
	t.Helper()
	got := [3]int{server.Calls(create), server.Calls(modify), server.Calls(get)}
	if want := [3]int{creates, 0, gets}; got != want {
		t.Errorf("%d creations, %d updates, %d reads; want %v", got[0], got[1], got[2], want)
	}
}

func ids(entries []*types.Entry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.GetId())
	}
	return all
}

// Admission parks the entry: there is nothing that places it on a node.
func TestEnsureParksTheEntry(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	id := mustEnsure(t, r, workload("/api", 30*time.Second))
	entries := server.Entries()
	if got := ids(entries); !slices.Equal(got, []string{id}) {
		t.Fatalf("entries %v, want %s alone", got, id)
	}
	if got := entries[0].GetX509SvidTtl(); got != 30 {
		t.Errorf("TTL %d, want 30", got)
	}
	want := "/spire-injector/demo-cluster/id/" + registrar.IdentityHash(workload("/api", 0).ID)
	if got := entries[0].GetParentId().GetPath(); got != want {
		t.Errorf("parent %s, want %s", got, want)
	}
	wantCalls(t, server, 1, 0)

	mustEnsure(t, r, workload("/api", 30*time.Second))
	mustEnsure(t, r, workload("/api", 0)) // the same entry
	wantCalls(t, server, 1, 0)

	mustEnsure(t, r, workload("/web", 0))
	wantCalls(t, server, 2, 0)
}

// A namespace has no more entries than the platform allows, counting those that pods need and those that were made
// lately; what is there already costs nothing.
func TestEnsureBoundsTheEntriesOfANamespace(t *testing.T) {
	server, address := serve(t)
	c := demoCluster(t)
	var now atomic.Int64
	clock := func() time.Time { return time.Unix(now.Load(), 0) }
	r := newRegistrar(t, address, registrar.Options{Now: clock, Bound: registrar.Bound{
		Max:    func() int { return 4 },
		Needed: func(ns string) []string { return []string{c.WorkloadEntry(workload("/runs", 0)).ID} },
		For:    10 * time.Minute,
		Where:  "limits.test",
	}})
	if _, err := r.Ensure(t.Context(), inContainers("a", "b", "c", "d")); err == nil {
		t.Error("four entries beside one that runs: expected an error")
	} else {
		wantKind(t, err, registrar.TooMany, "namespace demo would have 5", "at most 4 (limits.test")
	}
	wantCalls(t, server, 0, 0)
	if _, err := r.Ensure(t.Context(), inContainers("a", "b", "c")); err != nil {
		t.Fatal(err)
	}
	mustEnsure(t, r, inContainers("b")[0])
	mustEnsure(t, r, workload("/runs", 0))
	_, err := ensure(t.Context(), r, workload("/web", 0))
	wantKind(t, err, registrar.TooMany)
	elsewhere := workload("/web", 0)
	elsewhere.Namespace = "other"
	mustEnsure(t, r, elsewhere)
	now.Store(601) // no pod has followed, and the leader has removed what was made
	for _, id := range ids(server.Entries()) {
		server.Delete(id)
	}
	mustEnsure(t, r, workload("/web", 0))
}

// What other replicas have made counts, and is asked for once in a second, by those alone that have a part of the bound.
func TestEnsureBoundsTheEntriesOfAllReplicas(t *testing.T) {
	server, address := serve(t)
	var now atomic.Int64
	replica := func() *registrar.Registrar {
		return newRegistrar(t, address, registrar.Options{
			Now: func() time.Time { return time.Unix(now.Load(), 0) },
			Bound: registrar.Bound{
				Max:    func() int { return 8 },
				Needed: func(string) []string { return nil },
				For:    10 * time.Minute,
			},
		})
	}
	elsewhere := workload("/api", 0)
	elsewhere.Namespace = "other"
	mustEnsure(t, replica(), elsewhere)
	first, second := replica(), replica()
	create := func(replica *registrar.Registrar, containers ...string) (asked bool) {
		before := server.Calls(list)
		for _, container := range containers {
			mustEnsure(t, replica, inContainers(container)[0])
		}
		return server.Calls(list) > before
	}
	if create(first, "a", "b") {
		t.Error("a replica with a small part of the bound has asked SPIRE")
	}
	if !create(first, "c") {
		t.Error("one with a larger part has not")
	}
	if create(first, "d", "e", "f") {
		t.Error("it has asked again within a second")
	}
	if create(second, "g", "h") {
		t.Error("another one with a small part has asked SPIRE")
	}
	_, err := ensure(t.Context(), second, inContainers("i")[0])
	wantKind(t, err, registrar.TooMany, "namespace demo would have 9", "at most 8")
	mustEnsure(t, second, inContainers("a")[0]) // it is there
	now.Store(2)
	_, err = ensure(t.Context(), first, inContainers("i")[0])
	wantKind(t, err, registrar.TooMany, "namespace demo would have 9")

	server.Before(func(_ context.Context, method string) error {
		if method == list {
			return status.Error(codes.Unavailable, "away")
		}
		return nil
	})
	now.Store(4)
	_, err = ensure(t.Context(), first, inContainers("i")[0])
	wantKind(t, err, registrar.Unavailable)
}

// inContainers is the identity /api in several containers of a pod.
func inContainers(names ...string) []registrar.Workload {
	var all []registrar.Workload
	for _, name := range names {
		w := workload("/api", 0)
		w.Container = name
		all = append(all, w)
	}
	return all
}

// All workloads of a pod cost one call, and their entry IDs come in their order, whatever was there before.
func TestEnsureCostsOneCallForAll(t *testing.T) {
	server, address := serve(t)
	c := demoCluster(t)
	running := c.WorkloadEntry(inContainers("running")[0])
	r := newRegistrar(t, address, registrar.Options{Confirmed: func(id string) bool { return id == running.ID }})
	mustEnsure(t, r, inContainers("known")[0])
	wantCalls(t, server, 1, 0)

	pod := inContainers("new", "known", "newer", "running", "newest", "new")
	got, err := r.Ensure(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	wantCalls(t, server, 2, 0)
	var want []string
	for _, w := range pod {
		want = append(want, c.WorkloadEntry(w).ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("entry IDs %v, want %v", got, want)
	}
	if entries := server.Entries(); len(entries) != 4 {
		t.Errorf("entries %v, want one for each container but the one that runs already", ids(entries))
	}
	if none, err := r.Ensure(t.Context(), nil); err != nil || len(none) != 0 {
		t.Errorf("nothing to register: %v, %v", none, err)
	}
	wantCalls(t, server, 2, 0)
}

// What several pods ask for at once is one entry's one registration each, whoever began it.
func TestConcurrentPodsShareWhatTheyHaveInCommon(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	mustEnsure(t, r, workload("/first", 0))
	created := make(chan []string, 100)
	server.Refuse(func(req any) error {
		if batch, ok := req.(*entryv1.BatchCreateEntryRequest); ok {
			created <- ids(batch.GetEntries())
		}
		return nil
	})
	var wg sync.WaitGroup
	names := []string{"a", "b", "c", "d", "e", "f"}
	for i := range 60 {
		wg.Go(func() {
			pod := inContainers(names[i%6], names[(i+1)%6], names[(i+3)%6])
			if got, err := r.Ensure(t.Context(), pod); err != nil || len(got) != 3 {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	wg.Wait()
	close(created)
	var all []string
	for batch := range created {
		all = append(all, batch...)
	}
	if slices.Sort(all); len(all) != 6 || len(slices.Compact(all)) != 6 {
		t.Errorf("created %v, want each of the 6 entries once", all)
	}
}

// One of several cannot be registered: that is the error, whatever became of the others, and they are known.
func TestEnsureFailsForOneOfSeveral(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	mustEnsure(t, r, workload("/first", 0))
	theirs := protoOf(t, demoCluster(t).WorkloadEntry(inContainers("b")[0]))
	theirs.Id, theirs.X509SvidTtl = "theirs", 3600
	server.Put(theirs)
	pod := inContainers("a", "b", "c")
	pod[1].X509SVIDTTL = time.Minute
	_, err := r.Ensure(t.Context(), pod)
	wantKind(t, err, registrar.Conflict, "spire-server entry delete -entryID theirs")
	wantCalls(t, server, 2, 0)
	mustEnsure(t, r, pod[0])
	mustEnsure(t, r, pod[2])
	wantCalls(t, server, 2, 0)

	server.Delete("theirs")
	if got, err := r.Ensure(t.Context(), pod); err != nil || len(got) != 3 {
		t.Errorf("once it is out of the way: %v, %v", got, err)
	}
	wantCalls(t, server, 3, 0)
}

// A pod whose containers' trust domain has no bundle yet asks once which SPIRE has, and each of its entries does
// without.
func TestEnsureAsksOnceForTheBundlesOfAll(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	mustEnsure(t, r, workload("/first", 0))
	pod := append(inContainers("a", "b"), workload("/other", 0))
	for i := range 2 {
		pod[i].FederatesWith = federated("/api", "late.org").FederatesWith
	}
	if _, err := r.Ensure(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, server, 3, 0) // one of /first, and with and without the domain
	if got := server.Calls("ListFederatedBundles"); got != 1 {
		t.Errorf("%d lists of bundles, want 1", got)
	}
	if got := len(server.Entries()); got != 4 {
		t.Errorf("%d entries, want all", got)
	}
}

// Whoever gives up leaves what it began to the others, and what the others began as well.
func TestCancelledCallerOfSeveralLeavesTheOthersAlone(t *testing.T) {
	server, address := serve(t)
	entered, release := make(chan struct{}, 10), make(chan struct{})
	server.Before(func(ctx context.Context, _ string) error {
		entered <- struct{}{}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	r := newRegistrar(t, address, registrar.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error), make(chan error)
	go func() { _, err := r.Ensure(ctx, inContainers("a", "b")); first <- err }()
	<-entered
	go func() { _, err := r.Ensure(t.Context(), inContainers("b", "a")); second <- err }()
	cancel()
	wantKind(t, <-first, registrar.Unavailable, "did not confirm entry", "context canceled")
	// One that has given up already begins nothing.
	_, err := r.Ensure(ctx, inContainers("c"))
	wantKind(t, err, registrar.Unavailable, "context canceled")
	close(release)
	if err := <-second; err != nil {
		t.Errorf("the other caller: %v", err)
	}
	wantCalls(t, server, 1, 0)
	if got := server.Entries(); len(got) != 2 {
		t.Errorf("entries %v, want both", ids(got))
	}
}

func TestEnsureAsksNobodyForWhatRuns(t *testing.T) {
	server, address := serve(t)
	running := demoCluster(t).WorkloadEntry(workload("/api", 0)).ID
	r := newRegistrar(t, address, registrar.Options{Confirmed: func(id string) bool { return id == running }})
	if id := mustEnsure(t, r, workload("/api", 0)); id != running {
		t.Errorf("entry %s, want %s", id, running)
	}
	wantCalls(t, server, 0, 0)
	mustEnsure(t, r, workload("/web", 0))
	wantCalls(t, server, 1, 0)
}

func TestEnsureAsksAgainAfterAWhile(t *testing.T) {
	server, address := serve(t)
	var now atomic.Int64
	r := newRegistrar(t, address, registrar.Options{CacheTTL: time.Minute, Now: func() time.Time { return time.Unix(now.Load(), 0) }})
	id := mustEnsure(t, r, workload("/api", 0))
	now.Store(59)
	mustEnsure(t, r, workload("/api", 0))
	wantCalls(t, server, 1, 0)

	server.Delete(id)
	now.Store(61)
	mustEnsure(t, r, workload("/api", 0))
	wantCalls(t, server, 2, 0)
	if got := len(server.Entries()); got != 1 {
		t.Errorf("%d entries, want the workload's", got)
	}
}

func TestConcurrentCallersShareOneCall(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	mustEnsure(t, r, workload("/first", 0))
	before := server.Calls(create)

	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if _, err := ensure(t.Context(), r, workload("/api", 0)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := server.Calls(create) - before; got != 1 {
		t.Errorf("%d creations for 200 callers, want 1", got)
	}
}

// Callers that ask for one identity with other attributes are served by one entry, which is for the reconciler to
// change.
func TestConcurrentCallersWithOtherAttributesShareOneEntry(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	var wg sync.WaitGroup
	for n := range 60 {
		wg.Go(func() {
			if _, err := ensure(t.Context(), r, workload("/api", time.Duration(n%6)*10*time.Second)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if entries := server.Entries(); len(entries) != 1 {
		t.Errorf("entries %v, want one", entries)
	}
	wantCalls(t, server, 1, 0)
}

func TestTwoReplicasMakeOneEntry(t *testing.T) {
	server, address := serve(t)
	var wg sync.WaitGroup
	for range 2 {
		r := newRegistrar(t, address, registrar.Options{})
		for n := range 100 {
			wg.Go(func() {
				if _, err := ensure(t.Context(), r, workload(fmt.Sprintf("/w%d", n%10), 0)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if got := len(server.Entries()); got != 10 {
		t.Errorf("%d entries, want 10", got)
	}
	if got := server.Calls(modify); got != 0 {
		t.Errorf("%d updates, want none", got)
	}
}

func TestCancelledCallerLeavesTheOthersAlone(t *testing.T) {
	server, address := serve(t)
	entered, release := make(chan struct{}, 10), make(chan struct{})
	server.Before(func(ctx context.Context, _ string) error {
		entered <- struct{}{}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	r := newRegistrar(t, address, registrar.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error), make(chan error)
	go func() { _, err := ensure(ctx, r, workload("/api", 0)); first <- err }()
	<-entered
	go func() { _, err := ensure(t.Context(), r, workload("/api", 0)); second <- err }()
	cancel()
	err := <-first
	wantKind(t, err, registrar.Unavailable, "did not confirm entry", "context canceled")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v does not wrap context.Canceled", err)
	}
	close(release)
	if err := <-second; err != nil {
		t.Errorf("the other caller: %v", err)
	}
	wantCalls(t, server, 1, 0)
}

func TestEnsureKeepsTheCallersDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := inMemory(t)
		server.Before(func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() })
		r := registrar.New(demoCluster(t), client, registrar.Options{Timeout: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := ensure(ctx, r, workload("/api", 0))
		wantKind(t, err, registrar.Unavailable, "deadline exceeded")
		if took := time.Since(start); took != 50*time.Millisecond {
			t.Errorf("took %v with a deadline of 50ms", took)
		}

		// Without a deadline of the caller's, the registrar's own ends the call.
		start = time.Now()
		_, err = ensure(t.Context(), r, workload("/web", 0))
		wantKind(t, err, registrar.Unavailable, "no answer from the SPIRE server at unix:///in/memory to BatchCreateEntry")
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v with a timeout of 1s", took)
		}
	})
}

// Admission changes nothing that is there, whatever a pod asks for: an entry of ours serves until the reconciler has
// seen the pod.
func TestEnsureChangesNothingThatIsThere(t *testing.T) {
	c := demoCluster(t)
	entry := protoOf(t, c.WorkloadEntry(workload("/api", 0)))
	for name, tc := range map[string]struct {
		change   func(*types.Entry)
		ttl      time.Duration
		wantKind registrar.Kind
		wantErr  string
		gets     int
	}{
		"the same":             {change: func(*types.Entry) {}},
		"longer TTL":           {change: func(e *types.Entry) { e.X509SvidTtl = 3600 }, ttl: time.Minute},
		"shorter TTL":          {change: func(e *types.Entry) { e.X509SvidTtl = 30 }, ttl: time.Minute},
		"to be removed":        {change: func(e *types.Entry) { e.ExpiresAt = 1 << 40 }},
		"drifted selectors":    {change: func(e *types.Entry) { e.Selectors = e.Selectors[:1] }, gets: 1},
		"below the node alias": {change: func(e *types.Entry) { e.ParentId.Path = c.NodeAlias().SPIFFEID.Path() }, gets: 1},
		"another's, the same":  {change: func(e *types.Entry) { e.Id = "theirs" }},
		"another's, other TTL": {
			change: func(e *types.Entry) { e.Id = "theirs" }, ttl: time.Minute,
			wantKind: registrar.Conflict, wantErr: "spire-server entry delete -entryID theirs",
		},
		"our ID, other content": {
			change: func(e *types.Entry) { e.ParentId.Path = "/else" }, gets: 1,
			wantKind: registrar.Conflict, wantErr: "differs in: parent_id",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, address := serve(t)
			r := newRegistrar(t, address, registrar.Options{})
			existing := proto.CloneOf(entry)
			tc.change(existing)
			server.Put(existing)
			id, err := ensure(t.Context(), r, workload("/api", tc.ttl))
			if tc.wantErr != "" {
				wantKind(t, err, tc.wantKind, tc.wantErr)
			} else if err != nil || id != entry.GetId() {
				t.Fatalf("Ensure = %q, %v; want %q", id, err, entry.GetId())
			}
			wantCalls(t, server, 1, tc.gets)
			if got := server.Entries(); len(got) != 1 || !proto.Equal(got[0], existing) {
				t.Errorf("entries %v, want %v alone and unchanged", got, existing)
			}
		})
	}
}

func TestEntryVanishesBetweenCalls(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	// There under another parent, and gone when it is looked at.
	existing := protoOf(t, demoCluster(t).WorkloadEntry(workload("/api", 0)))
	existing.ParentId.Path = "/else"
	server.Put(existing)
	server.Before(func(_ context.Context, method string) error {
		if method == get {
			server.Delete(existing.GetId())
		}
		return nil
	})
	mustEnsure(t, r, workload("/api", time.Minute))
	wantCalls(t, server, 2, 1)
	if got := server.Entries(); len(got) != 1 || got[0].GetX509SvidTtl() != 60 {
		t.Errorf("entries %v, want it with a TTL of 60", got)
	}

	// An ID that is taken by nothing, as by a duplicate in the request: an end, and an explanation.
	server.Tamper(func(resp any) {
		if created, ok := resp.(*entryv1.BatchCreateEntryResponse); ok {
			last := created.Results[len(created.Results)-1]
			last.Status, last.Entry = &types.Status{Code: int32(codes.AlreadyExists)}, nil
			server.Delete(demoCluster(t).WorkloadEntry(workload("/web", 0)).ID)
		}
	})
	_, err := ensure(t.Context(), r, workload("/web", 0))
	wantKind(t, err, registrar.Failed, "holds no entry of this ID, 3 times in a row")
}

func TestFailuresAreNotRemembered(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	server.Before(func(context.Context, string) error { return status.Error(codes.Unavailable, "starting") })
	_, err := ensure(t.Context(), r, workload("/api", 0))
	wantKind(t, err, registrar.Unavailable, "starting")
	server.Before(nil)
	mustEnsure(t, r, workload("/api", 0))
}

func TestInvalidWorkloadsNeverReachSPIRE(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	_, err := ensure(t.Context(), r, registrar.Workload{ID: workload("/spire/server", 0).ID, Namespace: "demo", ServiceAccount: "default"})
	wantKind(t, err, registrar.Invalid, "cannot register demo/default", "reserved")
	wantCalls(t, server, 0, 0)
}

func TestTamperedAnswersAreNotBelieved(t *testing.T) {
	for name, tc := range map[string]struct {
		tamper func(*entryv1.BatchCreateEntryResponse)
		want   string
	}{
		"fewer results":     {func(r *entryv1.BatchCreateEntryResponse) { r.Results = r.Results[1:] }, "0 results for 1 entries"},
		"no results":        {func(r *entryv1.BatchCreateEntryResponse) { r.Results = nil }, "0 results"},
		"more results":      {func(r *entryv1.BatchCreateEntryResponse) { r.Results = append(r.Results, r.Results...) }, "2 results for 1 entries"},
		"an admin entry":    {func(r *entryv1.BatchCreateEntryResponse) { r.Results[0].Entry.Admin = true }, "what it returns differs from what was asked for"},
		"OK without entry":  {func(r *entryv1.BatchCreateEntryResponse) { r.Results[0].Entry = nil }, "an entry that cannot be read: no entry"},
		"a broken entry":    {func(r *entryv1.BatchCreateEntryResponse) { r.Results[0].Entry.SpiffeId.Path = "//" }, "cannot be read: SPIFFE ID"},
		"a negative status": {func(r *entryv1.BatchCreateEntryResponse) { r.Results[0].Status.Code = -1 }, "no valid status"},
		"no status":         {func(r *entryv1.BatchCreateEntryResponse) { r.Results[0].Status = nil }, "no valid status"},
	} {
		t.Run(name, func(t *testing.T) {
			server, address := serve(t)
			server.Tamper(func(resp any) {
				if created, ok := resp.(*entryv1.BatchCreateEntryResponse); ok {
					tc.tamper(created)
				}
			})
			r := newRegistrar(t, address, registrar.Options{})
			_, err := ensure(t.Context(), r, workload("/api", 0))
			wantKind(t, err, registrar.Failed, tc.want)
		})
	}
}

func federated(path string, domains ...string) registrar.Workload {
	w := workload(path, 0)
	for _, td := range domains {
		w.FederatesWith = append(w.FederatesWith, spiffeid.RequireTrustDomainFromString(td))
	}
	return w
}

func TestEnsureLeavesOutDomainsWithoutBundle(t *testing.T) {
	server, address := serve(t)
	server.PutBundle(&types.Bundle{TrustDomain: "there.org"})
	var now atomic.Int64
	r := newRegistrar(t, address, registrar.Options{
		CacheTTL: time.Minute, Now: func() time.Time { return time.Unix(now.Load(), 0) },
	})
	api := federated("/api", "there.org", "late.org", "example.org")
	wantFederation := func(id, want string) {
		t.Helper()
		for _, e := range server.Entries() {
			if got := fmt.Sprint(e.GetFederatesWith()); e.GetId() == id && got != want {
				t.Errorf("federates with %s, want %s", got, want)
			}
		}
	}
	wantLists := func(want int) {
		t.Helper()
		if got := server.Calls("ListFederatedBundles"); got != want {
			t.Errorf("%d lists of bundles, want %d", got, want)
		}
	}

	id := mustEnsure(t, r, api)
	wantFederation(id, "[example.org there.org]")
	wantCalls(t, server, 2, 0) // with and without the domain
	wantLists(1)

	// Known, and known to be missing: no call. Another identity: one call, without the domain from the start.
	now.Store(50)
	if got := mustEnsure(t, r, api); got != id {
		t.Errorf("entry ID %q, want %q", got, id)
	}
	wantCalls(t, server, 2, 0)
	web := mustEnsure(t, r, federated("/web", "late.org"))
	wantFederation(web, "[]")
	wantCalls(t, server, 3, 0)
	wantLists(1)

	// A while later the entry is there, and stays as it is; another identity asks again.
	server.PutBundle(&types.Bundle{TrustDomain: "late.org"})
	now.Store(111)
	mustEnsure(t, r, api)
	wantFederation(id, "[example.org there.org]")
	wantFederation(mustEnsure(t, r, federated("/late", "late.org")), "[late.org]")
	wantLists(1)
}

func TestConcurrentCallersShareTheMissingBundle(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	mustEnsure(t, r, workload("/first", 0))
	var wg sync.WaitGroup
	for n := range 60 {
		wg.Go(func() {
			if _, err := ensure(t.Context(), r, federated("/api", fmt.Sprintf("missing%d.org", n%3))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := server.Calls("ListFederatedBundles"); got > 3 {
		t.Errorf("%d lists of bundles for three domains, want at most one each", got)
	}
}

// However short the memory, a caller is served by its own registration.
func TestEnsureEndsWithoutMemory(t *testing.T) {
	_, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{CacheTTL: 1})
	mustEnsure(t, r, federated("/api", "missing.org"))
}

func TestBundleThatVanishesAgain(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	mustEnsure(t, r, workload("/first", 0))
	flicker := spiffeid.RequireTrustDomainFromString("flicker.org")
	server.Before(func(_ context.Context, method string) error {
		if method == create {
			server.DeleteBundle(flicker)
		} else {
			server.PutBundle(&types.Bundle{TrustDomain: flicker.Name()})
		}
		return nil
	})
	_, err := ensure(t.Context(), r, federated("/api", "flicker.org"))
	wantKind(t, err, registrar.MissingBundle, `unable to find federated bundle "spiffe://flicker.org"`, "spire-server bundle set")
	wantCalls(t, server, 4, 0)

	server.Before(func(_ context.Context, method string) error {
		if method == "ListFederatedBundles" {
			return status.Error(codes.PermissionDenied, "not this method")
		}
		return nil
	})
	server.DeleteBundle(flicker)
	_, err = ensure(t.Context(), r, federated("/api", "flicker.org"))
	wantKind(t, err, registrar.Denied, "denies ListFederatedBundles")
}
