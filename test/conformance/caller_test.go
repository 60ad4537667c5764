package conformance

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// showing is a caller's TLS with this certificate, which it shows whomever the server asks for. Whom it calls is not
// its concern here, so it checks nothing.
func showing(certificate tls.Certificate) *tls.Config {
	return &tls.Config{
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil },
		InsecureSkipVerify:   true,
	}
}

// call makes one request on a new connection. The state is that of the connection after the answer, when everything has
// come that belongs to the handshake.
func call(port uint16, config *tls.Config, headers ...string) (seen, tls.ConnectionState, error) {
	connection, err := dial(port, config)
	if err != nil {
		return seen{}, tls.ConnectionState{}, err
	}
	defer connection.Close()
	lines := append([]string{"GET / HTTP/1.1", "Host: app.test"}, headers...)
	if _, err := io.WriteString(connection, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		return seen{}, tls.ConnectionState{}, err
	}
	status, out, err := readAnswer(bufio.NewReader(connection))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("got status %d", status)
	}
	return out, connection.ConnectionState(), err
}

// serves ends the test unless the caller gets the app's answer.
func serves(t *testing.T, port uint16, config *tls.Config, headers ...string) (seen, tls.ConnectionState) {
	t.Helper()
	got, state, err := call(port, config, headers...)
	if err != nil {
		t.Fatalf("expected to be served, got: %v", err)
	}
	return got, state
}

// refuses fails the test unless the caller is refused in the handshake with this alert, and the log gives a reason for
// it that matches.
func (x *proxy) refuses(t *testing.T, port uint16, config *tls.Config, alert, reason string) {
	t.Helper()
	x.logsRefusal(t, refused(t, port, config, alert), reason)
}

// refused is the first half of refuses. It returns which connection that was, in the fields of the log.
func refused(t *testing.T, port uint16, config *tls.Config, alert string) map[string]string {
	t.Helper()
	connection, err := dial(port, config)
	var inHandshake *handshakeError
	switch {
	case errors.As(err, &inHandshake):
	case err != nil:
		t.Fatal(err)
	default:
		// For a TLS 1.3 client the handshake is over before the server has looked at its certificate. The client waits for
		// the verdict, and sends nothing, because the answer to that could overtake it.
		defer connection.Close()
		inHandshake = &handshakeError{self: connection.LocalAddr().String()}
		if _, inHandshake.err = connection.Read(make([]byte, 1)); errors.Is(inHandshake.err, os.ErrDeadlineExceeded) {
			inHandshake.err = errors.New("nothing: the connection stays open")
		}
	}
	if want := "remote error: tls: " + alert; inHandshake.err == nil || !strings.Contains(inHandshake.err.Error(), want) {
		t.Errorf("expected %q, got: %v", want, inHandshake.err)
	}
	return connectionOf(inHandshake.self, port)
}

// connectionOf are the fields of the log that tell a connection from all others.
func connectionOf(caller string, port uint16) map[string]string {
	return map[string]string{"remote": caller, "listener": fmt.Sprintf("inbound_%d", port)}
}

// logsRefusal is the second half of refuses. The log is written every 200 ms, so who has several callers asks first and
// looks then.
func (x *proxy) logsRefusal(t *testing.T, connection map[string]string, reason string) {
	t.Helper()
	because := regexp.MustCompile(reason)
	eventually(t, "the log of a refusal because of "+reason, func() error {
		// An earlier connection may have come from the same port.
		all := x.events(connection)
		if !slices.ContainsFunc(all, func(event map[string]any) bool {
			return event["event"] == "handshake_refused" && because.MatchString(fmt.Sprint(event["reason"]))
		}) {
			return fmt.Errorf("of %v there are %v", connection, all)
		}
		return nil
	})
}

// handshakeError is a failed handshake, and the caller's address.
type handshakeError struct {
	self string
	err  error
}

func (e *handshakeError) Error() string { return e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// dial connects and ends the client's part of the handshake. Everything on the connection has 5 s.
func dial(port uint16, config *tls.Config) (*tls.Conn, error) {
	plain, err := net.Dial("tcp", local(port))
	if err != nil {
		return nil, err
	}
	if err := plain.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	connection := tls.Client(plain, config)
	if err := connection.Handshake(); err != nil {
		plain.Close()
		return nil, &handshakeError{plain.LocalAddr().String(), err}
	}
	return connection, nil
}

// readAnswer returns the status, and what the app saw if the answer is the app's.
func readAnswer(from *bufio.Reader) (int, seen, error) {
	response, err := http.ReadResponse(from, nil)
	if err != nil {
		return 0, seen{}, err
	}
	return answerOf(response)
}

func answerOf(response *http.Response) (int, seen, error) {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, seen{}, err
	}
	var out seen
	if response.Header.Get("Content-Type") == "application/json" {
		err = json.Unmarshal(body, &out)
	}
	return response.StatusCode, out, err
}

// isReset says whether the other side has ended the connection with data of ours unread.
func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

// keepAlive reads answers from a connection that goes on.
type keepAlive struct{ from *bufio.Reader }

// answer reads one, and says whether it is the last.
func (k keepAlive) answer() (last bool, err error) {
	response, err := http.ReadResponse(k.from, nil)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return false, errors.New(response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return response.Close, err
}
