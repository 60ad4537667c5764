package spireapi_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/registrar/spireapi/spiretest"
)

func serve(t *testing.T) (*spiretest.Server, *spireapi.Client) {
	t.Helper()
	server := spiretest.NewServer(exampleOrg)
	address, _ := server.ServeUnix(t)
	return server, dial(t, spireapi.Config{ServerAddress: address})
}

func many(n int) (entries []registrar.Entry, ids []string) {
	for i := range n {
		e := entry(fmt.Sprintf("/w%d", i))
		entries, ids = append(entries, e), append(ids, e.ID)
	}
	return entries, ids
}

func TestManyEntriesGoInBatches(t *testing.T) {
	server, client := serve(t)
	entries, ids := many(1001)
	created, err := client.CreateEntries(t.Context(), entries)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range created {
		if r.Err != nil || r.Entry.ID != ids[i] {
			t.Fatalf("result %d: %+v, want entry %q", i, r, ids[i])
		}
	}
	stranger := entry("/stranger")
	stranger.ParentID = spiffeid.RequireFromPath(exampleOrg, "/another-parent")
	if _, err := client.CreateEntries(t.Context(), []registrar.Entry{stranger}); err != nil {
		t.Fatal(err)
	}

	for i := range entries {
		entries[i].X509SVIDTTL = time.Duration(i+1) * time.Second
	}
	updated, err := client.UpdateEntries(t.Context(), entries, registrar.FieldX509SVIDTTL)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range updated {
		if r.Err != nil || r.Entry.ID != ids[i] || r.Entry.X509SVIDTTL != entries[i].X509SVIDTTL {
			t.Fatalf("result %d: %+v, want entry %q with a TTL of %v", i, r, ids[i], entries[i].X509SVIDTTL)
		}
	}

	listed, err := client.ListEntries(t.Context(), demo)
	if err != nil || len(listed) != 1001 || listed[1000].ID != ids[1000] || listed[1000].X509SVIDTTL != entries[1000].X509SVIDTTL {
		t.Errorf("%d entries listed, %v; want the 1001 of this cluster", len(listed), err)
	}

	deleted, err := client.DeleteEntries(t.Context(), append([]string{"not-there"}, ids...))
	if err != nil || len(deleted) != 1002 || errors.Join(deleted...) != nil {
		t.Errorf("%d deleted, %v, %v; want 1002 without error", len(deleted), errors.Join(deleted...), err)
	}
	if left := server.Entries(); len(left) != 1 || left[0].GetId() != stranger.ID {
		t.Errorf("%d entries left, want the other parent's alone", len(left))
	}
	for method, want := range map[string]int{
		"BatchCreateEntry": 7, "BatchUpdateEntry": 6, "BatchDeleteEntry": 6,
		"ListEntries": 4, // the page after the last is empty
	} {
		if got := server.Calls(method); got != want {
			t.Errorf("%d calls of %s, want %d", got, method, want)
		}
	}
}

// SPIRE's server, like this one, refuses messages above 4 MiB.
func TestLargeEntriesGoInSmallerBatches(t *testing.T) {
	server, client := serve(t)
	entries, _ := many(60)
	for i := range entries {
		for n := range 100 {
			entries[i].DNSNames = append(entries[i].DNSNames, fmt.Sprintf("%s-%d.%d.example.org", strings.Repeat("x", 1000), i, n))
		}
	}
	created, err := client.CreateEntries(t.Context(), entries)
	if err != nil || created[59].Err != nil {
		t.Fatalf("%v, %v", created[59].Err, err)
	}
	if got := server.Calls("BatchCreateEntry"); got != 3 {
		t.Errorf("%d calls for 6 MB, want 3", got)
	}
	if listed, err := client.ListEntries(t.Context(), demo); err != nil || len(listed) != 60 {
		t.Errorf("%d entries in one page of 6 MB, %v", len(listed), err)
	}
}

func TestBatchThatFailsAfterAnother(t *testing.T) {
	server, client := serve(t)
	entries, ids := many(500)
	failFrom := func(call int) {
		calls := 0
		server.Before(func(context.Context, string) error {
			if calls++; calls >= call {
				return status.Error(codes.Unavailable, "gone")
			}
			return nil
		})
	}
	failFrom(2)
	created, err := client.CreateEntries(t.Context(), entries)
	if err != nil || created[199].Err != nil {
		t.Fatalf("the first batch: %v, %v; want its results", created[199].Err, err)
	}
	wantKind(t, created[200].Err, registrar.Unavailable, "gone")
	wantKind(t, created[499].Err, registrar.Unavailable, "gone")
	if got := server.Calls("BatchCreateEntry"); got != 2 {
		t.Errorf("%d calls, want none after the one that failed", got)
	}
	failFrom(2)
	deleted, err := client.DeleteEntries(t.Context(), ids)
	if err != nil || deleted[199] != nil {
		t.Fatalf("the first batch: %v, %v; want its results", deleted[199], err)
	}
	wantKind(t, deleted[200], registrar.Unavailable, "gone")
	failFrom(1)
	_, err = client.UpdateEntries(t.Context(), entries, registrar.FieldHint)
	wantKind(t, err, registrar.Unavailable, "gone")
}

func TestNothingIsAskedAboutNothing(t *testing.T) {
	server, client := serve(t)
	created, err := client.CreateEntries(t.Context(), nil)
	if len(created) != 0 || err != nil || server.Calls("BatchCreateEntry") != 0 {
		t.Errorf("%v, %v, %d calls", created, err, server.Calls("BatchCreateEntry"))
	}
	if listed, err := client.ListEntries(t.Context(), demo); len(listed) != 0 || err != nil {
		t.Errorf("listed %v, %v; want none", listed, err)
	}
}

func TestDeletionThatIsRefused(t *testing.T) {
	_, client := serve(t)
	deleted, err := client.DeleteEntries(t.Context(), []string{"", "x"})
	if err != nil || deleted[1] != nil {
		t.Fatalf("%v, %v", deleted, err)
	}
	wantKind(t, deleted[0], registrar.Invalid, `does not delete entry ""`, "missing entry ID", "correct what it names")
}

// Entries of others may be anything, even what no SPIFFE ID may be; one under our prefix has to be understood.
func TestListedEntriesThatCannotBeRead(t *testing.T) {
	server, client := serve(t)
	if _, err := client.CreateEntries(t.Context(), []registrar.Entry{entry("/x")}); err != nil {
		t.Fatal(err)
	}
	broken := &types.Entry{
		Id:       "legacy",
		SpiffeId: &types.SPIFFEID{TrustDomain: exampleOrg.Name(), Path: "//"},
		ParentId: &types.SPIFFEID{TrustDomain: exampleOrg.Name(), Path: "/p"},
	}
	server.Put(broken)
	if listed, err := client.ListEntries(t.Context(), demo); err != nil || len(listed) != 1 {
		t.Errorf("listed %v, %v; want the one that can be read", listed, err)
	}
	broken.Id = "spire-injector.demo.x"
	server.Put(broken)
	_, err := client.ListEntries(t.Context(), demo)
	wantKind(t, err, registrar.Failed, `entry "spire-injector.demo.x", which cannot be read`)
}
