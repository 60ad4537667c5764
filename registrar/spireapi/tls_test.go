package spireapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/registrar/spireapi/spiretest"
)

var injectorID = spiffeid.RequireFromPath(exampleOrg, "/spire-injector")

// eventually repeats a call until it succeeds.
func eventually(t *testing.T, limit time.Duration, call func() error) (took time.Duration) {
	t.Helper()
	start := time.Now()
	for {
		err := call()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > limit {
			t.Fatalf("still failing after %v: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func create(t *testing.T, client *spireapi.Client, entries ...registrar.Entry) error {
	t.Helper()
	_, err := client.CreateEntries(within(t, 5*time.Second), entries)
	return err
}

func TestMutualTLS(t *testing.T) {
	ca := spiretest.NewCA(t, exampleOrg)
	agent := spiretest.NewAgent(t, ca)
	agent.Give(ca.SVID(t, injectorID, time.Hour))
	agent.Serve(t)
	server := spiretest.NewServer(exampleOrg)
	address, _ := server.ServeTLS(t, ca, "127.0.0.1:0", injectorID)
	client := dial(t, spireapi.Config{ServerAddress: address, AgentSocket: agent.Address()})
	if err := create(t, client, entry("/x")); err != nil {
		t.Fatal(err)
	}
	if got := len(server.Entries()); got != 1 {
		t.Errorf("%d entries, want 1", got)
	}
}

// SPIRE says the same of a caller who is no admin and of one whom its policy denies: what is known of its other answers
// decides.
func TestCallerWithoutRights(t *testing.T) {
	ca := spiretest.NewCA(t, exampleOrg)
	agent := spiretest.NewAgent(t, ca)
	agent.Give(ca.SVID(t, injectorID, time.Hour))
	agent.Serve(t)
	flagged := entry("/tool")
	flagged.Admin, flagged.Downstream = true, true
	var many []registrar.Entry
	for i := range 7 {
		many = append(many, entry(fmt.Sprint("/", i)))
	}

	stranger, _ := spiretest.NewServer(exampleOrg).ServeTLS(t, ca, "127.0.0.1:0")
	client := dial(t, spireapi.Config{ServerAddress: stranger, AgentSocket: agent.Address()})
	wantKind(t, create(t, client, entry("/x")), registrar.Denied,
		"denies BatchCreateEntry to spiffe://example.org/spire-injector", "authorization denied for method", "it does not say whether",
		"-admin", "admin_ids", "policy-data.json", "what was asked: /x")
	wantKind(t, create(t, client, entry("/x"), flagged), registrar.Denied, `policy-data.json, beside the server's configuration, `+
		`lists its path: add "/tool" under "admin", "/tool" under "downstream";`, "-admin")

	server := spiretest.NewServer(exampleOrg)
	address, _ := server.ServeTLS(t, ca, "127.0.0.1:0", injectorID)
	server.Refuse(func(req any) error {
		if _, lists := req.(*entryv1.ListEntriesRequest); lists {
			return nil
		}
		return status.Error(codes.PermissionDenied, "authorization denied for method")
	})
	client = dial(t, spireapi.Config{ServerAddress: address, AgentSocket: agent.Address()})
	wantKind(t, create(t, client, entry("/x")), registrar.Denied, "it does not say whether")
	if _, err := client.ListEntries(t.Context(), demo); err != nil {
		t.Fatal(err)
	}
	known := []string{"only an admin may, so what denies this is its authorization policy"}
	for _, tc := range []struct {
		asked []registrar.Entry
		want  string
	}{
		{[]registrar.Entry{entry("/x")}, "what was asked: /x"},
		{many, "what was asked: /0, /1, /2, /3, /4 and 2 more"},
		{[]registrar.Entry{entry("/x"), entry("/x"), entry("/y")}, "what was asked: /x, /y"}, // a pod's containers
		{[]registrar.Entry{flagged, flagged}, `add "/tool" under "admin"`},
	} {
		err := create(t, client, tc.asked...)
		wantKind(t, err, registrar.Denied, append(known, tc.want)...)
		if strings.Count(err.Error(), `"/tool" under "admin"`) > 1 {
			t.Errorf("expected each path once, got %v", err)
		}
		if contains(err, "-admin)") {
			t.Errorf("expected nothing of the admin flag, got %v", err)
		}
	}
	wantKind(t, client.RefreshBundle(t.Context(), otherOrg), registrar.Denied, append(known, `trust domains under "federation"`)...)

	server.Refuse(func(any) error { return status.Error(codes.PermissionDenied, "authorization denied for method") })
	_, err := client.ListEntries(t.Context(), demo)
	wantKind(t, err, registrar.Denied, "it does not say whether", "-admin")
	wantKind(t, create(t, client, entry("/x")), registrar.Denied, "it does not say whether", "-admin")
}

func TestAgentMayComeLate(t *testing.T) {
	ca := spiretest.NewCA(t, exampleOrg)
	agent := spiretest.NewAgent(t, ca)
	server := spiretest.NewServer(exampleOrg)
	address, _ := server.ServeTLS(t, ca, "127.0.0.1:0", injectorID)
	client := dial(t, spireapi.Config{ServerAddress: address, AgentSocket: agent.Address()})

	wantKind(t, create(t, client, entry("/x")), registrar.Unavailable,
		"no SVID from the SPIRE agent at "+agent.Address(), "no such file or directory", "check that the agent runs on this node")

	agent.Serve(t)
	took := eventually(t, 4*time.Second, func() error {
		err := create(t, client, entry("/x"))
		if err != nil && registrar.KindOf(err) == registrar.Unavailable && contains(err, "has no SVID for the injector") {
			return nil
		}
		return err
	})
	t.Logf("agent heard after %v", took.Round(time.Millisecond))
	wantKind(t, create(t, client, entry("/x")), registrar.Unavailable, "no identity issued", "create a registration entry with admin rights")

	agent.Give(ca.SVID(t, injectorID, time.Hour))
	took = eventually(t, 3*time.Second, func() error { return create(t, client, entry("/x")) })
	t.Logf("SVID received after %v", took.Round(time.Millisecond))
}

func TestServerMustBeTheTrustDomainsOwn(t *testing.T) {
	ca, otherCA := spiretest.NewCA(t, exampleOrg), spiretest.NewCA(t, exampleOrg)
	agent := spiretest.NewAgent(t, ca)
	agent.Give(ca.SVID(t, injectorID, time.Hour))
	agent.Serve(t)
	server := spiretest.NewServer(exampleOrg)
	impostor, _ := server.ServeTLSAs(t, ca, spiffeid.RequireFromPath(exampleOrg, "/a-workload"), "127.0.0.1:0", injectorID)
	wantKind(t, create(t, dial(t, spireapi.Config{ServerAddress: impostor, AgentSocket: agent.Address()}), entry("/x")), registrar.Unavailable,
		"unexpected ID", "spiffe://example.org/a-workload", "serves this trust domain")
	stranger, _ := server.ServeTLS(t, otherCA, "127.0.0.1:0", injectorID)
	wantKind(t, create(t, dial(t, spireapi.Config{ServerAddress: stranger, AgentSocket: agent.Address()}), entry("/x")), registrar.Unavailable,
		"certificate signed by unknown authority")
	if got := server.Calls("BatchCreateEntry"); got != 0 {
		t.Errorf("%d calls reached the wrong servers", got)
	}
}

func TestRotationIsFollowed(t *testing.T) {
	ca := spiretest.NewCA(t, exampleOrg)
	agent := spiretest.NewAgent(t, ca)
	newID := spiffeid.RequireFromPath(exampleOrg, "/new")
	agent.Give(ca.SVID(t, injectorID, time.Hour))
	agent.Serve(t)
	server := spiretest.NewServer(exampleOrg)
	address, stop := server.ServeTLS(t, ca, "127.0.0.1:0", newID)
	client := dial(t, spireapi.Config{ServerAddress: address, AgentSocket: agent.Address()})
	wantKind(t, create(t, client, entry("/x")), registrar.Denied)

	// The next connection shows the next SVID. SPIRE's server ends each after three minutes; here it restarts.
	agent.Give(ca.SVID(t, newID, time.Hour))
	eventually(t, 3*time.Second, func() error {
		if err := create(t, client, entry("/x")); !contains(err, newID.String()) {
			return fmt.Errorf("the SVID has not arrived: %w", err)
		}
		return nil
	})
	stop()
	server.ServeTLS(t, ca, address)
	eventually(t, 3*time.Second, func() error { return create(t, client, entry("/x")) })
}

func TestExpiredSVID(t *testing.T) {
	ca := spiretest.NewCA(t, exampleOrg)
	agent := spiretest.NewAgent(t, ca)
	agent.Give(ca.SVID(t, injectorID, -time.Minute))
	stop := agent.Serve(t)
	address, _ := spiretest.NewServer(exampleOrg).ServeTLS(t, ca, "127.0.0.1:0", injectorID)
	client := dial(t, spireapi.Config{ServerAddress: address, AgentSocket: agent.Address()})
	wantKind(t, create(t, client, entry("/x")), registrar.Unavailable, "own SVID (spiffe://example.org/spire-injector) expired at")

	stop()
	agent.Give(ca.SVID(t, injectorID, time.Hour))
	agent.Serve(t)
	eventually(t, 4*time.Second, func() error { return create(t, client, entry("/x")) })
}

// go-spiffe's watch ends for good with either of these; an agent that shuts down says Canceled.
func TestAgentThatEndsTheWatch(t *testing.T) {
	for _, code := range []codes.Code{codes.Canceled, codes.InvalidArgument} {
		t.Run(code.String(), func(t *testing.T) {
			ca := spiretest.NewCA(t, exampleOrg)
			agent := spiretest.NewAgent(t, ca)
			agent.Refuse(status.Error(code, "go away"))
			agent.Serve(t)
			address, _ := spiretest.NewServer(exampleOrg).ServeTLS(t, ca, "127.0.0.1:0", injectorID)
			client := dial(t, spireapi.Config{ServerAddress: address, AgentSocket: agent.Address()})
			wantKind(t, create(t, client, entry("/x")), registrar.Unavailable, "no SVID from the SPIRE agent", "go away")
			agent.Give(ca.SVID(t, injectorID, time.Hour))
			eventually(t, 3*time.Second, func() error { return create(t, client, entry("/x")) })
		})
	}
}

func TestAgentThatGoesAwayTakesNothingBack(t *testing.T) {
	ca := spiretest.NewCA(t, exampleOrg)
	agent := spiretest.NewAgent(t, ca)
	agent.Give(ca.SVID(t, injectorID, time.Hour))
	stop := agent.Serve(t)
	server := spiretest.NewServer(exampleOrg)
	address, stopServer := server.ServeTLS(t, ca, "127.0.0.1:0", injectorID)
	client := dial(t, spireapi.Config{ServerAddress: address, AgentSocket: agent.Address()})
	if err := create(t, client, entry("/x")); err != nil {
		t.Fatal(err)
	}
	stop()
	stopServer()
	wantKind(t, create(t, client, entry("/y")), registrar.Unavailable, "no answer from the SPIRE server at "+address)
	server.ServeTLS(t, ca, address)
	eventually(t, 3*time.Second, func() error { return create(t, client, entry("/y")) })
}

func TestCloseEndsEverything(t *testing.T) {
	ca := spiretest.NewCA(t, exampleOrg)
	agent := spiretest.NewAgent(t, ca)
	client, err := spireapi.Dial(spireapi.Config{ServerAddress: "127.0.0.1:1", AgentSocket: agent.Address(), TrustDomain: exampleOrg})
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- client.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("Close hangs while the agent is away")
	}
}

func contains(err error, text string) bool { return strings.Contains(err.Error(), text) }
