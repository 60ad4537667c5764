package spireapi_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/registrar/spireapi/spiretest"
)

var (
	exampleOrg = spiffeid.RequireTrustDomainFromString("example.org")
	otherOrg   = spiffeid.RequireTrustDomainFromString("other.org")
	comparer   = cmp.Options{
		cmp.Comparer(func(a, b spiffeid.ID) bool { return a == b }),
		cmp.Comparer(func(a, b spiffeid.TrustDomain) bool { return a == b }),
	}
)

// demo is the cluster whose entries are listed.
var demo = registrar.Cluster{Name: "demo", TrustDomain: exampleOrg}

func entry(path string) registrar.Entry {
	return registrar.Entry{
		ID:        "test." + strings.ReplaceAll(strings.Trim(path, "/"), "/", "."),
		SPIFFEID:  spiffeid.RequireFromPath(exampleOrg, path),
		ParentID:  demo.AliasPath("parent"),
		Selectors: []registrar.Selector{{Type: "k8s", Value: "ns:demo"}, {Type: "k8s", Value: "sa:a:b"}},
	}
}

func dial(t *testing.T, cfg spireapi.Config) *spireapi.Client {
	t.Helper()
	cfg.TrustDomain = exampleOrg
	client, err := spireapi.Dial(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
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

func TestDialChecksItsConfiguration(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg  spireapi.Config
		want string
	}{
		"no trust domain": {spireapi.Config{ServerAddress: "unix:///x"}, "no trust domain"},
		"no address":      {spireapi.Config{TrustDomain: exampleOrg}, `SPIRE server address "": expected host:port, as in spire-server.spire:8081, or unix:///path`},
		"relative socket": {spireapi.Config{TrustDomain: exampleOrg, ServerAddress: "unix://x/api.sock"}, "expected an absolute path"},
		"no port":         {spireapi.Config{TrustDomain: exampleOrg, ServerAddress: "spire-server"}, "expected host:port"},
		"a URL":           {spireapi.Config{TrustDomain: exampleOrg, ServerAddress: "https://spire-server:8081"}, "expected host:port"},
		"no agent":        {spireapi.Config{TrustDomain: exampleOrg, ServerAddress: "spire-server:8081"}, `agent socket "": a SPIRE server at spire-server:8081 wants to know its callers`},
		"a bare path":     {spireapi.Config{TrustDomain: exampleOrg, ServerAddress: "spire-server:8081", AgentSocket: "/run/agent.sock"}, "as in unix:///run/spire/sockets/agent.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := spireapi.Dial(tc.cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestEveryFieldGoesAndComesBack(t *testing.T) {
	server := spiretest.NewServer(exampleOrg)
	address, _ := server.ServeUnix(t)
	client := dial(t, spireapi.Config{ServerAddress: address})

	want := entry("/full")
	want.X509SVIDTTL, want.JWTSVIDTTL = time.Minute, 2*time.Minute
	want.DNSNames = []string{"b", "a", "b"}
	want.Hint = "hint"
	want.Downstream, want.Admin, want.StoreSVID = true, true, true
	want.ExpiresAt = time.Unix(2_000_000_000, 5)
	want.FederatesWith = []spiffeid.TrustDomain{otherOrg, spiffeid.RequireTrustDomainFromString("a.org")}
	server.PutBundle(&types.Bundle{TrustDomain: "a.org"})
	server.PutBundle(&types.Bundle{TrustDomain: "other.org"})
	results, err := client.CreateEntries(t.Context(), []registrar.Entry{want})
	if err != nil || results[0].Err != nil || results[0].Existed {
		t.Fatalf("%+v, %v", results, err)
	}
	if since := time.Since(results[0].Entry.CreatedAt); since < 0 || since > time.Minute {
		t.Errorf("created at %v, want a moment ago", results[0].Entry.CreatedAt)
	}
	want.CreatedAt = results[0].Entry.CreatedAt
	if diff := cmp.Diff(want.Canonical(), *results[0].Entry, comparer); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	got, err := client.GetEntry(t.Context(), want.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Canonical(), got, comparer); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
}

func TestUpdateChangesTheNamedFieldsOnly(t *testing.T) {
	server := spiretest.NewServer(exampleOrg)
	address, _ := server.ServeUnix(t)
	client := dial(t, spireapi.Config{ServerAddress: address})
	created, err := client.CreateEntries(t.Context(), []registrar.Entry{entry("/x")})
	if err != nil || created[0].Err != nil {
		t.Fatal(err, created)
	}
	full := entry("/other")
	full.ID = entry("/x").ID
	full.ParentID = spiffeid.RequireFromPath(exampleOrg, "/parent2")
	full.Selectors = []registrar.Selector{{Type: "a", Value: "b"}}
	full.X509SVIDTTL, full.JWTSVIDTTL, full.DNSNames, full.Hint = time.Minute, time.Minute, []string{"a"}, "h"
	full.Downstream, full.Admin, full.StoreSVID, full.ExpiresAt = true, true, true, time.Unix(2_000_000_000, 0)

	want := entry("/x")
	want.CreatedAt = created[0].Entry.CreatedAt
	for _, step := range []struct {
		fields registrar.Fields
		apply  func()
	}{
		{registrar.FieldX509SVIDTTL, func() { want.X509SVIDTTL = full.X509SVIDTTL }},
		{registrar.FieldJWTSVIDTTL, func() { want.JWTSVIDTTL = full.JWTSVIDTTL }},
		{registrar.FieldDNSNames, func() { want.DNSNames = full.DNSNames }},
		{registrar.FieldHint, func() { want.Hint = full.Hint }},
		{registrar.FieldDownstream, func() { want.Downstream = true }},
		{registrar.FieldAdmin, func() { want.Admin = true }},
		{registrar.FieldStoreSVID, func() { want.StoreSVID = true }},
		{registrar.FieldExpiresAt, func() { want.ExpiresAt = full.ExpiresAt }},
		{registrar.FieldSelectors, func() { want.Selectors = full.Selectors }},
		{registrar.FieldSPIFFEID | registrar.FieldParentID, func() { want.SPIFFEID, want.ParentID = full.SPIFFEID, full.ParentID }},
	} {
		step.apply()
		got, err := update(t, client, full, step.fields)
		if err != nil {
			t.Fatalf("update %v: %v", step.fields, err)
		}
		if diff := cmp.Diff(want.Canonical(), got, comparer); diff != "" {
			t.Errorf("update %v (-want +got):\n%s", step.fields, diff)
		}
	}
	full.FederatesWith = []spiffeid.TrustDomain{otherOrg}
	_, err = update(t, client, full, registrar.FieldFederatesWith)
	wantKind(t, err, registrar.MissingBundle, `does not take entry "test.x"`, `unable to find federated bundle "spiffe://other.org"`,
		"set up federation with that trust domain", "spire-server bundle set")
	if _, err := update(t, client, full, registrar.FieldHint); err != nil {
		t.Errorf("update of another field: %v", err)
	}
	server.PutBundle(&types.Bundle{TrustDomain: "other.org"})
	if got, err := update(t, client, full, registrar.FieldFederatesWith); err != nil || len(got.FederatesWith) != 1 {
		t.Errorf("update with the bundle there: %v, %v", got.FederatesWith, err)
	}
}

// update is of one entry.
func update(t *testing.T, client *spireapi.Client, e registrar.Entry, fields registrar.Fields) (registrar.Entry, error) {
	t.Helper()
	results, err := client.UpdateEntries(t.Context(), []registrar.Entry{e}, fields)
	if err != nil {
		return registrar.Entry{}, err
	}
	if len(results) != 1 {
		t.Fatalf("%d results for one entry", len(results))
	}
	return results[0].Entry, results[0].Err
}

func TestResultsAreSeparateAndInOrder(t *testing.T) {
	server := spiretest.NewServer(exampleOrg)
	address, _ := server.ServeUnix(t)
	client := dial(t, spireapi.Config{ServerAddress: address})
	reserved, sameContent, sameID, federated := entry("/spire/x"), entry("/a"), entry("/c"), entry("/d")
	sameContent.ID, sameContent.X509SVIDTTL = "another", time.Minute
	sameID.ID = entry("/a").ID
	federated.FederatesWith = []spiffeid.TrustDomain{otherOrg}
	results, err := client.CreateEntries(t.Context(), []registrar.Entry{entry("/a"), reserved, sameContent, sameID, federated, entry("/b")})
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Err != nil || r.Existed || r.Entry.ID != "test.a" {
		t.Errorf("new: %+v", r)
	}
	wantKind(t, results[1].Err, registrar.Invalid, `does not take entry "test.spire.x"`, "invalid spiffe ID")
	if r := results[2]; r.Err != nil || !r.Existed || r.Entry.ID != "test.a" || r.Entry.X509SVIDTTL != 0 {
		t.Errorf("same content: %+v, want the first entry as it is", r)
	}
	if r := results[3]; r.Err != nil || !r.Existed || r.Entry != nil {
		t.Errorf("same ID: %+v, want it to exist without an entry", r)
	}
	wantKind(t, results[4].Err, registrar.MissingBundle, `does not take entry "test.d"`, `unable to find federated bundle "spiffe://other.org"`, "spire-server bundle set")
	if r := results[5]; r.Err != nil || r.Entry.ID != "test.b" {
		t.Errorf("after failures: %+v", r)
	}
}

func TestInvalidEntriesAreNotSent(t *testing.T) {
	server := spiretest.NewServer(exampleOrg)
	address, _ := server.ServeUnix(t)
	client := dial(t, spireapi.Config{ServerAddress: address})
	bad := entry("/x")
	bad.ID, bad.X509SVIDTTL, bad.Selectors = "a/b", time.Millisecond, nil
	results, err := client.CreateEntries(t.Context(), []registrar.Entry{bad})
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, results[0].Err, registrar.Invalid, `entry ID "a/b": expected`, "TTL 1ms: expected whole seconds", "no selectors")
	_, err = update(t, client, bad, registrar.FieldSelectors)
	wantKind(t, err, registrar.Invalid, "no selectors")
	if got := server.Calls("BatchCreateEntry") + server.Calls("BatchUpdateEntry"); got != 0 {
		t.Errorf("%d calls, want none", got)
	}
	results, err = client.CreateEntries(t.Context(), []registrar.Entry{bad, entry("/good")})
	if err != nil || results[1].Err != nil || results[1].Entry.ID != "test.good" {
		t.Errorf("beside an invalid one: %+v, %v", results, err)
	}
	wantKind(t, results[0].Err, registrar.Invalid, `entry ID "a/b"`)
}

func TestMissingEntries(t *testing.T) {
	server := spiretest.NewServer(exampleOrg)
	address, _ := server.ServeUnix(t)
	client := dial(t, spireapi.Config{ServerAddress: address})
	if _, err := client.GetEntry(t.Context(), "none"); !errors.Is(err, registrar.ErrNotFound) {
		t.Errorf("get: %v, want ErrNotFound", err)
	}
	if _, err := update(t, client, entry("/none"), registrar.FieldHint); !errors.Is(err, registrar.ErrNotFound) {
		t.Errorf("update: %v, want ErrNotFound", err)
	}
}

func TestErrorsOfTheCall(t *testing.T) {
	for code, tc := range map[codes.Code]struct {
		kind registrar.Kind
		text string
	}{
		codes.Unavailable:       {registrar.Unavailable, "check that the server runs"},
		codes.ResourceExhausted: {registrar.Unavailable, "and its load"},
		codes.DeadlineExceeded:  {registrar.Unavailable, "no answer from the SPIRE server"},
		codes.PermissionDenied:  {registrar.Denied, "authorization policy (auth_opa_policy_engine) must allow local callers this method"},
		codes.Unauthenticated:   {registrar.Denied, "denies"},
		codes.InvalidArgument:   {registrar.Invalid, "fails on"},
		codes.Internal:          {registrar.Failed, "look at the server's log"},
		codes.Unimplemented:     {registrar.Failed, "fails on"},
	} {
		t.Run(code.String(), func(t *testing.T) {
			server := spiretest.NewServer(exampleOrg)
			address, _ := server.ServeUnix(t)
			server.Before(func(context.Context, string) error { return status.Error(code, "the reason") })
			client := dial(t, spireapi.Config{ServerAddress: address})
			_, err := client.CreateEntries(t.Context(), []registrar.Entry{entry("/x")})
			wantKind(t, err, tc.kind, tc.text, "the reason", address)
			_, err = update(t, client, entry("/x"), registrar.FieldHint)
			wantKind(t, err, tc.kind, "the reason")
			_, err = client.GetEntry(t.Context(), "x")
			wantKind(t, err, tc.kind, "the reason")
			_, err = client.DeleteEntries(t.Context(), []string{"x"})
			wantKind(t, err, tc.kind, "the reason")
			_, err = client.ListEntries(t.Context(), demo)
			wantKind(t, err, tc.kind, "the reason")
			_, err = client.FederatedBundles(t.Context())
			wantKind(t, err, tc.kind, "the reason")
			_, err = client.FederatedBundle(t.Context(), otherOrg)
			wantKind(t, err, tc.kind, "the reason")
			_, err = client.ListFederationRelationships(t.Context())
			wantKind(t, err, tc.kind, "the reason")
			_, err = client.CreateFederationRelationships(t.Context(), []registrar.Relationship{webRelationship(otherOrg)})
			wantKind(t, err, tc.kind, "the reason")
			wantKind(t, client.RefreshBundle(t.Context(), otherOrg), tc.kind, "the reason")
		})
	}
}

func TestTamperedAnswers(t *testing.T) {
	server := spiretest.NewServer(exampleOrg)
	address, _ := server.ServeUnix(t)
	client := dial(t, spireapi.Config{ServerAddress: address})
	server.Tamper(func(resp any) {
		switch r := resp.(type) {
		case *entryv1.BatchUpdateEntryResponse:
			r.Results = nil
		case *entryv1.BatchDeleteEntryResponse:
			r.Results[0].Id = "another"
		case *entryv1.ListEntriesResponse:
			r.NextPageToken = "1"
		case *types.Entry:
			r.Id = "another"
		}
	})
	server.Put(&types.Entry{
		Id: "x", SpiffeId: &types.SPIFFEID{TrustDomain: "example.org", Path: "/x"}, ParentId: &types.SPIFFEID{TrustDomain: "example.org", Path: "/p"},
	})
	deleted, err := client.DeleteEntries(t.Context(), []string{"y"})
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, deleted[0], registrar.Failed, `entry "another" when asked about "y"`)
	_, err = client.ListEntries(t.Context(), demo)
	wantKind(t, err, registrar.Failed, `page "1" as the one after itself`)
	_, err = client.GetEntry(t.Context(), "x")
	wantKind(t, err, registrar.Failed, `entry "another" when asked about "x"`)
	_, err = update(t, client, entry("/x"), registrar.FieldHint)
	wantKind(t, err, registrar.Failed, "0 results for 1 entries", "check that the address is that of a SPIRE server")
}

func TestServerThatIsAwayComesBack(t *testing.T) {
	server := spiretest.NewServer(exampleOrg)
	address, stop := server.ServeUnix(t)
	client := dial(t, spireapi.Config{ServerAddress: address})
	if _, err := client.CreateEntries(t.Context(), []registrar.Entry{entry("/x")}); err != nil {
		t.Fatal(err)
	}
	stop()
	start := time.Now()
	_, err := client.GetEntry(within(t, 5*time.Second), "x")
	wantKind(t, err, registrar.Unavailable, "no answer from the SPIRE server at "+address+" to GetEntry", "check that the server runs")
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v to fail, want it to fail fast", took)
	}
	for outage := time.Now(); time.Since(outage) < 3*time.Second; time.Sleep(50 * time.Millisecond) {
		// Calls keep the connection trying, so that its backoff grows.
		if _, err := client.GetEntry(t.Context(), "x"); registrar.KindOf(err) != registrar.Unavailable {
			t.Fatalf("during the outage: %v", err)
		}
	}

	resume := time.Now()
	server.ServeUnixAt(t, address)
	for {
		if _, err = client.GetEntry(t.Context(), entry("/x").ID); err == nil {
			break
		}
		if time.Since(resume) > 1500*time.Millisecond {
			t.Fatalf("not found again after 1.5s: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("found again after %v", time.Since(resume).Round(time.Millisecond))
}

func TestServerThatWasNeverThere(t *testing.T) {
	client := dial(t, spireapi.Config{ServerAddress: "unix://" + t.TempDir() + "/none.sock"})
	_, err := client.GetEntry(within(t, 5*time.Second), "x")
	wantKind(t, err, registrar.Unavailable, "none.sock", "no such file or directory")
}
