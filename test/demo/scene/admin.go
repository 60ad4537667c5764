package scene

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// adminPort is where Envoy's administration interface listens, on the pod's loopback only.
const adminPort = "15000"

// adminLimit is how long a look at a forwarded port may take.
const adminLimit = 30 * time.Second

// AdminCommand makes the interface of a workload's Envoy reachable from here.
func AdminCommand(namespace, workload string) Command {
	return In(namespace, "port-forward", workload, adminPort)
}

// Admin gets paths of the interface of a workload's Envoy, in the way of AdminCommand. The answers are in the order of
// the paths.
func (s Scene) Admin(ctx context.Context, namespace, workload string, paths ...string) ([][]byte, error) {
	return s.Forwarded(ctx, namespace, workload, adminPort, paths...)
}

// Forwarded gets paths of a port of a workload over HTTP, by kubectl port-forward.
func (s Scene) Forwarded(ctx context.Context, namespace, workload, port string, paths ...string) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, adminLimit)
	defer cancel()
	address, end, err := s.Forward(ctx, namespace, workload, port)
	if err != nil {
		return nil, err
	}
	defer end()
	var answers [][]byte
	for _, path := range paths {
		body, err := fetch(ctx, "http://"+address+path)
		if err != nil {
			return nil, err
		}
		answers = append(answers, body)
	}
	return answers, nil
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = &Mismatch{What: url, Expected: "200", Got: response.Status + " " + string(body)}
	}
	return body, err
}

// Certificate is what Envoy shows of the SVID that it uses.
type Certificate struct {
	ID      string    `json:"id"`
	From    time.Time `json:"from"`
	Expires time.Time `json:"expires"`
}

// ParseCertificate reads the answer of /certs: the first certificate chain with a URI.
func ParseCertificate(body []byte) (Certificate, error) {
	var answer struct {
		Certificates []struct {
			Chain []struct {
				Names []struct {
					URI string `json:"uri"`
				} `json:"subject_alt_names"`
				From    time.Time `json:"valid_from"`
				Expires time.Time `json:"expiration_time"`
			} `json:"cert_chain"`
		} `json:"certificates"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return Certificate{}, fmt.Errorf("decoding the answer of /certs: %w", err)
	}
	for _, c := range answer.Certificates {
		if len(c.Chain) > 0 && len(c.Chain[0].Names) > 0 {
			leaf := c.Chain[0]
			return Certificate{ID: leaf.Names[0].URI, From: leaf.From, Expires: leaf.Expires}, nil
		}
	}
	return Certificate{}, &Mismatch{What: "/certs", Expected: "a certificate chain with a URI", Got: string(body)}
}
