package entries

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	sources "k8s.io/client-go/tools/cache/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/registrar/spireapi/spiretest"
)

// source is what the API server has of one kind; a list and a watch of it are those of a real informer.
type source struct {
	*sources.FakeControllerSource
	slow *atomic.Int64 // how long a list takes
}

// List implements the informer's lister.
func (s source) List(options metav1.ListOptions) (runtime.Object, error) {
	time.Sleep(time.Duration(s.slow.Load()))
	return s.FakeControllerSource.List(options)
}

// IsWatchListSemanticsUnSupported says that a list comes before the watch.
func (source) IsWatchListSemanticsUnSupported() bool { return true }

// cluster is a controller at work between the objects of an API server and a stand-in of SPIRE, in a bubble of time of
// its own.
type cluster struct {
	*Controller
	t        *testing.T
	server   *spiretest.Server
	sources  map[reflect.Type]source
	registry *prometheus.Registry

	mu        sync.Mutex
	events    []string
	log       []string
	evaluated []string // the objects whose needs were asked for
	prefix    string   // of the identities, by the rules in force
}

const (
	// soon is longer than changes are collected.
	soon     = 100 * time.Millisecond
	grace    = 5 * time.Minute
	interval = time.Hour
)

// configuration is the MutatingWebhookConfiguration. Its label says the only team whose namespaces are served; empty:
// all are.
func configuration(team string, generation int64) *admissionregistrationv1.MutatingWebhookConfiguration {
	return &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "spire-injector", Generation: generation, Labels: map[string]string{"team": team}},
	}
}

func namespace(name string, labels ...string) *corev1.Namespace {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	for _, l := range labels {
		key, value, _ := strings.Cut(l, "=")
		ns.Labels[key] = value
	}
	return ns
}

// pod asks for an identity by its annotation.
func pod(namespace, name, id string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace:   namespace,
		Name:        name,
		Annotations: map[string]string{"id": id},
		Labels:      map[string]string{registrar.IdentityLabel: "x"},
	}}
}

// bound is a pod on a node.
func bound(p *corev1.Pod, node string) *corev1.Pod {
	p.Spec.NodeName = node
	return p
}

func node(name, uid string) *metav1.PartialObjectMetadata {
	n := nodeMetadata()
	n.Name, n.UID = name, types.UID(uid)
	return n
}

// inCluster runs a test of a controller that has not begun, of a cluster with these objects.
func inCluster(t *testing.T, objects []client.Object, test func(*testing.T, *cluster)) {
	t.Helper()
	inClusterWith(t, func(*Config) {}, objects, test)
}

func inClusterWith(t *testing.T, change func(*Config), objects []client.Object, test func(*testing.T, *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, server: spiretest.NewServer(exampleOrg), sources: map[reflect.Type]source{}, registry: prometheus.NewRegistry()}
		for _, o := range objects {
			c.source(o).Add(o)
		}
		connect, _ := c.server.ServePipe(t)
		spire, err := spireapi.Dial(spireapi.Config{ServerAddress: "unix:///in/memory", TrustDomain: exampleOrg, Connect: connect})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = spire.Close() })
		demo, err := registrar.NewCluster("demo-cluster", exampleOrg)
		if err != nil {
			t.Fatal(err)
		}
		cached := c.cache()
		config := Config{
			Cluster:  demo,
			Prewarm:  true,
			SPIRE:    spire,
			Rules:    c.rules(cached),
			Cache:    cached,
			Grace:    grace,
			Interval: interval,
			Metrics:  c.registry,
			Logger:   funcr.New(func(_, line string) { c.note(&c.log, line) }, funcr.Options{}),
			Event: func(about runtime.Object, eventType string, why reason.Reason, note string) {
				o, ok := about.(client.Object)
				if !ok {
					t.Errorf("an event about %T", about)
					return
				}
				c.note(&c.events, fmt.Sprintf("%s %s/%s %s %s: %s",
					reflect.TypeOf(o).Elem().Name(), o.GetNamespace(), o.GetName(), eventType, why, note))
			},
		}
		change(&config)
		c.Controller = New(config)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cached.Start(t.Context())
		}()
		t.Cleanup(func() {
			<-ended // before its watches end, which would be errors
			for _, s := range c.sources {
				s.Broadcaster.Shutdown()
			}
		})
		test(t, c)
	})
}

