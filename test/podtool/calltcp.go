package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const protocolTCP = "tcp"

// tcpCaller sends lines over one connection, or over a new one for each line.
type tcpCaller struct {
	address   string
	keepAlive bool
	kept      *lineConnection
}

func newTCPCaller(address string, keepAlive bool) *tcpCaller {
	return &tcpCaller{address: address, keepAlive: keepAlive}
}

func (c *tcpCaller) call(ctx context.Context, timeout time.Duration) answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	result := answer{Started: time.Now(), Protocol: protocolTCP}
	result.Reused = c.kept != nil && !c.kept.over()
	result.Body, result.Err = c.exchange(ctx, result.Reused)
	result.Latency = time.Since(result.Started)
	if result.Err == nil {
		result.Pod, result.Err = podOf(result.Body)
	}
	return result
}

func (c *tcpCaller) exchange(ctx context.Context, reuse bool) (string, error) {
	connection := c.kept
	if !reuse {
		c.close()
		var err error
		if connection, err = dialLines(ctx, c.address); err != nil {
			return "", err
		}
	}
	line, err := connection.exchange(ctx, greeting)
	if err != nil || !c.keepAlive {
		connection.close()
		c.kept = nil
		return line, err
	}
	c.kept = connection
	return line, nil
}

func (c *tcpCaller) close() {
	if c.kept != nil {
		c.kept.close()
		c.kept = nil
	}
}

// lineConnection is a connection whose lines are read as they come, so that the end of a connection shows before
// the next line is sent.
type lineConnection struct {
	connection net.Conn
	lines      chan string // closed at the end of the connection
	reason     error       // why it ended; set before lines is closed
	bye        bool        // the server asked to hang up
}

func dialLines(ctx context.Context, address string) (*lineConnection, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &lineConnection{connection: connection, lines: make(chan string, 2)} // an answer and a goodbye
	go func() {
		defer close(c.lines)
		scanner := bufio.NewScanner(connection)
		for scanner.Scan() {
			c.lines <- scanner.Text()
		}
		if c.reason = scanner.Err(); c.reason == nil {
			c.reason = io.EOF
		}
	}()
	return c, nil
}

// over says, between two exchanges, whether the server ended the connection or asked for its end.
func (c *lineConnection) over() bool {
	select {
	case _, open := <-c.lines: // between exchanges only a goodbye can come
		c.bye = c.bye || open
		return true
	default:
		return c.bye
	}
}

func (c *lineConnection) exchange(ctx context.Context, text string) (string, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.connection.SetWriteDeadline(deadline); err != nil {
			return "", err
		}
	}
	if _, err := io.WriteString(c.connection, text+"\n"); err != nil {
		return "", err
	}
	for {
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no answer: %w", ctx.Err())
		case line, open := <-c.lines:
			switch {
			case !open && errors.Is(c.reason, io.EOF):
				return "", errors.New("the connection was closed in the middle of an exchange")
			case !open:
				return "", fmt.Errorf("in the middle of an exchange: %w", c.reason)
			case line == goodbye:
				c.bye = true // the answer still comes
			default:
				return line, nil
			}
		}
	}
}

// close may be called once. It leaves nothing running: what the reader still has to say is dropped.
func (c *lineConnection) close() {
	_ = c.connection.Close()
	for range c.lines { // until the reader has ended
	}
}
