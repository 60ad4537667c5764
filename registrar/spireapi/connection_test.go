package spireapi_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/registrar/spireapi/spiretest"
)

func TestEachCallIsObserved(t *testing.T) {
	type call struct {
		Method string
		Code   codes.Code
	}
	var mu sync.Mutex
	var calls []call
	server := spiretest.NewServer(exampleOrg)
	address, _ := server.ServeUnix(t)
	client := dial(t, spireapi.Config{ServerAddress: address, Observe: func(method string, code codes.Code, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if took <= 0 || took > time.Minute {
			t.Errorf("%s took %v", method, took)
		}
		calls = append(calls, call{method, code})
	}})
	if _, err := client.CreateEntries(t.Context(), []registrar.Entry{entry("/x")}); err != nil {
		t.Fatal(err)
	}
	_, _ = client.GetEntry(t.Context(), "none")
	if _, err := client.ListEntries(t.Context(), demo); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]call{{"BatchCreateEntry", codes.OK}, {"GetEntry", codes.NotFound}, {"ListEntries", codes.OK}, {"ListEntries", codes.OK}}, calls); diff != "" {
		t.Errorf("observed (-want +got):\n%s", diff)
	}
}

func reconnected(client *spireapi.Client, limit time.Duration) bool {
	select {
	case <-client.Reconnected():
		return true
	case <-time.After(limit):
		return false
	}
}

// No call is made: a server that comes back is found all the same.
func TestReconnectedTellsWhenTheServerIsBack(t *testing.T) {
	server := spiretest.NewServer(exampleOrg)
	address, stop := server.ServeUnix(t)
	client := dial(t, spireapi.Config{ServerAddress: address})
	if reconnected(client, 300*time.Millisecond) {
		t.Error("told about the first connection")
	}
	for range 2 {
		stop()
		if reconnected(client, 300*time.Millisecond) {
			t.Error("told while the server is away")
		}
		stop = server.ServeUnixAt(t, address)
		start := time.Now()
		if !reconnected(client, 3*time.Second) {
			t.Fatal("not told that the server is back")
		}
		t.Logf("told after %v", time.Since(start).Round(time.Millisecond))
		if reconnected(client, 300*time.Millisecond) {
			t.Error("told twice")
		}
	}
}

func TestReconnectedTellsOfAServerThatComesLate(t *testing.T) {
	server := spiretest.NewServer(exampleOrg)
	address, stop := server.ServeUnix(t)
	stop()
	client := dial(t, spireapi.Config{ServerAddress: address})
	time.Sleep(200 * time.Millisecond)
	server.MaxConnectionAge(100 * time.Millisecond)
	server.ServeUnixAt(t, address)
	if !reconnected(client, 3*time.Second) {
		t.Fatal("not told that the server is there")
	}
	if reconnected(client, 500*time.Millisecond) {
		t.Error("told again although every further connection succeeded")
	}
}

// SPIRE's server ends each TCP connection after three minutes, and takes the next one at once.
func TestReconnectedIsSilentWhenTheServerRenewsTheConnection(t *testing.T) {
	server := spiretest.NewServer(exampleOrg)
	server.MaxConnectionAge(100 * time.Millisecond)
	address, _ := server.ServeUnix(t)
	client := dial(t, spireapi.Config{ServerAddress: address})
	if reconnected(client, time.Second) {
		t.Error("told although every connection succeeded")
	}
	if got := server.Connections(); got < 3 {
		t.Errorf("%d connections, want the idle one renewed each time", got)
	}
}
