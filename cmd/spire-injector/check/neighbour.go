package check

import (
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// managerConfig is what of a ControllerManagerConfig decides about which entries spire-controller-manager deletes.
type managerConfig struct {
	TrustDomain          string            `json:"trustDomain"`
	EntryIDPrefix        string            `json:"entryIDPrefix"`
	EntryIDPrefixCleanup *string           `json:"entryIDPrefixCleanup"`
	Reconcile            *managerReconcile `json:"reconcile"`
}

type managerReconcile struct {
	ClusterSPIFFEIDs     bool `json:"clusterSPIFFEIDs"`
	ClusterStaticEntries bool `json:"clusterStaticEntries"`
}

// managers finds what would delete our entries. spire-controller-manager deletes those that it does not know: all
// that begin with its prefix and a dot, without a prefix all of SPIRE's; and the same of the prefix that it is to
// clean up, which when it is empty means IDs without a dot, and none of ours are.
func managers(f Facts) []Finding {
	p, ok := f.platform()
	if !ok {
		return nil
	}
	ours := p.Cluster.ClusterRow("IDENTITY").ID
	var out []Finding
	for _, m := range f.Managers {
		config, finding := readManager(m)
		if finding != nil {
			out = append(out, *finding)
			continue
		}
		if td := config.TrustDomain; td != "" && td != p.Cluster.TrustDomain.Name() {
			out = append(out, fine(m.String(), "works for the trust domain %s", td))
			continue
		}
		if setting, deletes := config.deletes(ours); deletes {
			out = append(out, found(Error, m.Config.Where, "%s of %s: it deletes the injector's entries", setting, m).
				expected("an entryIDPrefix, and an entryIDPrefixCleanup if any, under which the entry ID %s does not fall", ours).
				remedy("set entryIDPrefix to the cluster's name, such as entryIDPrefix: %s", p.Cluster.Name))
			continue
		}
		out = append(out, fine(m.Config.Where, "spire-controller-manager leaves the injector's entries alone"))
	}
	return orFine(out, fine("", "no spire-controller-manager"))
}

func readManager(m Workload) (managerConfig, *Finding) {
	var config managerConfig
	err := m.Config.Err
	if err == nil {
		err = yaml.Unmarshal([]byte(m.Config.Text), &config)
	}
	if err != nil {
		finding := found(Warning, m.String(), "its configuration cannot be read: %v", err).
			expected("a ControllerManagerConfig in a ConfigMap").
			remedy("see yourself that it has an entryIDPrefix other than spire-injector: without one it deletes the " +
				"injector's entries")
		return config, &finding
	}
	return config, nil
}

// deletes says which setting has an entry of ours deleted.
func (c managerConfig) deletes(ours string) (setting string, deletes bool) {
	if c.Reconcile != nil && !c.Reconcile.ClusterSPIFFEIDs && !c.Reconcile.ClusterStaticEntries {
		return "", false
	}
	falls := func(prefix string) bool { return strings.HasPrefix(ours, strings.TrimSuffix(prefix, ".")+".") }
	switch {
	case c.EntryIDPrefix == "":
		return "no entryIDPrefix in the settings", true
	case falls(c.EntryIDPrefix):
		return fmt.Sprintf("entryIDPrefix %q in the settings", c.EntryIDPrefix), true
	case c.EntryIDPrefixCleanup != nil && *c.EntryIDPrefixCleanup != "" && falls(*c.EntryIDPrefixCleanup):
		return fmt.Sprintf("entryIDPrefixCleanup %q in the settings", *c.EntryIDPrefixCleanup), true
	}
	return "", false
}