func (c *cluster) note(in *[]string, line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*in = append(*in, line)
}

// taken returns what was noted since it was last taken.
func (c *cluster) taken(from *[]string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := *from
	*from = nil
	return lines
}

func (c *cluster) source(of runtime.Object) source {
	c.mu.Lock()
	defer c.mu.Unlock()
	kind := reflect.TypeOf(of)
	if _, there := c.sources[kind]; !there {
		c.sources[kind] = source{sources.NewFakeControllerSource(), &atomic.Int64{}}
	}
	return c.sources[kind]
}

// cache is the manager's, whose informers list and watch the sources.
func (c *cluster) cache() cache.Cache {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		c.t.Fatal(err)
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	for kind := range scheme.AllKnownTypes() {
		mapper.Add(kind, meta.RESTScopeNamespace)
	}
	cached, err := cache.New(&rest.Config{}, cache.Options{
		HTTPClient: http.DefaultClient,
		Scheme:     scheme,
		Mapper:     mapper,
		NewInformer: func(_ toolscache.ListerWatcher, of runtime.Object, resync time.Duration, by toolscache.Indexers) toolscache.SharedIndexInformer {
			return toolscache.NewSharedIndexInformer(c.source(of), of, resync, by)
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return cached
}

// rules give a pod, or a template, the identity that its annotation says.
func (c *cluster) rules(cached client.Reader) Rules {
	needs := func(ns *corev1.Namespace, p *corev1.Pod) registrar.Needs {
		c.note(&c.evaluated, ns.Name+"/"+p.Name)
		id := p.Annotations["id"]
		if id == "" {
			return registrar.Needs{}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		w := registrar.Workload{
			ID:             spiffeid.RequireFromPath(exampleOrg, c.prefix+id),
			Namespace:      ns.Name,
			ServiceAccount: "default",
		}
		return registrar.Needs{
			Workloads: []registrar.Workload{w}, Identity: registrar.IdentityHash(w.ID), Node: p.Spec.NodeName,
		}
	}
	return Rules{
		NeedsOfPod:      needs,
		NeedsOfTemplate: needs,
		Served: func(ctx context.Context) (func(map[string]string) bool, error) {
			var in admissionregistrationv1.MutatingWebhookConfiguration
			if err := cached.Get(ctx, client.ObjectKey{Name: "spire-injector"}, &in); err != nil {
				return nil, errors.New("no webhook configuration")
			}
			team := in.Labels["team"]
			return func(labels map[string]string) bool { return team == "" || labels["team"] == team }, nil
		},
	}
}

// start runs both parts, as the leading replica does.
func (c *cluster) start() {
	for _, part := range []interface{ Start(context.Context) error }{c.Watching(), c.Reconciling()} {
		go func() {
			if err := part.Start(c.t.Context()); err != nil {
				c.t.Error(err)
			}
		}()
	}
	after(2 * time.Second) // informers look whether they have synced every few hundred milliseconds
}

// after lets time pass, and everything happen that does by then.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// wantIDs fails the test unless SPIRE holds entries of just these paths.
func (c *cluster) wantIDs(when string, want ...string) {
	c.t.Helper()
	var got []string
	for _, e := range c.server.Entries() {
		got = append(got, e.GetSpiffeId().GetPath())
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		c.t.Errorf("%s: entries of %v, want of %v", when, got, want)
	}
}

// wantEvaluated fails the test unless just these objects were evaluated since the last time.
func (c *cluster) wantEvaluated(when string, want ...string) {
	c.t.Helper()
	got := c.taken(&c.evaluated)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		c.t.Errorf("%s: evaluated %v, want %v", when, got, want)
	}
}

func (c *cluster) wantEvents(when string, want ...string) {
	c.t.Helper()
	got := c.taken(&c.events)
	if len(got) != len(want) {
		c.t.Errorf("%s: events %q, want %q", when, got, want)
		return
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			c.t.Errorf("%s: event %q, want %q", when, got[i], want[i])
		}
	}
}

// wantLogged fails the test unless a line with the text was logged since the last time.
func (c *cluster) wantLogged(when, text string) {
	c.t.Helper()
	if lines := c.taken(&c.log); !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, text) }) {
		c.t.Errorf("%s: logged %q, want a line with %q", when, lines, text)
	}
}
