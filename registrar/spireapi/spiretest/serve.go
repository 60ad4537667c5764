package spiretest

import (
	"net"
	"os"
	"sync"
	"testing"

	"google.golang.org/grpc"
)

func listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	return lis
}

// serve ends at stop or with the test, whichever comes first.
func serve(t testing.TB, server *grpc.Server, lis net.Listener) (stop func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(lis) // ends with stop
	}()
	stop = sync.OnceFunc(func() {
		server.Stop()
		<-ended
	})
	t.Cleanup(stop)
	return stop
}

// shortTempDir keeps sockets below the 108 bytes that Linux allows their paths, which t.TempDir with a long test
// name does not.
func shortTempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "spire")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
