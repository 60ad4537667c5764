package intent

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// platformFields is, with its sections, the only place where a field of the platform file is defined. Fields are read
// in this order: what another one is read by, such as the trust domain, comes before it.
var platformFields = []platformField{
	{
		name:    "apiVersion",
		doc:     PlatformAPIVersion,
		without: required,
		parse:   checkedBefore,
	},
	{
		name:    "kind",
		doc:     PlatformKind,
		without: required,
		parse:   checkedBefore,
	},
	{
		name:    "trustDomain",
		doc:     "SPIRE's trust domain, such as example.org",
		without: required,
		schema:  patternSchema("^[a-z0-9._-]+$"),
		parse:   one(parseTrustDomain),
	},
	{
		name:    "clusterName",
		doc:     "distinguishes the entries of this cluster from those of others on the same SPIRE server",
		without: required,
		schema:  patternSchema("^[A-Za-z0-9][A-Za-z0-9._-]*$"),
		parse:   one(parseClusterName),
	},
	{
		name: "ipFamily",
		doc: "which addresses of their pods sidecars listen on: " + strings.Join(ir.IPFamilies(), ", ") +
			"; running pods keep what they began with",
		without: "what the injector's own pod has; IPv4 offline",
		schema:  enumSchema(ir.IPFamilies()...),
		parse: one(func(p *Platform, v string) error {
			if v == "" {
				return nil
			}
			family, err := ir.ParseIPFamily(v)
			p.IPFamily = &family
			return withHint(err, v, ir.IPFamilies()...)
		}),
	},
	{
		name: "clusterDomain",
		doc: "the domain of the cluster's names in DNS, such as cluster.local: with it NAME.NAMESPACE.svc is one " +
			"question to DNS and not one for each search domain",
		without: "that of the injector's own pod; none offline",
		schema:  patternSchema(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`),
		parse: one(func(p *Platform, v string) error {
			if v == "" {
				return nil
			}
			var err error
			p.ClusterDomain, err = ir.ParseClusterDomain(v)
			return err
		}),
	},
	{name: "spire", fields: spireFields},
	{name: "identity", fields: identityFields},
	quarantineField,
	{name: "sidecar", fields: sidecarFields},
	{name: "defaults", fields: defaultsFields},
	networkPoliciesField,
	{name: "required", fields: requiredFields},
	{name: "limits", fields: limitsFields()},
	{
		name:    "locked",
		doc:     "names, without " + Prefix + ", of annotations that neither pods nor namespaces may write",
		without: "none",
		schema:  listSchema(stringSchema),
		parse:   each(parseLocked),
	},
	{
		name:    "foreignAnnotations",
		doc:     "further annotations under " + Prefix + " that belong to other tools",
		without: "none",
		schema:  listSchema(stringSchema),
		parse:   each(parseForeignAnnotation),
	},
}

// everyField are the rows that mean something by themselves, with their paths, in their order.
func everyField(fields []platformField, prefix string) iter.Seq2[string, platformField] {
	return func(yield func(string, platformField) bool) {
		for _, f := range fields {
			path := prefix + f.name
			if f.doc != "" && !yield(path, f) {
				return
			}
			for path, inner := range everyField(f.fields, path+".") {
				if !yield(path, inner) {
					return
				}
			}
		}
	}
}

// checkedBefore is for the fields that checkHeader has read.
var checkedBefore = one(func(*Platform, string) error { return nil })

func parseTrustDomain(p *Platform, name string) error {
	var err error
	p.Cluster.TrustDomain, err = parseTrustDomainName(name, "example.org")
	return err
}

func parseClusterName(p *Platform, name string) error {
	td := p.Cluster.TrustDomain
	if td.IsZero() {
		return nil // which is a mistake of its own
	}
	cluster, err := registrar.NewCluster(name, td)
	if err != nil {
		return err
	}
	p.Cluster = cluster
	return nil
}

// lockable are the names by which annotations can be locked.
func lockable() []string {
	var names []string
	for _, key := range WrittenByUsers() {
		if key != AnnotationRefresh { // by which the injector works
			names = append(names, strings.TrimPrefix(key, Prefix))
		}
	}
	return names
}

func parseLocked(p *Platform, name string) error {
	p.Locked = append(p.Locked, name)
	names := lockable()
	if slices.Contains(names, name) {
		return nil
	}
	err := fmt.Errorf("expected the name of an annotation without %s, such as proxy-image, got %q", Prefix, name)
	return withHint(err, strings.TrimPrefix(name, Prefix), names...)
}

func parseForeignAnnotation(p *Platform, key string) error {
	p.ForeignAnnotations = append(p.ForeignAnnotations, key)
	if _, known := annotationFor(key); known || !strings.HasPrefix(key, Prefix) {
		return fmt.Errorf("expected a key under %s that is not the injector's own, got %q", Prefix, key)
	}
	return nil
}

// atLeastOne parses a list of texts that would match nothing if it were empty.
func atLeastOne(into func(p *Platform) *[]string) parsePlatform {
	return func(p *Platform, raw json.RawMessage) []problem {
		items, problems := stringItems(raw)
		if len(items)+len(problems) == 0 {
			return whole(errors.New("expected at least one, or * for all, got none"))
		}
		*into(p) = items
		return problems
	}
}
