package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
)

// goodbye is the line by which a server that stops asks its callers to hang up. It still answers every line
// that comes before they do, so nobody's exchange breaks.
const goodbye = "bye"

// maxLine bounds, in bytes, what one line of a caller may hold.
const maxLine = 4096

// lineServer answers each line with its name, a space, and that line.
type lineServer struct {
	name     string
	listener net.Listener

	mu       sync.Mutex
	stopping bool
	open     map[net.Conn]struct{}
	serving  sync.WaitGroup
}

func newTCPService(listener net.Listener, name string) service {
	s := &lineServer{name: name, listener: listener, open: map[net.Conn]struct{}{}}
	return service{protocol: "tcp", listener: listener, serve: s.serve, finish: s.finish, cut: s.cut}
}

func (s *lineServer) serve() error {
	for {
		connection, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if !s.add(connection) {
			_ = connection.Close()
			return nil
		}
		s.serving.Go(func() {
			defer s.remove(connection)
			s.answer(connection)
		})
	}
}

func (s *lineServer) add(connection net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.open[connection] = struct{}{}
	return true
}

func (s *lineServer) remove(connection net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, connection)
	_ = connection.Close()
}

// answer serves one connection until its caller hangs up or it is closed.
func (s *lineServer) answer(connection net.Conn) {
	lines := bufio.NewScanner(connection)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if _, err := connection.Write([]byte(s.name + " " + lines.Text() + "\n")); err != nil {
			return
		}
	}
}

// finish says goodbye and waits until everybody has hung up.
func (s *lineServer) finish(ctx context.Context) error {
	for _, connection := range s.stop() {
		_, _ = connection.Write([]byte(goodbye + "\n")) // one that is gone needs none
	}
	gone := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *lineServer) cut() {
	for _, connection := range s.stop() {
		_ = connection.Close()
	}
}

// stop takes no more connections and returns those that are open.
func (s *lineServer) stop() []net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	_ = s.listener.Close()
	var open []net.Conn
	for connection := range s.open {
		open = append(open, connection)
	}
	return open
}
