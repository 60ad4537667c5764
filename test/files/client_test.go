package files

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// connection is one to PostgreSQL, in its own protocol (version 3.0), by TLS.
type connection struct{ tls *tls.Conn }

// dialTimeout is how long connecting, and a query, may take at most.
const dialTimeout = 10 * time.Second

// connect asks for TLS, verifies the server, and begins a session.
func connect(ctx context.Context, address string, config *tls.Config) (*connection, error) {
	var dialer net.Dialer
	plain, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &connection{tls: tls.Client(plain, config)}
	if err := c.begin(plain); err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	return c, nil
}

func (c *connection) begin(plain net.Conn) error {
	if err := plain.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	if _, err := plain.Write(message(0, binary.BigEndian.AppendUint32(nil, 80877103))); err != nil { // SSLRequest
		return err
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(plain, answer); err != nil {
		return fmt.Errorf("asking for TLS: %w", err)
	}
	if answer[0] != 'S' {
		return fmt.Errorf("asking for TLS: expected S, got %q", answer)
	}
	if err := c.tls.Handshake(); err != nil {
		return err
	}
	startup := binary.BigEndian.AppendUint32(nil, 3<<16)
	startup = append(startup, "user\x00postgres\x00database\x00postgres\x00\x00"...)
	return c.ask(message(0, startup))
}

// query runs a statement.
func (c *connection) query(statement string) error {
	if err := c.tls.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	return c.ask(message('Q', append([]byte(statement), 0)))
}

// ask sends a message and reads until the server waits for the next one.
func (c *connection) ask(m []byte) error {
	if _, err := c.tls.Write(m); err != nil {
		return err
	}
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(c.tls, head); err != nil {
			return err
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(c.tls, body); err != nil {
			return err
		}
		switch head[0] {
		case 'E':
			return fmt.Errorf("the server says %q", body)
		case 'Z': // ready for a query
			return nil
		}
	}
}

// message is one with its length, and its type unless that is 0.
func message(kind byte, body []byte) []byte {
	var m []byte
	if kind != 0 {
		m = append(m, kind)
	}
	m = binary.BigEndian.AppendUint32(m, uint32(len(body))+4)
	return append(m, body...)
}
