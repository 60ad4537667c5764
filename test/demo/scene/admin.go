package scene

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// adminPort is where Envoy's administration interface listens, on the pod's loopback only.
const adminPort = "15000"

// AdminCommand makes the interface reachable from here.
func AdminCommand() Command { return inDemo("port-forward", "deploy/"+API, adminPort) }

// Certificate is what Envoy shows of the SVID that it uses.
type Certificate struct {
	ID      string    `json:"id"`
	From    time.Time `json:"from"`
	Expires time.Time `json:"expires"`
}

// Certificate asks the API's Envoy for its SVID.
func (s Scene) Certificate(ctx context.Context) (Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c := AdminCommand()
	c.Args[len(c.Args)-1] = ":" + adminPort // any free port of ours
	forward := s.k.Command(ctx, c.Args...)
	stdout, err := forward.StdoutPipe()
	if err == nil {
		err = forward.Start()
	}
	if err != nil {
		return Certificate{}, fmt.Errorf("%s: %w", c, err)
	}
	defer func() {
		cancel()
		_ = forward.Wait() // killed by us
	}()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	address := forwarded.FindString(line)
	if address == "" {
		return Certificate{}, &Mismatch{What: c.String(), Expected: "the address that it listens on", Got: strings.TrimSpace(fmt.Sprint(line, " ", err))}
	}
	body, err := fetch(ctx, "http://"+address+"/certs")
	if err != nil {
		return Certificate{}, err
	}
	certificate, err := parseCertificate(body)
	if err != nil {
		return certificate, err
	}
	if life := certificate.Expires.Sub(certificate.From); certificate.ID != ID(API) || life > time.Minute {
		return certificate, &Mismatch{
			What: "the SVID of the API's Envoy", Expected: ID(API) + " with a life of about 30 s",
			Got: fmt.Sprintf("%s with %s", certificate.ID, life), Look: AdminCommand().String(),
		}
	}
	return certificate, nil
}

var forwarded = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)

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

// parseCertificate reads the answer of /certs: the first certificate chain with a URI.
func parseCertificate(body []byte) (Certificate, error) {
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
