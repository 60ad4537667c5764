package pathtricks

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Serve answers each request over HTTP/1.1 with its target, byte by byte as it came, whatever it is. It takes requests
// without a body.
func Serve(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go serve(connection)
	}
}

func serve(connection net.Conn) {
	defer func() { _ = connection.Close() }()
	from := bufio.NewReader(connection)
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return
		}
		_, target, _ := strings.Cut(line, " ")
		target = target[:max(strings.LastIndexByte(target, ' '), 0)]
		for header := ""; header != "\r\n"; {
			if header, err = from.ReadString('\n'); err != nil {
				return
			}
		}
		if _, err := fmt.Fprintf(connection, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(target), target); err != nil {
			return
		}
	}
}

// Caller makes requests over HTTP/1.1, one after the other, on one connection while that lasts.
type Caller struct {
	Dial func() (net.Conn, error)

	connection net.Conn
	from       *bufio.Reader
}

// Ask sends a request line as it is, with a header Host and more lines. It returns the status and the body, which is the
// target that the app saw if [Serve] answered.
func (c *Caller) Ask(method, target string, headers ...string) (status int, body string, err error) {
	if c.connection == nil {
		if c.connection, err = c.Dial(); err != nil {
			return 0, "", err
		}
		c.from = bufio.NewReader(c.connection)
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if err := c.connection.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, "", err
	}
	lines := append([]string{method + " " + target + " HTTP/1.1", "Host: app.test"}, headers...)
	if _, err := io.WriteString(c.connection, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		return 0, "", err
	}
	response, err := http.ReadResponse(c.from, nil)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if response.Close || response.StatusCode == http.StatusSwitchingProtocols {
		c.Close()
	}
	return response.StatusCode, string(text), err
}

// Close ends the connection. The next request makes a new one.
func (c *Caller) Close() {
	if c.connection != nil {
		_ = c.connection.Close()
		c.connection = nil
	}
}

// Try asks for targets, all by GET. It returns how many answers had which status, and what [Judge] finds wrong. An error
// is of a target without an answer.
func (c *Caller) Try(targets []string, prefix string) (answers map[int]int, wrong []string, err error) {
	answers = map[int]int{}
	for _, target := range targets {
		status, seen, err := c.Ask(http.MethodGet, target)
		if err != nil {
			return answers, wrong, fmt.Errorf("%q: %w", target, err)
		}
		answers[status]++
		if fault := Judge(target, status, seen, prefix); fault != "" {
			wrong = append(wrong, fault)
		}
	}
	return answers, wrong, nil
}

// Judge says what is wrong with an answer to a request of a caller that may ask for what is below prefix alone: that a
// server serves something else for the target that the app saw. It is empty if nothing is.
func Judge(asked string, status int, seen, prefix string) string {
	switch status {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusForbidden:
		return ""
	default:
		return fmt.Sprintf("%q is answered with %d", asked, status)
	}
	path, _, _ := strings.Cut(seen, "?")
	path, _, _ = strings.Cut(path, "#")
	for _, server := range Servers() {
		if got, beyond := server.Reaches(path, prefix); beyond {
			return fmt.Sprintf("%q reaches the app as %q, and a server that %s serves %q", asked, seen, server.Name, got)
		}
	}
	return ""
}
