package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/install"
)

// countEntries asks the SPIRE server how many entries it has by a filter. The question is cheap for the server,
// whatever there is.
func (c *cluster) countEntries(ctx context.Context, filter []string) (int, error) {
	out, err := install.Server(ctx, c.kubectl, append([]string{"entry", "count", "-output", "json"}, filter...)...)
	if err != nil {
		return 0, err
	}
	var answer struct {
		Count int `json:"count"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return 0, fmt.Errorf("decoding what the SPIRE server counts, %.200s: %w", out, err)
	}
	return answer.Count, nil
}

// awaitEntries returns when the SPIRE server has so many entries by a filter. The longer it takes, the rarer are the
// looks, which cost processor time that is then missing: a time is at most a twentieth too long, and never less than
// one look.
func (c *cluster) awaitEntries(ctx context.Context, filter []string, want int, atMost time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, atMost, fmt.Errorf("not after %s", atMost))
	defer cancel()
	for start := time.Now(); ; {
		got, err := c.countEntries(ctx, filter)
		if err == nil && got >= want {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("there are %d", got)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for SPIRE to have %d entries: %w: %w", want, context.Cause(ctx), err)
		case <-time.After(nextLook(time.Since(start))):
		}
	}
}

// nextLook is the pause after a look.
func nextLook(waited time.Duration) time.Duration { return min(waited/20, 5*time.Second) }

// batch is how many entries one call of the command line makes or removes.
const batch = 500

// addForeign registers n entries that concern neither of the registrants: no agent is their parent.
func (c *cluster) addForeign(ctx context.Context, n int) (ids []string, err error) {
	type selector struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	}
	type entry struct {
		EntryID   string     `json:"entry_id"`
		ParentID  string     `json:"parent_id"`
		SPIFFEID  string     `json:"spiffe_id"`
		Selectors []selector `json:"selectors"`
	}
	var entries []entry
	for i := range n {
		path := fmt.Sprintf("bench/present/%d", i)
		entries = append(entries, entry{
			EntryID: strings.ReplaceAll(path, "/", "."), ParentID: "spiffe://" + trustDomain + "/bench/nowhere", SPIFFEID: "spiffe://" + trustDomain + "/" + path,
			Selectors: []selector{{"k8s", fmt.Sprintf("ns:bench-present-%d", i)}},
		})
	}
	for _, e := range entries {
		ids = append(ids, e.EntryID)
	}
	for part := range slices.Chunk(entries, batch) {
		input, err := json.Marshal(map[string][]entry{"entries": part})
		if err != nil {
			return ids, err
		}
		if _, err := c.kubectl.With(ctx, string(input), serverCommand("entry", "create", "-data", "-")...); err != nil {
			return ids, err
		}
	}
	return ids, nil
}

// serverCommand is kubectl's command line for one of the SPIRE server's that reads its standard input.
func serverCommand(args ...string) []string {
	command := append([]string{"--namespace", "spire", "exec", "--stdin", "spire-server-0", "--", "/opt/spire/bin/spire-server"}, args...)
	return append(command, "-socketPath", "/run/spire/private/api.sock")
}

// removeEntriesOf removes what was registered for the service accounts of a namespace, by whomever.
func (c *cluster) removeEntriesOf(ctx context.Context, namespace string) error {
	out, err := install.Server(ctx, c.kubectl, "entry", "show", "-output", "json")
	if err != nil {
		return err
	}
	ids, err := idsBelow([]byte(out), accountPath(namespace, ""))
	if err != nil {
		return err
	}
	return c.removeAll(ctx, ids)
}

// removeAll removes entries in batches.
func (c *cluster) removeAll(ctx context.Context, ids []string) error {
	var errs []error
	for part := range slices.Chunk(ids, batch) {
		errs = append(errs, c.removeEntries(ctx, part))
	}
	return errors.Join(errs...)
}

// idsBelow are the IDs of the entries whose identity's path has a prefix.
func idsBelow(shown []byte, prefix string) ([]string, error) {
	var list struct {
		Entries []struct {
			ID       string `json:"id"`
			SPIFFEID struct {
				Path string `json:"path"`
			} `json:"spiffe_id"`
		} `json:"entries"`
	}
	if err := json.Unmarshal(shown, &list); err != nil {
		return nil, fmt.Errorf("decoding the SPIRE server's entries: %w", err)
	}
	var ids []string
	for _, e := range list.Entries {
		if strings.HasPrefix(e.SPIFFEID.Path, prefix) {
			ids = append(ids, e.ID)
		}
	}
	return ids, nil
}
