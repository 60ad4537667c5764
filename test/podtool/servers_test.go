package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
)

// newDroppingServer answers "ok" to the first request of every connection, keeps the connection
// open, and closes it without an answer when the second request has arrived: what a proxy does that
// is stopped without draining. It returns its URL.
func newDroppingServer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go answerOnce(connection)
		}
	}()
	return "http://" + listener.Addr().String() + "/api"
}

func answerOnce(connection net.Conn) {
	defer func() { _ = connection.Close() }()
	reader := bufio.NewReader(connection)
	if _, err := http.ReadRequest(reader); err != nil {
		return
	}
	if _, err := io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"); err != nil {
		return
	}
	_, _ = http.ReadRequest(reader)
}
