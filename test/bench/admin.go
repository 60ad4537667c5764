package main

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

	"github.com/spire-injector/spire-injector/templates/ir"
)

// forwarding is the line by which kubectl port-forward tells the port that it took.
var forwarding = regexp.MustCompile(`^Forwarding from (127\.0\.0\.1:\d+) ->`)

// admin asks the admin interface of a pod's Envoy, which listens on the pod's loopback only.
func (c *cluster) admin(ctx context.Context, namespace, pod, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := c.kubectl.Command(ctx, "--namespace", namespace, "port-forward", "--address", "127.0.0.1", "pod/"+pod, fmt.Sprintf(":%d", ir.AdminPort))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var problems strings.Builder
	cmd.Stderr = &problems
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // killed, which is an error of no interest
	}()
	first, err := bufio.NewReader(out).ReadString('\n')
	match := forwarding.FindStringSubmatch(first)
	if match == nil {
		cancel()
		_ = cmd.Wait()
		return nil, fmt.Errorf("kubectl port-forward to %s/%s: expected the port that it forwards, got %q (%w): %s", namespace, pod, first, err, problems.String())
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+match[1]+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the Envoy of %s/%s: %w", namespace, pod, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("asking the Envoy of %s/%s: %w", namespace, pod, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking the Envoy of %s/%s for %s: expected 200, got %s: %.200s", namespace, pod, path, response.Status, body)
	}
	return body, nil
}

// envoyTimes are when Envoy had read its bootstrap, and when the last of its secrets came. Envoy's configuration dump
// has both to the millisecond, where Kubernetes rounds to seconds.
type envoyTimes struct{ bootstrap, secrets time.Time }

func parseConfigDump(dump []byte) (envoyTimes, error) {
	var d struct {
		Configs []struct {
			Type    string    `json:"@type"`
			Updated time.Time `json:"last_updated"`
			Active  []struct {
				Updated time.Time `json:"last_updated"`
			} `json:"dynamic_active_secrets"`
		} `json:"configs"`
	}
	if err := json.Unmarshal(dump, &d); err != nil {
		return envoyTimes{}, fmt.Errorf("decoding Envoy's configuration dump: %w", err)
	}
	var t envoyTimes
	for _, c := range d.Configs {
		switch strings.TrimPrefix(c.Type, "type.googleapis.com/envoy.admin.v3.") {
		case "BootstrapConfigDump":
			t.bootstrap = c.Updated
		case "SecretsConfigDump":
			for _, s := range c.Active {
				if s.Updated.After(t.secrets) {
					t.secrets = s.Updated
				}
			}
		}
	}
	if t.bootstrap.IsZero() || t.secrets.IsZero() {
		return envoyTimes{}, fmt.Errorf("expected the times of the bootstrap and of the secrets in Envoy's configuration dump, got %v and %v", t.bootstrap, t.secrets)
	}
	return t, nil
}
