package servingcert

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A replica's life is a list of what it sees, and at each moment it shows one of the leaves.
func TestCertificateIsShownWhenItIsTrusted(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	first, second := newCA(t, start.Add(24*time.Hour)), newCA(t, start.Add(24*time.Hour))
	type leaf struct{ certificate, key []byte }
	sign := func(c ca) (l leaf) { l.certificate, l.key = c.leaf(t); return }
	leaves := map[string]leaf{"1a": sign(first), "1b": sign(first), "2a": sign(second), "2b": sign(second)}
	both := slices.Concat(first.pem, second.pem)

	// Each step happens at a time after the start; then the leaf named by want is shown.
	type step struct {
		at    time.Duration
		offer string
		trust [][]byte // caBundle of each webhook
		want  string
	}
	tests := map[string][]step{
		"the first one at once, trusted or not": {
			{offer: "1a", want: "1a"},
		},
		"another one of a trusted CA after the pause": {
			{offer: "1a", trust: [][]byte{first.pem}, want: "1a"},
			{at: time.Hour, offer: "1b", want: "1a"},
			{at: time.Hour + TrustDelay - 1, want: "1a"},
			{at: time.Hour + TrustDelay, want: "1b"},
		},
		"a new CA: when all webhooks have had it for the pause": {
			{offer: "1a", trust: [][]byte{first.pem, first.pem}, want: "1a"},
			{at: time.Hour, offer: "2a", want: "1a"},
			{at: 2 * time.Hour, trust: [][]byte{both, first.pem}, want: "1a"},
			{at: 3 * time.Hour, trust: [][]byte{both, both}, want: "1a"},
			{at: 3*time.Hour + TrustDelay - 1, want: "1a"},
			{at: 3*time.Hour + TrustDelay, want: "2a"},
			{at: 4 * time.Hour, trust: [][]byte{second.pem, second.pem}, want: "2a"},
		},
		"trust that is taken back begins anew": {
			{offer: "1a", trust: [][]byte{first.pem}, want: "1a"},
			{at: time.Hour, offer: "2a", want: "1a"},
			{at: time.Hour, trust: [][]byte{both}, want: "1a"},
			{at: time.Hour + TrustDelay/2, trust: [][]byte{first.pem}, want: "1a"},
			{at: time.Hour + TrustDelay, trust: [][]byte{both}, want: "1a"},
			{at: time.Hour + 2*TrustDelay, want: "2a"},
		},
		"a CA in the place of the old one: at once": {
			{offer: "1a", trust: [][]byte{first.pem}, want: "1a"},
			{at: time.Hour, offer: "2a", want: "1a"},
			{at: time.Hour, trust: [][]byte{second.pem}, want: "2a"},
		},
		"the newest of two that wait": {
			{offer: "1a", trust: [][]byte{first.pem}, want: "1a"},
			{at: time.Hour, offer: "2a", want: "1a"},
			{at: time.Hour, offer: "2b", want: "1a"},
			{at: 2 * time.Hour, trust: [][]byte{both}, want: "1a"},
			{at: 2*time.Hour + TrustDelay, want: "2b"},
		},
		"none that was taken back": {
			{offer: "1a", trust: [][]byte{first.pem}, want: "1a"},
			{at: time.Hour, offer: "2a", want: "1a"},
			{at: time.Hour, offer: "1a", want: "1a"},
			{at: time.Hour, trust: [][]byte{both}, want: "1a"},
			{at: time.Hour + TrustDelay, want: "1a"},
		},
		"the same one again does not begin the pause anew": {
			{offer: "1a", trust: [][]byte{first.pem}, want: "1a"},
			{at: time.Hour, offer: "1b", want: "1a"},
			{at: time.Hour + TrustDelay - 1, offer: "1b", want: "1a"},
			{at: time.Hour + TrustDelay, want: "1b"},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var told int
			c := &Certificate{Host: host, OnPresent: func(*x509.Certificate) { told++ }}
			shown := map[string]bool{}
			for n, s := range steps {
				now := start.Add(s.at)
				if s.offer != "" {
					if err := c.Offer(leaves[s.offer].certificate, leaves[s.offer].key, now); err != nil {
						t.Fatal(err)
					}
				}
				if s.trust != nil {
					var registered []Registered
					for _, bundle := range s.trust {
						registered = append(registered, Registered{Webhook: "w", CABundle: bundle})
					}
					c.Trust(registered, now)
				}
				got, err := c.Present(now)
				if err != nil {
					t.Fatalf("step %d: %v", n, err)
				}
				shown[s.want] = true
				if want := parse(leaves[s.want].certificate)[0]; !got.Leaf.Equal(want) {
					t.Errorf("step %d: expected the leaf %s", n, s.want)
				}
			}
			if told != len(shown) {
				t.Errorf("expected %d certificates to be told of, got %d", len(shown), told)
			}
		})
	}
}

func TestTrustedSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	now := time.Now()
	own, other := newCA(t, now.Add(time.Hour)), newCA(t, now.Add(time.Hour))
	certificate, key := own.leaf(t)
	tests := map[string]struct {
		host       string
		registered []Registered
		want       string // part of the error, empty for none
	}{
		"verified by all":       {host, []Registered{{"a", own.pem}, {"b", slices.Concat(other.pem, own.pem)}}, ""},
		"no webhook":            {host, nil, "no webhook is registered"},
		"an empty bundle":       {host, []Registered{{"a", own.pem}, {"b", nil}}, "cannot call b yet: its caBundle is empty"},
		"another CA":            {host, []Registered{{"a", other.pem}}, "cannot call a yet: its caBundle does not verify"},
		"another host than its": {"elsewhere.svc", []Registered{{"a", own.pem}}, "elsewhere.svc"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &Certificate{Host: test.host}
			if err := c.Trusted(now); !errors.Is(err, ErrNone) {
				t.Errorf("without a certificate: expected %v, got %v", ErrNone, err)
			}
			if err := c.Offer(certificate, key, now); err != nil {
				t.Fatal(err)
			}
			c.Trust(test.registered, now)
			err := c.Trusted(now)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("expected %q, got %v", test.want, err)
			}
		})
	}
}

func TestHalfAPairLeavesTheOldOne(t *testing.T) {
	t.Parallel()
	now := time.Now()
	own := newCA(t, now.Add(time.Hour))
	certificate, key := own.leaf(t)
	other, _ := own.leaf(t)
	c := &Certificate{Host: host}
	if err := c.Offer(certificate, key, now); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, other} {
		if err := c.Offer(bad, key, now); err == nil {
			t.Errorf("expected an error for a pair that does not fit")
		}
	}
	if got, err := c.Present(now.Add(time.Minute)); err != nil || !got.Leaf.Equal(parse(certificate)[0]) {
		t.Errorf("expected the first certificate, got %v", err)
	}
}

func TestExtend(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a, b, expired := newCA(t, now.Add(time.Hour)).pem, newCA(t, now.Add(time.Hour)).pem, newCA(t, now.Add(-time.Hour)).pem
	bad := []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	tests := map[string]struct{ bundle, added, want []byte }{
		"an empty bundle":    {nil, a, a},
		"another CA":         {a, b, slices.Concat(a, b)},
		"one that is there":  {slices.Concat(a, b), a, slices.Concat(a, b)},
		"expired ones":       {slices.Concat(expired, a), slices.Concat(b, expired), slices.Concat(a, b)},
		"what is no CA":      {slices.Concat([]byte("text\n"), a, bad), b, slices.Concat(a, b)},
		"other forms of PEM": {bytes.ReplaceAll(a, []byte("\n"), []byte("\r\n")), a, a},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(string(test.want), string(extend(test.bundle, test.added, now))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
