package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// SVIDs of 30 s are renewed at half their life: four times a minute's time and more.
func TestRotationLosesNoRequest(t *testing.T) {
	t.Parallel()
	const rotations = 4
	ns := namespace(t)
	deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"))
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	serials := map[string]*seen{"api": {}, "valid": {}}
	for app, s := range serials {
		admin := forward(t, ns, "deployment/"+app)
		watching.Go(func() { s.follow(ctx, admin, "spiffe://example.org"+id(ns, app)) })
	}
	load(t, ns, "deployment/valid", "--duration", "90s", "--workers", "4", "--interval", "50ms").wantNoFailure(t)
	stop()
	watching.Wait()
	for app, s := range serials {
		t.Logf("the Envoy of %s had %d certificates", app, len(s.serials))
		if len(s.serials) < rotations+1 {
			t.Errorf("%s: expected at least %d rotations, saw the certificates %v (%v)", app, rotations, s.serials, s.err)
		}
	}
}

// seen collects the serial numbers of an Envoy's own certificates.
type seen struct {
	serials []string
	err     error // the last one
}

func (s *seen) follow(ctx context.Context, admin, spiffeID string) {
	for ctx.Err() == nil {
		serial, err := currentSerial(ctx, admin, spiffeID)
		switch {
		case err != nil:
			s.err = err
		case len(s.serials) == 0 || s.serials[len(s.serials)-1] != serial:
			s.serials = append(s.serials, serial)
		}
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
}

// currentSerial asks Envoy's admin interface for the certificate that it shows now.
func currentSerial(ctx context.Context, admin, spiffeID string) (string, error) {
	body, err := get(ctx, admin+"/certs")
	if err != nil {
		return "", err
	}
	var certs struct {
		Certificates []struct {
			CertChain []struct {
				SerialNumber    string `json:"serial_number"`
				SubjectAltNames []struct {
					URI string `json:"uri"`
				} `json:"subject_alt_names"`
			} `json:"cert_chain"`
		} `json:"certificates"`
	}
	if err := json.Unmarshal(body, &certs); err != nil {
		return "", err
	}
	for _, c := range certs.Certificates {
		for _, link := range c.CertChain {
			for _, name := range link.SubjectAltNames {
				if name.URI == spiffeID {
					return link.SerialNumber, nil
				}
			}
		}
	}
	return "", fmt.Errorf("no certificate of %s in %s", spiffeID, body)
}

func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, response.Status)
	}
	return body, err
}

// forward reaches the admin interface of a workload's Envoy as an operator does, and returns its URL.
func forward(t *testing.T, namespace, workload string) string {
	t.Helper()
	return "http://" + forwardTo(t, namespace, workload, 15000)
}

// forwardTo returns the address that leads to a workload's port.
func forwardTo(t *testing.T, namespace, workload string, port int) string {
	t.Helper()
	cmd := shared.k.Command(t.Context(), "--namespace", namespace, "port-forward", workload, fmt.Sprintf(":%d", port))
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Wait() }) // the test's context has ended it
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		t.Fatalf("kubectl port-forward printed nothing: %v", lines.Err())
	}
	// Forwarding from 127.0.0.1:40123 -> 15000
	_, address, _ := strings.Cut(lines.Text(), "Forwarding from ")
	address, _, _ = strings.Cut(address, " ")
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	return address
}
