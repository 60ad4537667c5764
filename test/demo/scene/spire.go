package scene

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// adminSocket is where the SPIRE server of a pod takes whoever asks for its administrator.
const adminSocket = "/run/spire/private/api.sock"

// ServerCommand runs the command line of the SPIRE server of a namespace.
func ServerCommand(namespace string, args ...string) Command {
	c := In(namespace, "exec", "spire-server-0", "-c", "spire-server", "--", "/opt/spire/bin/spire-server")
	c.Args = append(append(c.Args, args...), "-socketPath", adminSocket)
	return c
}

// Workload is a container with SPIRE's own client.
type Workload struct {
	Namespace, Deployment, Container string
}

// Command runs the client with the Workload API of the container.
func (w Workload) Command(args ...string) Command {
	c := In(w.Namespace, "exec", "deploy/"+w.Deployment, "-c", w.Container, "--", "/opt/spire/bin/spire-agent", "api")
	c.Args = append(append(c.Args, args...), "-socketPath", "/run/spire/sockets/agent.sock")
	return c
}

// svidLimit is how long an identity may take from SPIRE to a workload that is running.
const svidLimit = 30 * time.Second

// Token is a JWT-SVID that a workload fetched.
type Token struct {
	Ran   Ran    `json:"-"`
	ID    string `json:"spiffeID"`
	Value string `json:"-"`
	Key   string `json:"key"` // ID of the key that signed it
}

// FetchJWT fetches a JWT-SVID, as soon as the agent has the workload's identity.
func (s Scene) FetchJWT(ctx context.Context, w Workload, audience string) (Token, error) {
	var t Token
	c := w.Command("fetch", "jwt", "-audience", audience)
	found, err := Poll(ctx, svidLimit, func() (bool, error) {
		r, err := s.Try(ctx, c)
		t.Ran = r
		return err == nil && !r.Failed, err
	})
	if err == nil && !found {
		err = &Mismatch{What: c.String(), Expected: "a token", Got: t.Ran.Output()}
	}
	if err != nil {
		return t, err
	}
	if t.ID, t.Value, err = parseFetched(t.Ran.Stdout); err != nil {
		return t, err
	}
	t.Key, err = keyOf(t.Value)
	return t, err
}

// parseFetched reads what "fetch jwt" prints: "token(ID):", and on the next line the token.
func parseFetched(text string) (id, token string, err error) {
	lines := strings.Split(text, "\n")
	for i, line := range lines[:len(lines)-1] {
		if rest, ok := strings.CutPrefix(line, "token("); ok {
			return strings.TrimSuffix(rest, "):"), strings.TrimSpace(lines[i+1]), nil
		}
	}
	return "", "", &Mismatch{What: "fetch jwt", Expected: "token(ID): and a token", Got: text}
}

// Keys are those of a JWKS, as text that is equal for equal keys.
type Keys struct {
	X509 []string
	JWT  map[string]string // by ID
}

// IDs of the keys for JWTs.
func (k Keys) IDs() []string { return slices.Sorted(maps.Keys(k.JWT)) }

// BundleCommand shows the bundle of the SPIRE server of a namespace as a JWKS.
func BundleCommand(namespace string) Command {
	return ServerCommand(namespace, "bundle", "show", "-format", "spiffe")
}

// Keys of the bundle of the SPIRE server of a namespace.
func (s Scene) Keys(ctx context.Context, namespace string) (Keys, error) {
	r, err := s.Run(ctx, BundleCommand(namespace))
	if err != nil {
		return Keys{}, err
	}
	return ParseKeys([]byte(r.Stdout))
}

// ParseKeys reads a JWKS, of SPIFFE or without "use".
func ParseKeys(jwks []byte) (Keys, error) {
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		return Keys{}, fmt.Errorf("decoding a JWKS: %w", err)
	}
	keys := Keys{JWT: map[string]string{}}
	for _, key := range set.Keys {
		use, id := key["use"], fmt.Sprint(key["kid"])
		// What does not decide about a signature differs between who shows the key.
		delete(key, "use")
		delete(key, "alg")
		text, err := json.Marshal(key)
		if err != nil {
			return Keys{}, err
		}
		switch use {
		case "x509-svid":
			keys.X509 = append(keys.X509, string(text))
		case "jwt-svid", "sig", nil:
			keys.JWT[id] = string(text)
		}
	}
	slices.Sort(keys.X509)
	return keys, nil
}

// RotateJWTKey has the SPIRE server of a namespace sign JWTs with another key from then on, as it does by itself when
// the key gets old, and returns the commands and the key's ID.
func (s Scene) RotateJWTKey(ctx context.Context, namespace string) (ran []Ran, key string, err error) {
	prepared, err := s.Run(ctx, ServerCommand(namespace, "localauthority", "jwt", "prepare"))
	if err != nil {
		return nil, "", err
	}
	for line := range strings.Lines(prepared.Stdout) {
		if _, value, ok := strings.Cut(line, "Authority ID:"); ok {
			key = strings.TrimSpace(value)
		}
	}
	if key == "" {
		return nil, "", &Mismatch{What: prepared.Command.String(), Expected: "an Authority ID", Got: prepared.Output()}
	}
	activated, err := s.Run(ctx, ServerCommand(namespace, "localauthority", "jwt", "activate", "-authorityID", key))
	return []Ran{prepared, activated}, key, err
}

// keyOf is the ID of the key that signed a token.
func keyOf(token string) (string, error) {
	claims, err := tokenPart(token, 0)
	if err != nil {
		return "", err
	}
	id, ok := claims["kid"].(string)
	if !ok {
		return "", errors.New("expected a token whose header has kid")
	}
	return id, nil
}
