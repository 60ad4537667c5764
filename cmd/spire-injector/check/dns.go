package check

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/caddy/caddyfile"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Where CoreDNS has its configuration in most clusters.
const (
	dnsNamespace = "kube-system"
	dnsConfigMap = "coredns"
	dnsFile      = "Corefile"
)

// dnsMargin is how much longer than a TTL a pod has to serve on: until DNS has learnt that it ends, and until callers ask.
const dnsMargin = 5 * time.Second

func (g Gatherer) dns(ctx context.Context, f *Facts) error {
	configMap, err := g.Client.CoreV1().ConfigMaps(dnsNamespace).Get(ctx, dnsConfigMap, metav1.GetOptions{})
	if err == nil {
		f.Corefile = configMap.Data[dnsFile]
	}
	return unlessAbsent(err)
}

// dns compares how long callers keep the address of a pod that ends with how long it goes on serving.
func dns(f Facts) []Finding {
	p, ok := f.platform()
	if !ok {
		return nil
	}
	const where = "ConfigMap " + dnsNamespace + "/" + dnsConfigMap
	ttl, known := dnsTTL(f.Corefile)
	switch least := ttl + dnsMargin; {
	case !known:
		return []Finding{fine("", "%s does not say the TTL of the cluster's DNS; defaults.drain, %s, has to be %s longer",
			where, p.Drain, dnsMargin)}
	case p.Drain < least:
		return []Finding{found(Warning, where, "the cluster's DNS has names kept for %s, and a pod that ends serves for %s",
			ttl, p.Drain).
			expected("defaults.drain of the platform file to be %s or more", least).
			remedy("raise defaults.drain, or lower ttl in the %s: otherwise a rolling restart behind a headless Service loses "+
				"requests", dnsFile)}
	default:
		return []Finding{fine(where, "the cluster's DNS has names kept for %s, and a pod that ends serves for %s", ttl, p.Drain)}
	}
}

// dnsTTL is the longest TTL of the cluster's names in a Corefile. It is false where the plugin kubernetes is not in it.
func dnsTTL(corefile string) (ttl time.Duration, known bool) {
	const byDefault = 5 * time.Second // of the plugin
	var ttls []time.Duration          // of each use of the plugin
	var plugin string
	tokens := caddyfile.NewDispenser(dnsFile, strings.NewReader(corefile))
	for depth := 0; tokens.Next(); {
		word := tokens.Val()
		switch {
		case word == "{":
			depth++
			continue
		case word == "}":
			depth--
			continue
		}
		arguments := tokens.RemainingArgs()
		switch {
		case depth == 1:
			if plugin = word; plugin == "kubernetes" {
				ttls = append(ttls, byDefault)
			}
		case depth == 2 && plugin == "kubernetes" && word == "ttl" && len(arguments) == 1:
			if seconds, err := strconv.ParseUint(arguments[0], 10, 16); err == nil {
				ttls[len(ttls)-1] = time.Duration(seconds) * time.Second
			}
		}
	}
	if len(ttls) == 0 {
		return 0, false
	}
	return slices.Max(ttls), true
}
