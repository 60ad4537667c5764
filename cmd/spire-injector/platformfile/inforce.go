package platformfile

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Config is what an [InForce] begins with.
type Config struct {
	File     []byte          // as it is written
	Injector inject.Injector // made from File
	// IPFamily is that of the cluster's pods, where File does not say it.
	IPFamily ir.IPFamily
	// ClusterDomain is that of the cluster's names in DNS, where File does not say it.
	ClusterDomain string
	// SocketFixed says that the socket of the injector's own agent was not taken from the platform file.
	SocketFixed bool
	Metrics     *Metrics
	Logger      logr.Logger
	// Event reports the outcome of a change, about the object that the file is from.
	Event func(about runtime.Object, eventType string, why reason.Reason, note string)
}

// ofCluster gives a platform what its file leaves to the cluster.
func (c Config) ofCluster(p intent.Platform) intent.Platform {
	return p.WithIPFamily(c.IPFamily).WithClusterDomain(c.ClusterDomain)
}

// InForce is the injector by the newest platform file that could be taken over. A new file is taken over whole, or not
// at all, and then the old one stays.
type InForce struct {
	config   Config
	injector atomic.Pointer[inject.Injector]

	mu       sync.Mutex
	seen     []byte   // the file that was offered last
	notified []func() // called for each file that was taken over
}

// New returns what is in force at the start.
func New(c Config) *InForce {
	p := &InForce{config: c, seen: c.File}
	c.Injector.Platform = c.ofCluster(c.Injector.Platform)
	c.Injector.Decisions = inject.NewDecisions()
	p.injector.Store(&c.Injector)
	c.Metrics.succeeded.Set(1)
	c.Metrics.hash.Set(Hash(c.File))
	return p
}

// Get returns the injector in force.
func (p *InForce) Get() inject.Injector { return *p.injector.Load() }

// OnChange has notify called, soon after, for each file that is taken over.
func (p *InForce) OnChange(notify func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notified = append(p.notified, notify)
}

// Offer takes a platform file over, unless it is the one that was offered before. What is wrong with it is reported.
func (p *InForce) Offer(from runtime.Object, file []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if bytes.Equal(file, p.seen) {
		return
	}
	p.seen = slices.Clone(file)
	injector := p.Get()
	platform, err := intent.ParsePlatform(file)
	if err == nil {
		err = needsRestart(injector.Platform, platform, p.config.SocketFixed)
	}
	if err != nil {
		p.reject(from, err)
		return
	}
	next := injector
	next.Platform = p.config.ofCluster(platform)
	next.Decisions = inject.NewDecisions()
	p.injector.Store(&next)
	p.config.Metrics.taken(file)
	p.config.Logger.Info("the new platform file is in force", "reason", reason.PlatformReloaded)
	p.config.Event(
		from,
		reason.PlatformReloaded.EventType(nil),
		reason.PlatformReloaded,
		"the new platform file is in force",
	)
	for _, notify := range p.notified {
		notify() // first of all: a quarantine is an emergency
	}
	if before := injector.Platform.Quarantine; !slices.Equal(before, platform.Quarantine) {
		p.config.Event(from, reason.QuarantineChanged.EventType(nil), reason.QuarantineChanged, quarantined(platform))
	}
}

// quarantined says who is cut off.
func quarantined(platform intent.Platform) string {
	if len(platform.Quarantine) == 0 {
		return "no identity is quarantined any more"
	}
	items := make([]string, len(platform.Quarantine))
	for i, item := range platform.Quarantine {
		items[i] = item.String()
	}
	return "these identities are quarantined, which running pods refuse and new pods do not get: " + strings.Join(items, ", ")
}

// reject reports that the file in force stays.
func (p *InForce) reject(from runtime.Object, err error) {
	mistakes := strings.Split(err.Error(), "\n")
	p.config.Metrics.rejected()
	p.config.Logger.Error(errors.New("the platform file is rejected"), "the old platform file stays in force",
		"reason", reason.PlatformRejected, "mistakes", mistakes)
	p.config.Event(from, reason.PlatformRejected.EventType(nil), reason.PlatformRejected,
		"the old platform file stays in force: "+strings.Join(mistakes, "; "))
}

// needsRestart finds changes of what a running injector cannot change: whom it registers workloads with, and as what.
func needsRestart(before, after intent.Platform, socketFixed bool) error {
	var errs []error
	check := func(field string, same bool) {
		if !same {
			errs = append(
				errs,
				fmt.Errorf("%s: a running injector cannot change it; restart its replicas to take the file over: "+
					"kubectl rollout restart deployment", field),
			)
		}
	}
	check("trustDomain", before.Cluster.TrustDomain == after.Cluster.TrustDomain)
	check("clusterName", before.Cluster.Name == after.Cluster.Name)
	check("spire.nodeSelectors", slices.Equal(before.Cluster.NodeSelectors, after.Cluster.NodeSelectors))
	check("spire.entryScope", before.Cluster.Scope == after.Cluster.Scope)
	check("spire.prewarm", before.Prewarm == after.Prewarm)
	check("spire.server.address", before.ServerAddress == after.ServerAddress)
	check("spire.agentSocket, by which the injector gets its own SVID as well",
		socketFixed || before.AgentSocket == after.AgentSocket)
	return errors.Join(errs...)
}
