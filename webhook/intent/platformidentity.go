package intent

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"k8s.io/apimachinery/pkg/util/validation"
)

// identityFields are those of identity: who is who, and who may be.
var identityFields = []platformField{
	{
		name: "templates",
		doc: "identities of pods that ask for none, the first whose variables all exist: " +
			"{namespace}, {serviceAccount}, {label:KEY}",
		standard: `["` + defaultIDTemplate + `"]`,
		schema:   listSchema(patternSchema("^/")),
		parse: each(func(p *Platform, item string) error {
			t, err := ParseIDTemplate(item)
			p.Templates = append(p.Templates, t)
			return err
		}),
	},
	{
		name:    "claims",
		doc:     "a list of who may hold identities outside /ns/OWN-NAMESPACE/, DNS names and flags",
		without: "none",
		fields:  claimFields,
		item:    func(p *Platform) { p.Claims = append(p.Claims, Claim{}) },
	},
}

const defaultIDTemplate = "/ns/{namespace}/sa/{serviceAccount}"

var claimFields = []platformField{
	{
		name:    "namespaces",
		doc:     "namespaces of the pods, * for all",
		without: required,
		schema:  listSchema(stringSchema),
		parse:   atLeastOne(func(p *Platform) *[]string { return &lastClaim(p).Namespaces }),
	},
	{
		name:    "serviceAccounts",
		doc:     "service accounts of the pods, * for all",
		without: required,
		schema:  listSchema(stringSchema),
		parse:   atLeastOne(func(p *Platform) *[]string { return &lastClaim(p).ServiceAccounts }),
	},
	{
		name:    "paths",
		doc:     "paths of identities; a trailing /* stands for everything below",
		without: "none",
		schema:  listSchema(patternSchema("^/")),
		parse:   each(parseClaimedPath),
	},
	{
		name:    "dnsNames",
		doc:     "DNS names; a leading *. stands for everything in that domain",
		without: "none",
		schema:  listSchema(stringSchema),
		parse:   each(parseClaimedDNSName),
	},
	{
		name:    "flags",
		doc:     fmt.Sprintf("flags of registration entries: %s, %s", FlagDownstream, FlagAdmin),
		without: "none",
		schema:  listSchema(enumSchema(string(FlagDownstream), string(FlagAdmin))),
		parse:   parseClaimedFlags,
	},
}

// lastClaim is the claim that is being read.
func lastClaim(p *Platform) *Claim { return &p.Claims[len(p.Claims)-1] }

func parseClaimedPath(p *Platform, item string) error {
	c := lastClaim(p)
	c.Paths = append(c.Paths, item)
	if err := spiffeid.ValidatePath(strings.TrimSuffix(item, "/*")); err != nil || item == "" {
		return fmt.Errorf("expected a path such as /api or /team/*, got %q", item)
	}
	return nil
}

func parseClaimedDNSName(p *Platform, item string) error {
	c := lastClaim(p)
	c.DNSNames = append(c.DNSNames, item)
	if len(validation.IsDNS1123Subdomain(strings.TrimPrefix(item, "*."))) > 0 {
		return fmt.Errorf("expected a name such as api.example.org or *.example.org, got %q", item)
	}
	return nil
}

// parseClaimedFlags reads the last of what a claim may be for, and checks that it is for something.
func parseClaimedFlags(p *Platform, raw json.RawMessage) []problem {
	c := lastClaim(p)
	problems := each(func(_ *Platform, item string) error {
		c.Flags = append(c.Flags, Flag(item))
		return expectOneOf(item, string(FlagDownstream), string(FlagAdmin))
	})(p, raw)
	if len(problems)+len(c.Paths)+len(c.DNSNames)+len(c.Flags) == 0 {
		return whole(errors.New("expected at least one of paths, dnsNames and flags, got none"))
	}
	return problems
}
