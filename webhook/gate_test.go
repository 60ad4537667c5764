package webhook

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// TestGateIsFull: more than there is memory for is told to try again, and what is answered leaves its place to the next.
func TestGateIsFull(t *testing.T) {
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	const alone = inFlightBytes * fairShare / (fairShare + 1) // what one address gets
	inside, end := make(chan struct{}, alone/leastRequest), make(chan struct{})
	server := httptest.NewServer(NewGate(metrics).Wrap(MutatePod, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		inside <- struct{}{}
		<-end
	})))
	defer server.Close()
	var wg sync.WaitGroup
	for range cap(inside) {
		wg.Go(func() {
			if response := post(t, server, strings.NewReader("{}")); response.StatusCode != http.StatusOK {
				t.Errorf("one of those for whom there is room got %d", response.StatusCode)
			}
		})
	}
	for range cap(inside) {
		<-inside
	}
	response := post(t, server, strings.NewReader("{}"))
	if response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") != "1" {
		t.Errorf("expected 429 and when to try again, got %d, %q", response.StatusCode, response.Header)
	}
	if n := testutil.ToFloat64(metrics.admissions.WithLabelValues(MutatePod, "other", "refused", "TooManyRequests")); n != 1 {
		t.Errorf("%v are counted", n)
	}
	close(end)
	wg.Wait()
	if response := post(t, server, strings.NewReader("{}")); response.StatusCode != http.StatusOK {
		t.Errorf("the one after them got %d", response.StatusCode)
	}
}

// fill takes all that an address gets.
func fill(g *Gate, from netip.Addr) (leave []func()) {
	for {
		one, room := g.enter(from, 1)
		if !room {
			return leave
		}
		leave = append(leave, one)
	}
}

// TestGateIsShared: addresses that take all they can, again and again, leave something to another one.
func TestGateIsShared(t *testing.T) {
	for _, hostile := range []int{1, 5} {
		g := NewGate(nil)
		taken := make([][]func(), hostile)
		for range 10 {
			for number := range taken {
				for _, leave := range taken[number] {
					leave()
				}
				taken[number] = fill(g, netip.AddrFrom4([4]byte{10, 0, 0, byte(number)}))
			}
		}
		for number := range taken {
			if len(taken[number]) == 0 {
				t.Errorf("of %d addresses one gets nothing", hostile)
			}
		}
		honest := fill(g, netip.AddrFrom4([4]byte{10, 0, 1, 0}))
		if len(honest) == 0 {
			t.Errorf("%d addresses left no room", hostile)
		}
		for _, leave := range slices.Concat(append(taken, honest)...) {
			leave()
		}
		if g.free != inFlightBytes || g.freeLarge != largeInFlight || len(g.held) != 0 {
			t.Errorf("when all have left, %d bytes are free, and %v held", g.free, g.held)
		}
	}
}

// deadlines remembers until when an answer may be written.
type deadlines struct {
	*httptest.ResponseRecorder
	write time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }

// TestAnswersAreTakenInTime: the time begins when there is an answer, and not before.
func TestAnswersAreTakenInTime(t *testing.T) {
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	NewGate(nil).Wrap(MutatePod, http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		if !w.write.IsZero() {
			t.Error("the time runs while the answer is made")
		}
		_, _ = io.WriteString(answer, "first")
		first := w.write
		_, _ = io.WriteString(answer, "second")
		if first.IsZero() || w.write != first {
			t.Errorf("the time ends at %v, and then at %v", first, w.write)
		}
	})).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("{}")))
}

// TestLargeRequests: they cannot take the place of all others, and none is read that is larger than any can be.
func TestLargeRequests(t *testing.T) {
	inside, end := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(NewGate(nil).Wrap(MutatePod, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if n > largeRequest && err == nil {
			inside <- struct{}{}
			<-end
		}
	})))
	defer server.Close()
	large := strings.Repeat("x", maxRequestBytes)
	var wg sync.WaitGroup
	wg.Go(func() {
		if response := post(t, server, strings.NewReader(large)); response.StatusCode != http.StatusOK {
			t.Errorf("the first large one got %d", response.StatusCode)
		}
	})
	<-inside
	for name, test := range map[string]struct {
		body io.Reader
		want int
	}{
		"another large one":   {strings.NewReader(large), http.StatusTooManyRequests},
		"one of unknown size": {io.MultiReader(strings.NewReader("{}")), http.StatusTooManyRequests},
		"a small one":         {strings.NewReader("{}"), http.StatusOK},
		"too large a one":     {strings.NewReader(large + "x"), http.StatusRequestEntityTooLarge},
	} {
		if response := post(t, server, test.body); response.StatusCode != test.want {
			t.Errorf("%s: expected %d, got %d", name, test.want, response.StatusCode)
		}
	}
	close(end)
	wg.Wait()
}

func post(t *testing.T, server *httptest.Server, body io.Reader) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	return response
}

// TestClientTriesAgain: the library by which the API server calls webhooks tries again by itself when it is told to.
func TestClientTriesAgain(t *testing.T) {
	var calls atomic.Int32
	gate := NewGate(nil)
	all := fill(gate, netip.MustParseAddr("127.0.0.1"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 2 {
			for _, leave := range all {
				leave()
			}
		}
		gate.Wrap(MutatePod, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
		})).ServeHTTP(w, r)
	}))
	defer server.Close()
	client, err := rest.UnversionedRESTClientFor(&rest.Config{
		Host:          server.URL,
		ContentConfig: rest.ContentConfig{NegotiatedSerializer: scheme.Codecs.WithoutConversion()},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Post().Body([]byte(`{"kind": "Pod"}`)).Do(t.Context()).Raw()
	if err != nil || string(got) != `{"kind": "Pod"}` || calls.Load() != 2 {
		t.Errorf("after %d calls: %s, %v", calls.Load(), got, err)
	}
}
