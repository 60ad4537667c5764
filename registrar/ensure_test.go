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

func wantCalls(t *testing.T, server *spiretest.Server, creates, updates, gets int) {
	t.Helper()
	got := [3]int{server.Calls(create), server.Calls(modify), server.Calls(get)}
	if want := [3]int{creates, updates, gets}; got != want {
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

func TestEnsureRegistersAliasThenWorkload(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	id := mustEnsure(t, r, workload("/api", 30*time.Second))

	want := fmt.Sprint([]string{"spire-injector.demo-cluster.node", id})
	if got := fmt.Sprint(ids(server.Entries())); got != want {
		t.Errorf("entries %s, want %s", got, want)
	}
	if got := server.Entries()[1].GetX509SvidTtl(); got != 30 {
		t.Errorf("TTL %d, want 30", got)
	}
	wantCalls(t, server, 2, 0, 0) // the process' first: the alias alone before

	mustEnsure(t, r, workload("/api", 30*time.Second))
	mustEnsure(t, r, workload("/api", 0)) // served by the same entry
	wantCalls(t, server, 2, 0, 0)

	mustEnsure(t, r, workload("/web", 0))
	wantCalls(t, server, 3, 0, 0)
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
	r := newRegistrar(t, address, registrar.Options{Confirmed: func(e registrar.Entry) bool { return e.ID == running.ID }})
	mustEnsure(t, r, inContainers("known")[0])
	wantCalls(t, server, 2, 0, 0)

	pod := inContainers("new", "known", "newer", "running", "newest", "new")
	got, err := r.Ensure(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	wantCalls(t, server, 3, 0, 0)
	var want []string
	for _, w := range pod {
		want = append(want, c.WorkloadEntry(w).ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("entry IDs %v, want %v", got, want)
	}
	if entries := server.Entries(); len(entries) != 5 {
		t.Errorf("entries %v, want the alias, and one for each container but the one that runs already", ids(entries))
	}
	if none, err := r.Ensure(t.Context(), nil); err != nil || len(none) != 0 {
		t.Errorf("nothing to register: %v, %v", none, err)
	}
	wantCalls(t, server, 3, 0, 0)
}

// What several pods ask for at once is one entry's one registration each, whoever began it.
func TestConcurrentPodsShareWhatTheyHaveInCommon(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	mustEnsure(t, r, workload("/first", 0))
	created := make(chan []string, 100)
	server.Refuse(func(req any) error {
		if batch, ok := req.(*entryv1.BatchCreateEntryRequest); ok {
			created <- ids(batch.GetEntries())[1:] // the alias goes along
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
	wantCalls(t, server, 3, 0, 0)
	mustEnsure(t, r, pod[0])
	mustEnsure(t, r, pod[2])
	wantCalls(t, server, 3, 0, 0)

	server.Delete("theirs")
	if got, err := r.Ensure(t.Context(), pod); err != nil || len(got) != 3 {
		t.Errorf("once it is out of the way: %v, %v", got, err)
	}
	// After a failure the alias is registered alone again, before anything hangs below it.
	wantCalls(t, server, 5, 0, 0)
}

// A pod whose containers' trust domain has no bundle yet asks once which SPIRE has, and each of its entries does
// without.
func TestEnsureAsksOnceForTheBundlesOfAll(t *testing.T) {
	server, address := serve(t)
	var reports atomic.Int64
	r := newRegistrar(t, address, registrar.Options{OnMissingBundle: func(registrar.Entry, []spiffeid.TrustDomain) { reports.Add(1) }})
	mustEnsure(t, r, workload("/first", 0))
	pod := append(inContainers("a", "b"), workload("/other", 0))
	for i := range 2 {
		pod[i].FederatesWith = federated("/api", "late.org").FederatesWith
	}
	if _, err := r.Ensure(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, server, 4, 0, 0) // two of /first, and with and without the domain
	if got := server.Calls("ListFederatedBundles"); got != 1 {
		t.Errorf("%d lists of bundles, want 1", got)
	}
	if got := reports.Load(); got != 2 {
		t.Errorf("%d reports, want one for each entry that does without", got)
	}
}

// After a failure the alias is registered alone again: while it cannot be, nothing hangs below it.
func TestNothingIsLeftBehindWithoutAliasAfterAFailure(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	mustEnsure(t, r, workload("/first", 0))
	server.Before(func(context.Context, string) error { return status.Error(codes.Unavailable, "restarting") })
	_, err := r.Ensure(t.Context(), inContainers("a", "b"))
	wantKind(t, err, registrar.Unavailable, "restarting")
	server.Before(nil)
	server.Delete("spire-injector.demo-cluster.node")
	server.Put(&types.Entry{
		Id:        "spire-injector.demo-cluster.node",
		SpiffeId:  &types.SPIFFEID{TrustDomain: "example.org", Path: "/else"},
		ParentId:  &types.SPIFFEID{TrustDomain: "example.org", Path: "/else"},
		Selectors: []*types.Selector{{Type: "a", Value: "b"}},
	})
	_, err = r.Ensure(t.Context(), inContainers("a", "b"))
	wantKind(t, err, registrar.Conflict, `entry "spire-injector.demo-cluster.node"`)
	if got := server.Entries(); len(got) != 2 {
		t.Errorf("entries %v, want the first workload's and the other's alone", ids(got))
	}
}

// A pod is not admitted below an alias that is another's by now: no agent would get its entries.
func TestEnsureFailsWhenTheAliasIsTaken(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	mustEnsure(t, r, workload("/first", 0))
	server.Put(&types.Entry{ // in the place of ours
		Id:        "spire-injector.demo-cluster.node",
		SpiffeId:  &types.SPIFFEID{TrustDomain: "example.org", Path: "/else"},
		ParentId:  &types.SPIFFEID{TrustDomain: "example.org", Path: "/else"},
		Selectors: []*types.Selector{{Type: "a", Value: "b"}},
	})
	_, err := r.Ensure(t.Context(), inContainers("a", "b"))
	wantKind(t, err, registrar.Conflict, `entry "spire-injector.demo-cluster.node"`)
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
	wantCalls(t, server, 2, 0, 0)
	if got := server.Entries(); len(got) != 3 {
		t.Errorf("entries %v, want the alias and both", ids(got))
	}
}

func TestEnsureAsksNobodyForWhatRuns(t *testing.T) {
	server, address := serve(t)
	running := demoCluster(t).WorkloadEntry(workload("/api", 0)).ID
	r := newRegistrar(t, address, registrar.Options{Confirmed: func(e registrar.Entry) bool { return e.ID == running }})
	if id := mustEnsure(t, r, workload("/api", 0)); id != running {
		t.Errorf("entry %s, want %s", id, running)
	}
	wantCalls(t, server, 0, 0, 0)
	mustEnsure(t, r, workload("/web", 0))
	wantCalls(t, server, 2, 0, 0)
}

func TestEnsureAsksAgainAfterAWhile(t *testing.T) {
	server, address := serve(t)
	var now atomic.Int64
	r := newRegistrar(t, address, registrar.Options{CacheTTL: time.Minute, Now: func() time.Time { return time.Unix(now.Load(), 0) }})
	id := mustEnsure(t, r, workload("/api", 0))
	now.Store(59)
	mustEnsure(t, r, workload("/api", 0))
	wantCalls(t, server, 2, 0, 0)

	server.Delete(id)
	now.Store(61)
	mustEnsure(t, r, workload("/api", 0))
	wantCalls(t, server, 3, 0, 0)
	if got := len(server.Entries()); got != 2 {
		t.Errorf("%d entries, want alias and workload", got)
	}
}

func TestEnsureBringsTheAliasBack(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	mustEnsure(t, r, workload("/api", 0))
	server.Delete("spire-injector.demo-cluster.node")
	mustEnsure(t, r, workload("/web", 0))
	if got := ids(server.Entries()); len(got) != 3 || got[1] != "spire-injector.demo-cluster.node" {
		t.Errorf("entries %v, want the alias among them again, before the new workload", got)
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

func TestConcurrentCallersConverge(t *testing.T) {
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
	entries := server.Entries()
	if len(entries) != 2 || entries[1].GetX509SvidTtl() != 10 {
		t.Errorf("entries %v, want the alias and one with the shortest TTL, 10", entries)
	}
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
	if got := len(server.Entries()); got != 11 {
		t.Errorf("%d entries, want the alias and 10", got)
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
	wantCalls(t, server, 2, 0, 0)
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

func TestEnsureMeetsAnExistingEntry(t *testing.T) {
	c := demoCluster(t)
	entry := c.WorkloadEntry(workload("/api", 0))
	proto := func(change func(*types.Entry)) *types.Entry {
		e := &types.Entry{
			Id:       entry.ID,
			SpiffeId: &types.SPIFFEID{TrustDomain: "example.org", Path: "/api"},
			ParentId: &types.SPIFFEID{TrustDomain: "example.org", Path: c.NodeAlias().SPIFFEID.Path()},
		}
		for _, s := range entry.Selectors {
			e.Selectors = append(e.Selectors, &types.Selector{Type: s.Type, Value: s.Value})
		}
		change(e)
		return e
	}
	for name, tc := range map[string]struct {
		existing *types.Entry
		ttl      time.Duration
		wantTTL  int32
		wantKind registrar.Kind
		wantErr  string
		updates  int
		gets     int
	}{
		"the same":              {existing: proto(func(*types.Entry) {}), updates: 0},
		"longer TTL":            {existing: proto(func(e *types.Entry) { e.X509SvidTtl = 3600 }), ttl: time.Minute, wantTTL: 60, updates: 1},
		"shorter TTL":           {existing: proto(func(e *types.Entry) { e.X509SvidTtl = 30 }), ttl: time.Minute, wantTTL: 30},
		"drifted selectors":     {existing: proto(func(e *types.Entry) { e.Selectors = e.Selectors[:1] }), updates: 1, gets: 1},
		"another's, the same":   {existing: proto(func(e *types.Entry) { e.Id = "theirs" })},
		"another's, other TTL":  {existing: proto(func(e *types.Entry) { e.Id = "theirs" }), ttl: time.Minute, wantKind: registrar.Conflict, wantErr: "spire-server entry delete -entryID theirs"},
		"our ID, other content": {existing: proto(func(e *types.Entry) { e.ParentId.Path = "/else" }), gets: 1, wantKind: registrar.Conflict, wantErr: "differs in: parent_id"},
	} {
		t.Run(name, func(t *testing.T) {
			server, address := serve(t)
			r := newRegistrar(t, address, registrar.Options{})
			mustEnsure(t, r, workload("/first", 0))
			server.Put(tc.existing)
			id, err := ensure(t.Context(), r, workload("/api", tc.ttl))
			if tc.wantErr != "" {
				wantKind(t, err, tc.wantKind, tc.wantErr)
			} else if err != nil || id != tc.existing.GetId() {
				t.Fatalf("Ensure = %q, %v; want %q", id, err, tc.existing.GetId())
			}
			wantCalls(t, server, 3, tc.updates, tc.gets)
			last := server.Entries()[len(server.Entries())-1]
			if tc.wantErr == "" && last.GetX509SvidTtl() != tc.wantTTL {
				t.Errorf("TTL %d, want %d", last.GetX509SvidTtl(), tc.wantTTL)
			}
			if tc.wantErr == "" && len(last.GetSelectors()) != 4 {
				t.Errorf("selectors %v, want all 4", last.GetSelectors())
			}
			if tc.updates == 0 && last.GetRevisionNumber() != 0 {
				t.Errorf("revision %d of an entry that was to be left alone", last.GetRevisionNumber())
			}
		})
	}
}

func TestNothingIsRegisteredWithoutAlias(t *testing.T) {
	server, address := serve(t)
	server.Put(&types.Entry{
		Id:        "spire-injector.demo-cluster.node",
		SpiffeId:  &types.SPIFFEID{TrustDomain: "example.org", Path: "/else"},
		ParentId:  &types.SPIFFEID{TrustDomain: "example.org", Path: "/else"},
		Selectors: []*types.Selector{{Type: "a", Value: "b"}},
	})
	r := newRegistrar(t, address, registrar.Options{})
	_, err := ensure(t.Context(), r, workload("/api", 0))
	wantKind(t, err, registrar.Conflict, `entry "spire-injector.demo-cluster.node"`, "differs in: spiffe_id, parent_id, selectors")
	if got := server.Entries(); len(got) != 1 || got[0].GetRevisionNumber() != 0 {
		t.Errorf("entries %v, want the other's alone and unchanged", got)
	}
}

func TestEntryVanishesBetweenCalls(t *testing.T) {
	server, address := serve(t)
	r := newRegistrar(t, address, registrar.Options{})
	id := mustEnsure(t, r, workload("/api", time.Hour))
	server.Before(func(_ context.Context, method string) error {
		if method == modify {
			server.Delete(id)
		}
		return nil
	})
	if got := mustEnsure(t, r, workload("/api", time.Minute)); got != id {
		t.Errorf("entry ID %q, want %q", got, id)
	}
	if last := server.Entries()[1]; last.GetId() != id || last.GetX509SvidTtl() != 60 {
		t.Errorf("entry %v, want it with a TTL of 60", last)
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
	wantCalls(t, server, 0, 0, 0)
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
	var reports []string
	r := newRegistrar(t, address, registrar.Options{
		CacheTTL: time.Minute, Now: func() time.Time { return time.Unix(now.Load(), 0) },
		OnMissingBundle: func(e registrar.Entry, missing []spiffeid.TrustDomain) {
			reports = append(reports, fmt.Sprint(e.SPIFFEID.Path(), " has ", e.FederatesWith, ", lacks ", missing))
		},
	})
	mustEnsure(t, r, workload("/first", 0))
	api := federated("/api", "there.org", "late.org", "example.org")
	federation := func(id string) string {
		for _, e := range server.Entries() {
			if e.GetId() == id {
				return fmt.Sprint(e.GetFederatesWith())
			}
		}
		return "no entry"
	}
	wantFederation := func(id, want string) {
		t.Helper()
		if got := federation(id); got != want {
			t.Errorf("federates with %s, want %s", got, want)
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
	wantCalls(t, server, 4, 0, 0) // two of them for /first, then with and without the domain
	wantLists(1)

	// Known, and known to be missing: no call. Another identity: one call, without the domain from the start.
	now.Store(50)
	if got := mustEnsure(t, r, api); got != id {
		t.Errorf("entry ID %q, want %q", got, id)
	}
	wantCalls(t, server, 4, 0, 0)
	web := mustEnsure(t, r, federated("/web", "late.org"))
	wantFederation(web, "[]")
	wantCalls(t, server, 5, 0, 0)
	wantLists(1)

	// Still missing a while later: asked again, and nothing is changed.
	now.Store(61)
	mustEnsure(t, r, api)
	wantCalls(t, server, 7, 1, 0) // the entry is there already, and its update is refused
	wantLists(2)
	if got := server.Entries()[2].GetRevisionNumber(); got != 0 {
		t.Errorf("revision %d of an entry that cannot be changed", got)
	}

	server.PutBundle(&types.Bundle{TrustDomain: "late.org"})
	now.Store(122)
	mustEnsure(t, r, api)
	wantFederation(id, "[example.org late.org there.org]")
	mustEnsure(t, r, federated("/web", "late.org"))
	wantFederation(web, "[late.org]")
	wantLists(2)

	want := []string{
		"/api has [example.org there.org], lacks [late.org]", "/web has [], lacks [late.org]",
		"/api has [example.org there.org], lacks [late.org]",
	}
	if got := fmt.Sprint(reports); got != fmt.Sprint(want) {
		t.Errorf("reported %s, want %s", got, want)
	}
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
	wantCalls(t, server, 5, 0, 0)

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
