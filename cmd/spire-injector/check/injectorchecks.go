package check

import (
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

func replicas(f Facts) []Finding {
	if f.Injector == nil {
		return []Finding{found(Error, "Deployment "+f.Names.Namespace+"/"+Deployment, "there is none").
			expected("the injector").
			remedy("kubectl apply -k manifests/injector/base, or name its namespace with --namespace")}
	}
	where := "Deployment " + f.Injector.Namespace + "/" + f.Injector.Name
	wanted, ready := int(orOne(f.Injector.Spec.Replicas)), 0
	for _, r := range f.Replicas {
		if r.Ready {
			ready++
		}
	}
	var out []Finding
	for _, r := range f.Replicas {
		if !r.Ready {
			out = append(out, f.unready(r, ready >= wanted))
		}
	}
	switch {
	case ready == 0:
		out = append(out, found(Error, where, "no replica is ready").expected("%s", plural(wanted, "ready replica")).
			remedy("kubectl -n %s describe deployment %s: until then no labelled pod can be created",
				f.Names.Namespace, f.Injector.Name))
	case ready < wanted:
		out = append(out, found(Error, where, "%d of %s ready", ready, plural(wanted, "replica")).expected("all").
			remedy("kubectl -n %s describe deployment %s", f.Names.Namespace, f.Injector.Name))
	case wanted < 2:
		out = append(out, found(Warning, where, "there is one replica").expected("two or more").
			remedy("scale it to 2: while the only one restarts no labelled pod can be created"))
	}
	for _, r := range f.Replicas {
		if r.Err != nil && r.Ready {
			out = append(out, f.silent(r))
		}
	}
	if f.Settings.MetricsSecure {
		out = append(out, found(Warning, where, "metrics take a token (--metrics-secure), which the API server does not "+
			"pass on to pods").expected("metrics that can be read").remedy("look at the alerts of your Prometheus: what only "+
			"replicas know is not checked here"))
	}
	return orFine(out, fine(where, "%s ready", plural(ready, "replica")))
}

// unready is about a replica that is not ready, while enough others may be.
func (f Facts) unready(r Replica, enough bool) Finding {
	status := Error
	if enough {
		status = Warning // one that takes another's place
	}
	lacks := ""
	if r.Unready != "" {
		lacks = ": " + r.Unready
	}
	return found(status, f.pod(r), "it is not ready%s", lacks).expected("all replicas to be ready").
		remedy("kubectl -n %s describe pod %s, and its log", f.Names.Namespace, r.Name)
}

// silent is about a replica whose metrics cannot be read.
func (f Facts) silent(r Replica) Finding {
	return found(Error, f.pod(r), "its metrics cannot be read: %v", r.Err).expected("an answer at /metrics").
		remedy("run the check as somebody who may get pods/proxy in %s, and serve with --metrics-address: "+
			"what only replicas know is not checked", f.Names.Namespace)
}

func (f Facts) pod(r Replica) string { return "Pod " + f.Names.Namespace + "/" + r.Name }

// answering are the replicas whose metrics could be read.
func (f Facts) answering() []Replica {
	var out []Replica
	for _, r := range f.Replicas {
		if r.Metrics != nil {
			out = append(out, r)
		}
	}
	return out
}

func versions(f Facts) []Finding {
	running := map[string][]string{}
	for _, r := range f.answering() {
		for version := range r.Metrics.by("spire_injector_build_info", "version") {
			running[version] = append(running[version], r.Name)
		}
	}
	all := slices.Sorted(maps.Keys(running))
	switch len(all) {
	case 0:
		return nil
	case 1:
		return []Finding{fine("", "all replicas run %s", all[0])}
	}
	return []Finding{found(Warning, "", "replicas run %s", strings.Join(all, " and ")).expected("one version").
		remedy("kubectl -n %s rollout status deployment %s: wait for it, or undo it", f.Names.Namespace, Deployment)}
}

// leader is asked of the Lease, which replicas renew every few seconds.
func leader(f Facts) []Finding {
	if f.Injector == nil {
		return nil
	}
	where := "Lease " + f.Names.Namespace + "/" + f.Settings.Lease
	none := func(format string, args ...any) []Finding {
		return []Finding{found(Error, where, format, args...).expected("a replica that leads").
			remedy("kubectl -n %s logs deployment/%s: a leader needs to write this Lease. Nobody keeps the registration "+
				"entries meanwhile", f.Names.Namespace, Deployment)}
	}
	switch {
	case f.Lease == nil:
		return none("there is none")
	case f.Lease.Spec.HolderIdentity == nil || *f.Lease.Spec.HolderIdentity == "":
		return none("nobody holds it")
	case f.Lease.Spec.RenewTime != nil && f.Lease.Spec.LeaseDurationSeconds != nil &&
		f.At.Sub(f.Lease.Spec.RenewTime.Time) > 2*time.Duration(*f.Lease.Spec.LeaseDurationSeconds)*time.Second:
		return none("%s has not renewed it for %s", *f.Lease.Spec.HolderIdentity,
			f.At.Sub(f.Lease.Spec.RenewTime.Time).Round(time.Second))
	}
	name := holder(*f.Lease.Spec.HolderIdentity)
	if !slices.ContainsFunc(f.Replicas, func(r Replica) bool { return r.Name == name }) {
		return none("%s holds it, which is not one of the replicas", name)
	}
	return []Finding{fine(where, "%s leads", name)}
}

// holder is the pod of a holder's identity, which is its name, an underscore and something random.
func holder(identity string) string {
	name, _, _ := strings.Cut(identity, "_")
	return name
}

// leading are the metrics of the replica that leads.
func (f Facts) leading() (Replica, bool) {
	if f.Lease == nil || f.Lease.Spec.HolderIdentity == nil {
		return Replica{}, false
	}
	for _, r := range f.answering() {
		if r.Name == holder(*f.Lease.Spec.HolderIdentity) {
			return r, true
		}
	}
	return Replica{}, false
}

func platformFile(f Facts) []Finding {
	if f.Injector == nil {
		return nil
	}
	switch {
	case f.Platform.Elsewhere:
		return []Finding{found(Warning, f.Platform.Where, "%v", f.Platform.Err).expected("the platform file in a ConfigMap").
			remedy("mount it from one; what depends on it is not checked")}
	case f.Platform.Err != nil:
		return []Finding{found(Error, f.Platform.Where, "%v", f.Platform.Err).expected("the platform file").
			remedy("create it: no replica starts without")}
	}
	p, err := intent.ParsePlatform([]byte(f.Platform.Text))
	if err != nil {
		return []Finding{found(Error, f.Platform.Where, "%s", strings.ReplaceAll(err.Error(), "\n", "; ")).
			expected("a platform file without mistakes").
			remedy("correct it: the old one stays in force, and a replica that starts does not come up")}
	}
	return []Finding{fine(f.Platform.Where, "cluster %s of the trust domain %s",
		p.Cluster.Name, p.Cluster.TrustDomain.Name())}
}

func platformInForce(f Facts) []Finding {
	if f.Injector == nil {
		return nil
	}
	var out []Finding
	hashes := map[float64]bool{}
	for _, r := range f.answering() {
		hash, ok := r.Metrics.one("spire_injector_config_hash")
		if !ok {
			continue
		}
		hashes[hash] = true
		if taken, ok := r.Metrics.one("spire_injector_config_last_reload_successful"); ok && taken == 0 {
			out = append(out, found(Error, f.pod(r), "it refused the newest platform file").expected("the newest file in force").
				remedy("kubectl -n %s logs %s: its log names the mistakes, or what only a restart can change",
					f.Names.Namespace, r.Name))
		} else if f.Platform.Err == nil && hash != f.PlatformHash {
			out = append(out, found(Warning, f.pod(r), "it works by another platform file than the one in %s", f.Platform.Where).
				expected("the newest file in force").
				remedy("wait a minute and check again; then kubectl -n %s rollout restart deployment %s",
					f.Names.Namespace, Deployment))
		}
	}
	if len(hashes) == 0 {
		return nil
	}
	return orFine(out, fine(f.Platform.Where, "in force at %s", plural(len(f.answering()), "replica")))
}

// expiring is what replicas have of something that expires.
func (f Facts) expiring(metric, what string, soon time.Duration, remedy string) []Finding {
	var out []Finding
	var first time.Time
	for _, r := range f.answering() {
		at, ok := r.Metrics.one(metric)
		expiry := time.Unix(int64(at), 0)
		left := expiry.Sub(f.At)
		switch {
		case !ok:
			out = append(out, found(Error, f.pod(r), "it has no %s", what).expected("one that is valid").remedy("%s", remedy))
			continue
		case left <= 0:
			out = append(out, found(Error, f.pod(r), "its %s expired %s ago", what, duration.HumanDuration(-left)).
				expected("one that is valid").remedy("%s", remedy))
		case left < soon:
			out = append(out, found(Warning, f.pod(r), "its %s expires in %s", what, duration.HumanDuration(left)).
				expected("it to be renewed at least %s before", duration.HumanDuration(soon)).remedy("%s", remedy))
		}
		if first.IsZero() || expiry.Before(first) {
			first = expiry
		}
	}
	if len(f.answering()) == 0 {
		return nil
	}
	return orFine(out, fine("", "the first %s expires in %s", what, duration.HumanDuration(first.Sub(f.At))))
}

func servingCertificate(f Facts) []Finding {
	// Of an SVID less is left before SPIRE renews it.
	soon := 7 * 24 * time.Hour
	for _, r := range f.answering() {
		if lifetime, ok := r.Metrics.one("spire_injector_serving_certificate_lifetime_seconds"); ok {
			soon = min(soon, time.Duration(lifetime/6)*time.Second)
		}
	}
	return f.expiring("spire_injector_serving_certificate_expiry_timestamp_seconds", "serving certificate", soon,
		"spire-injector serving-cert --renew; or who renews it: with cert-manager, kubectl -n "+f.Names.Namespace+
			" describe certificate, with SPIRE the agent's log, with --serving-cert-source=self the leader's")
}

func ownSVID(f Facts) []Finding {
	p, ok := f.platform()
	if !ok {
		return nil
	}
	if strings.HasPrefix(p.ServerAddress, "unix:") {
		return []Finding{fine("", "none is needed at the SPIRE server's socket")}
	}
	return f.expiring("spire_injector_svid_expiry_timestamp_seconds", "own SVID", 10*time.Minute,
		"the SPIRE agent on its node: its log, and whether the injector's own entry is there")
}
