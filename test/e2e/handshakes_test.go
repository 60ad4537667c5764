package e2e

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// handshakes calls each replica of an injector some times a second as an API server does that has just started: with the
// caBundle of this moment, on a new connection. The real one keeps connections, and would meet a new certificate
// seldom.
type handshakes struct {
	client   kubernetes.Interface
	injector string // its namespace, and the name of its webhook configuration
	secret   string // of the serving certificate
	host     string
	replicas map[string]*replicaSeen // by pod
	stop     func()
}

// replicaSeen is what one replica showed.
type replicaSeen struct {
	mu       sync.Mutex
	leaf     [sha256.Size]byte
	count    int
	failures int
	first    error
}

func watchHandshakes(t *testing.T, injector, secret string) *handshakes {
	t.Helper()
	h := &handshakes{
		client: clientset(t), injector: injector, secret: secret,
		host: "spire-injector." + injector + ".svc", replicas: map[string]*replicaSeen{},
	}
	pods, err := h.client.CoreV1().Pods(injector).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	replicas := slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool { return pod.DeletionTimestamp != nil })
	if len(replicas) != 2 {
		t.Fatalf("expected two replicas, got %d", len(replicas))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	h.stop = func() { cancel(); callers.Wait() }
	t.Cleanup(h.stop)
	for _, pod := range replicas {
		seen := &replicaSeen{}
		h.replicas[pod.Name] = seen
		address := forwardTo(t, injector, "pod/"+pod.Name, 9443)
		callers.Go(func() {
			for ctx.Err() == nil {
				if leaf, err := h.call(ctx, address); ctx.Err() == nil {
					seen.add(leaf, err)
				}
				pause(ctx, 100*time.Millisecond)
			}
		})
	}
	return h
}

func (s *replicaSeen) add(leaf [sha256.Size]byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	if err == nil {
		s.leaf = leaf
		return
	}
	s.failures++
	if s.first == nil {
		s.first = fmt.Errorf("%s: %w", time.Now().Format(time.TimeOnly), err)
	}
}

// call returns the hash of the certificate that was verified.
func (h *handshakes) call(ctx context.Context, address string) (leaf [sha256.Size]byte, err error) {
	bundles, err := h.bundles(ctx)
	if err != nil {
		return leaf, err
	}
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: 10 * time.Second},
		Config:    &tls.Config{InsecureSkipVerify: true, ServerName: h.host, MinVersion: tls.VersionTLS13}, // it is verified below
	}
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return leaf, err
	}
	defer connection.Close()
	shown := connection.(*tls.Conn).ConnectionState().PeerCertificates[0]
	for webhook, bundle := range bundles {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(bundle)
		if _, err := shown.Verify(x509.VerifyOptions{Roots: roots, DNSName: h.host}); err != nil {
			return leaf, fmt.Errorf("as it is registered for %s: %w", webhook, err)
		}
	}
	return sha256.Sum256(shown.Raw), nil
}

// bundles are the caBundles of the injector's webhooks, by name.
func (h *handshakes) bundles(ctx context.Context) (map[string][]byte, error) {
	mutating, err := h.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, h.injector, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	validating, err := h.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, h.injector, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, w := range mutating.Webhooks {
		out[w.Name] = w.ClientConfig.CABundle
	}
	for _, w := range validating.Webhooks {
		out[w.Name] = w.ClientConfig.CABundle
	}
	return out, nil
}

// authorities counts the CAs in each webhook's caBundle, and returns the lowest number.
func (h *handshakes) authorities(t *testing.T) int {
	t.Helper()
	bundles, err := h.bundles(t.Context())
	must(t, err)
	lowest := math.MaxInt
	for _, bundle := range bundles {
		count := 0
		for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
			count++
		}
		lowest = min(lowest, count)
	}
	return lowest
}

// shown is the certificate that all replicas show, as the Secret has it.
func (h *handshakes) shown(t *testing.T) [sha256.Size]byte {
	t.Helper()
	return h.await(t, func([sha256.Size]byte) bool { return true })
}

// shownByAll is the certificate that each replica shows, by pod.
func (h *handshakes) shownByAll(t *testing.T) map[string][sha256.Size]byte {
	t.Helper()
	out := map[string][sha256.Size]byte{}
	eventually(t, "a certificate of each replica", func() error {
		for pod, seen := range h.replicas {
			seen.mu.Lock()
			out[pod] = seen.leaf
			seen.mu.Unlock()
			if out[pod] == ([sha256.Size]byte{}) {
				return fmt.Errorf("replica %s has shown none", pod)
			}
		}
		return nil
	})
	return out
}

// awaitNew waits until all replicas show another certificate than before.
func (h *handshakes) awaitNew(t *testing.T, before [sha256.Size]byte) {
	t.Helper()
	start := time.Now()
	h.await(t, func(now [sha256.Size]byte) bool { return now != before })
	t.Logf("all replicas show it after %.1f s", time.Since(start).Seconds())
}

// await waits until all replicas show the Secret's certificate and it is the one asked for.
func (h *handshakes) await(t *testing.T, is func([sha256.Size]byte) bool) [sha256.Size]byte {
	t.Helper()
	var held [sha256.Size]byte
	eventually(t, "the Secret's certificate", func() error {
		secret, err := h.client.CoreV1().Secrets(h.injector).Get(t.Context(), h.secret, metav1.GetOptions{})
		if err != nil {
			return err
		}
		block, _ := pem.Decode(secret.Data[corev1.TLSCertKey])
		if block == nil {
			return fmt.Errorf("secret %s has no %s", h.secret, corev1.TLSCertKey)
		}
		if held = sha256.Sum256(block.Bytes); !is(held) {
			return fmt.Errorf("secret %s has the old one", h.secret)
		}
		for pod, seen := range h.replicas {
			seen.mu.Lock()
			leaf := seen.leaf
			seen.mu.Unlock()
			if leaf != held {
				return fmt.Errorf("replica %s shows another than the Secret has", pod)
			}
		}
		return nil
	})
	return held
}

// fewest handshakes that say anything: some for each rotation, on a busy machine too.
const fewest = 20

// wantNoFailure ends the calls.
func (h *handshakes) wantNoFailure(t *testing.T) {
	t.Helper()
	h.stop()
	for pod, seen := range h.replicas {
		t.Logf("%s: %d handshakes, %d failed", pod, seen.count, seen.failures)
		if seen.failures > 0 || seen.count < fewest {
			t.Errorf("%s: expected %d handshakes or more and no failure, the first was %v", pod, fewest, seen.first)
		}
	}
}
