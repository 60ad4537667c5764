package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/spire-injector/spire-injector/webhook"
)

// platformInForce is the injector by the newest platform file that could be taken over. A new file is taken over whole, or not
// at all, and then the old one stays.
type platformInForce struct {
	injector atomic.Pointer[webhook.Injector]
	// socketFixed says that the socket of the injector's own agent was not taken from the platform file.
	socketFixed bool
	metrics     *reloadMetrics
	logger      logr.Logger
	// tell makes a Kubernetes event of the outcome, about what the file is from.
	tell func(about runtime.Object, eventType, reason, note string)

	mu   sync.Mutex
	seen []byte   // the file that was offered last
	told []func() // who is told of each file that was taken over
}

// newPlatformInForce begins with the file that the injector was made from.
func newPlatformInForce(file []byte, injector webhook.Injector, socketFixed bool, metrics *reloadMetrics, logger logr.Logger,
	tell func(about runtime.Object, eventType, reason, note string)) *platformInForce {
	p := &platformInForce{socketFixed: socketFixed, metrics: metrics, logger: logger, tell: tell, seen: file}
	p.injector.Store(&injector)
	metrics.succeeded.Set(1)
	metrics.hash.Set(fileHash(file))
	return p
}

func (p *platformInForce) get() webhook.Injector { return *p.injector.Load() }

// onChange has somebody told, soon after, of each file that is taken over.
func (p *platformInForce) onChange(told func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, told)
}

// offer takes a platform file over, unless it is the one that was offered before. What is wrong with it is reported.
func (p *platformInForce) offer(from runtime.Object, file []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if bytes.Equal(file, p.seen) {
		return
	}
	p.seen = slices.Clone(file)
	injector := p.get()
	platform, err := webhook.ParsePlatform(file)
	if err == nil {
		err = needsRestart(injector.Platform, platform, p.socketFixed)
	}
	if err != nil {
		p.refuse(from, err)
		return
	}
	injector.Platform = platform
	p.injector.Store(&injector)
	p.metrics.reloads.WithLabelValues(reloadTaken).Inc()
	p.metrics.succeeded.Set(1)
	p.metrics.hash.Set(fileHash(file))
	p.logger.Info("the new platform file is in force")
	p.tell(from, corev1.EventTypeNormal, "PlatformReloaded", "the new platform file is in force")
	for _, told := range p.told {
		told()
	}
}

// refuse reports that the file in force stays.
func (p *platformInForce) refuse(from runtime.Object, err error) {
	mistakes := strings.Split(err.Error(), "\n")
	p.metrics.reloads.WithLabelValues(reloadRefused).Inc()
	p.metrics.succeeded.Set(0)
	p.logger.Error(errors.New("the platform file is refused"), "the old platform file stays in force", "mistakes", mistakes)
	p.tell(from, corev1.EventTypeWarning, "PlatformRefused", "the old platform file stays in force: "+strings.Join(mistakes, "; "))
}

// needsRestart finds changes of what a running injector cannot change: whom it registers workloads with, and as what.
func needsRestart(before, after webhook.Platform, socketFixed bool) error {
	var errs []error
	check := func(field string, same bool) {
		if !same {
			errs = append(errs, fmt.Errorf("%s: a running injector cannot change it; restart its replicas to take the file over: "+
				"kubectl rollout restart deployment", field))
		}
	}
	check("trustDomain", before.Cluster.TrustDomain == after.Cluster.TrustDomain)
	check("clusterName", before.Cluster.Name == after.Cluster.Name)
	check("spire.nodeSelectors", slices.Equal(before.Cluster.NodeSelectors, after.Cluster.NodeSelectors))
	check("spire.server.address", before.ServerAddress == after.ServerAddress)
	check("spire.agentSocket, by which the injector gets its own SVID as well", socketFixed || before.AgentSocket == after.AgentSocket)
	return errors.Join(errs...)
}

// Results of a reload, as the metric has them.
const (
	reloadTaken   = "success"
	reloadRefused = "failure"
)

// reloadMetrics tell whether what the replicas work by is what was written last.
type reloadMetrics struct {
	reloads   *prometheus.CounterVec
	succeeded prometheus.Gauge
	hash      prometheus.Gauge
}

// fileHash stands for the content of a file: 48 bits, all of which the number of a metric keeps.
func fileHash(file []byte) float64 {
	sum := sha256.Sum256(file)
	return float64(binary.BigEndian.Uint64(sum[:8]) >> 16)
}

func newReloadMetrics(r prometheus.Registerer) (*reloadMetrics, error) {
	m := &reloadMetrics{
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spire_injector_config_reloads_total",
			Help: "Changed platform files, by result: success, or failure, where the old one stays in force.",
		}, []string{"result"}),
		succeeded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "spire_injector_config_last_reload_successful",
			Help: "1 when the newest platform file is in force, 0 when it was refused.",
		}),
		hash: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "spire_injector_config_hash",
			Help: "Hash of the platform file in force: equal at replicas that work by the same file.",
		}),
	}
	for _, result := range []string{reloadTaken, reloadRefused} {
		m.reloads.WithLabelValues(result) // so that there is a 0 to count from
	}
	for _, c := range []prometheus.Collector{m.reloads, m.succeeded, m.hash} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
