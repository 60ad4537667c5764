package files

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/command"
)

//go:embed testdata/nginx.conf
var nginxConf string

var nginx = app{
	process: "nginx",
	prepare: func(_ context.Context, c podConfig) error {
		var text bytes.Buffer
		values := map[string]any{"Data": c.below("data"), "Files": c.below("volume"), "Serves": c.Serves, "Calls": c.Calls}
		if err := template.Must(template.New("nginx.conf").Parse(nginxConf)).Execute(&text, values); err != nil {
			return err
		}
		return os.WriteFile(c.below("nginx.conf"), text.Bytes(), 0o644)
	},
	args: func(c podConfig) []string {
		return []string{"-p", c.below("data"), "-e", "stderr", "-c", c.below("nginx.conf")}
	},
}

// nginx serves, and calls, by certificates that are renewed. Its callers verify it and it verifies them, and the same
// between it and whom it calls. No request is lost: neither one with a handshake of its own, nor one of a connection
// that is used again, nor one that takes as long as all renewals.
func TestNginxThroughRotations(t *testing.T) {
	t.Parallel()
	program, err := parts.EnsureNginx(t.Context(), userCache(t), os.Stderr)
	must(t, err)
	pod := newPod(t, "nginx", program.Tree, program.Program)
	server := startSPIRE(t, pod.Dir)
	traffic := startRotations(t, "server", "client")
	peer := startPeer(t, serverConfig(t, server, "peer.example.org"), traffic.answer)
	pod.Serves, pod.Calls = freePort(t), peer
	pod.start(t)

	client := func(config *tls.Config, staying bool) *http.Client {
		transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: !staying}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport, Timeout: 10 * time.Second}
	}
	ask := func(client *http.Client, path string) (status int, text string, err error) {
		response, err := client.Get(fmt.Sprintf("https://127.0.0.1:%d%s", pod.Serves, path))
		if err != nil {
			return 0, "", err
		}
		defer response.Body.Close()
		traffic.saw("server", response.TLS.PeerCertificates[0])
		body, err := io.ReadAll(response.Body)
		return response.StatusCode, string(body), err
	}
	config := clientConfig(t, server)
	once := func(client *http.Client) func() error {
		return func() error {
			status, text, err := ask(client, "/")
			if want := peerID.String(); err == nil && (status != http.StatusOK || text != want) {
				err = fmt.Errorf("got %d %q, want the caller's ID %s", status, text, want)
			}
			return err
		}
	}
	apart, staying := client(config, false), client(config, true)
	eventually(t, "nginx answers", once(apart))

	traffic.begin = time.Now()
	traffic.constantly("request with a handshake", once(apart))
	traffic.constantly("request without", func() error {
		time.Sleep(20 * time.Millisecond)
		return once(staying)()
	})
	traffic.clients.Go(func() {
		endless := client(config, false)
		endless.Timeout = 3 * time.Minute
		if _, text, err := ask(endless, "/endless"); err != nil {
			t.Errorf("the request that takes all the time: %v", err)
		} else if err := wholeCount(text); err != nil {
			t.Errorf("the request that takes all the time: %v", err)
		}
	})
	traffic.wait()

	foreign := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(foreign.Close)
	foreignPort := foreign.URL[strings.LastIndexByte(foreign.URL, ':')+1:]
	nameless := strconv.Itoa(int(startPeer(t, serverConfig(t, server), traffic.answer)))
	for _, test := range []struct {
		what, path string
		own        []tls.Certificate
		status     int
	}{
		{"a caller without a certificate", "/", nil, http.StatusBadRequest},
		{"a caller of another authority", "/", foreign.TLS.Certificates, http.StatusBadRequest},
		{"whom nginx may call", "/port/" + strconv.Itoa(int(peer)), config.Certificates, http.StatusOK},
		{"a server of another authority", "/port/" + foreignPort, config.Certificates, http.StatusBadGateway},
		{"a server without the name that nginx expects", "/port/" + nameless, config.Certificates, http.StatusBadGateway},
	} {
		other := config.Clone()
		other.Certificates = test.own
		if status, _, err := ask(client(other, false), test.path); err != nil || status != test.status {
			t.Errorf("%s: got %d, %v, want %d", test.what, status, err, test.status)
		}
	}
}

// startPeer starts whom the app calls, and returns its port.
func startPeer(t *testing.T, config *tls.Config, answer http.HandlerFunc) uint16 {
	t.Helper()
	port := freePort(t)
	listener, err := tls.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port), config)
	must(t, err)
	said := &command.Output{}
	server := &http.Server{Handler: answer, ErrorLog: log.New(said, "", log.LstdFlags)}
	go server.Serve(listener)
	t.Cleanup(func() {
		server.Close()
		if t.Failed() {
			t.Logf("whom the app calls:\n%s", said)
		}
	})
	return port
}

// answer says whose certificate a proxy has handed on, or counts to the end.
func (r *rotations) answer(w http.ResponseWriter, request *http.Request) {
	r.saw("client", request.TLS.PeerCertificates[0])
	if request.URL.Path == "/endless" {
		w.Header().Set("X-Accel-Buffering", "no") // by nginx
		for n := 0; !r.ended(); n++ {
			fmt.Fprintln(w, n)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
		}
		fmt.Fprintln(w, "end")
		return
	}
	id, err := idInHeader(request.Header.Get("Client-Certificate"))
	if err != nil {
		id = err.Error()
	}
	fmt.Fprint(w, id) // with status 200: nginx alone refuses
}

// idInHeader is that of a certificate in PEM, which a proxy has escaped.
func idInHeader(text string) (string, error) {
	text, err := url.PathUnescape(text)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return "", fmt.Errorf("expected a certificate in PEM, got %q", text)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", err
	}
	id, err := x509svid.IDFromCert(certificate)
	return id.String(), err
}

// wholeCount says what a text lacks of 0, 1, …, end.
func wholeCount(text string) error {
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 0; lines.Scan(); n++ {
		switch lines.Text() {
		case strconv.Itoa(n):
		case "end":
			return nil
		default:
			return fmt.Errorf("expected %d or end, got %q", n, lines.Text())
		}
	}
	return errors.New("it broke off before its end")
}
