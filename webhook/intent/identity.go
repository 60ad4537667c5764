package intent

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
)

// Subject is the workload that asks for an identity. Namespace and ServiceAccount are facts that the API server vouches
// for; Labels are whatever a tenant wrote.
type Subject struct {
	Namespace      string
	ServiceAccount string
	Labels         map[string]string
}

// Claim lets the pods of some namespaces and service accounts hold what takes a claim: identities outside /ns/<their
// own namespace>/, DNS names, and flags of their registration entries. "*" stands for every namespace or service
// account, a path that ends in "/*" for everything below it, a DNS name that begins with "*." for everything in that
// domain.
type Claim struct {
	Namespaces      []string
	ServiceAccounts []string
	Paths           []string
	DNSNames        []string
	Flags           []Flag
}

// Flag is a power that a registration entry gives to a workload beside its identity.
type Flag string

// The flags.
const (
	FlagDownstream Flag = "downstream" // may run a nested SPIRE server
	FlagAdmin      Flag = "admin"      // may use SPIRE's management API
)

func (c Claim) of(s Subject) bool {
	return listed(c.Namespaces, s.Namespace) && listed(c.ServiceAccounts, s.ServiceAccount)
}

func (c Claim) covers(s Subject, idPath string) bool {
	return c.of(s) && slices.ContainsFunc(c.Paths, func(p string) bool {
		below, isPrefix := strings.CutSuffix(p, "*")
		return idPath == p || isPrefix && strings.HasPrefix(idPath, below)
	})
}

func (c Claim) coversDNSName(s Subject, name string) bool {
	return c.of(s) && slices.ContainsFunc(c.DNSNames, func(claimed string) bool {
		domain, isWildcard := strings.CutPrefix(claimed, "*")
		return name == claimed || isWildcard && strings.HasSuffix(name, domain)
	})
}

func listed(items []string, s string) bool {
	return slices.Contains(items, "*") || slices.Contains(items, s)
}

// Authorize says whether a subject may hold an identity. Identity is authority: what a tenant writes must never mint
// another tenant's identity, so that everything outside /ns/<own namespace>/ takes a claim by the platform.
func Authorize(td spiffeid.TrustDomain, claims []Claim, s Subject, id spiffeid.ID) error {
	if !id.MemberOf(td) {
		return fmt.Errorf("expected an identity of trust domain %s, got %s", td, id)
	}
	if root, reserved := registrar.Reserved(id); reserved {
		return fmt.Errorf("%s is reserved: no workload may hold an identity under %s/", id, root)
	}
	own := "/ns/" + s.Namespace + "/"
	isCovered := func(c Claim) bool { return c.covers(s, id.Path()) }
	if strings.HasPrefix(id.Path(), own) || slices.ContainsFunc(claims, isCovered) {
		return nil
	}
	return fmt.Errorf("service account %s of namespace %s has no claim to %s; use an identity under %s, "+
		"or ask the platform team for {namespaces: [%s], serviceAccounts: [%s], paths: [%s]} "+
		"in identity.claims of the platform file",
		s.ServiceAccount, s.Namespace, id, own, s.Namespace, s.ServiceAccount, id.Path())
}

// AuthorizeDNSName says whether a subject may have a DNS name in its certificate: a peer that checks names instead
// of SPIFFE IDs takes the name for the identity.
func AuthorizeDNSName(claims []Claim, s Subject, name string) error {
	if slices.ContainsFunc(claims, func(c Claim) bool { return c.coversDNSName(s, name) }) {
		return nil
	}
	return noClaim(s, "the DNS name "+name, fmt.Sprintf("dnsNames: [%s]", name))
}

// AuthorizeFlag says whether a subject's registration entry may have a flag.
func AuthorizeFlag(claims []Claim, s Subject, flag Flag) error {
	if slices.ContainsFunc(claims, func(c Claim) bool { return c.of(s) && slices.Contains(c.Flags, flag) }) {
		return nil
	}
	return noClaim(s, "the flag "+string(flag), fmt.Sprintf("flags: [%s]", flag))
}

func noClaim(s Subject, what, claim string) error {
	return fmt.Errorf("service account %s of namespace %s has no claim to %s; ask the platform team for "+
		"{namespaces: [%s], serviceAccounts: [%s], %s} in identity.claims of the platform file",
		s.ServiceAccount, s.Namespace, what, s.Namespace, s.ServiceAccount, claim)
}

// maxID is how many bytes a SPIFFE ID may have (SPIFFE-ID, section 2.3).
const maxID = 2048

// parseID reads a SPIFFE ID, or a path of the own trust domain.
func parseID(td spiffeid.TrustDomain, s string) (spiffeid.ID, error) {
	var id spiffeid.ID
	var err error
	if strings.HasPrefix(s, "/") {
		id, err = spiffeid.FromPath(td, s)
	} else {
		id, err = spiffeid.FromString(s)
	}
	if err != nil {
		hint := ""
		if s != "" && !strings.Contains(s, ":") {
			if fixed, err := spiffeid.FromPath(td, path.Clean("/"+strings.TrimSpace(s))); err == nil {
				hint = fmt.Sprintf("; did you mean %q?", fixed.Path())
			}
		}
		return spiffeid.ID{}, fmt.Errorf("expected a path such as /api or a SPIFFE ID such as spiffe://%s/api, got %q: %w%s",
			td, s, err, hint)
	}
	if id.Path() == "" {
		return spiffeid.ID{}, fmt.Errorf("expected a path after the trust domain, got %q", s)
	}
	if n := len(id.String()); n > maxID {
		return spiffeid.ID{}, fmt.Errorf("expected a SPIFFE ID of at most %d bytes, got %d: %.60q…", maxID, n, s)
	}
	return id, nil
}

// IDTemplate makes an identity of a subject, such as /ns/{namespace}/sa/{serviceAccount} or /{label:app}.
type IDTemplate struct{ text string }

var templateVariable = regexp.MustCompile(`\{[^{}]*\}`)

// ParseIDTemplate checks a template: an absolute path whose variables are {namespace}, {serviceAccount} and
// {label:KEY}.
func ParseIDTemplate(s string) (IDTemplate, error) {
	for _, v := range templateVariable.FindAllString(s, -1) {
		key, isLabel := strings.CutPrefix(v, "{label:")
		if v != "{namespace}" && v != "{serviceAccount}" && (!isLabel || key == "}") {
			return IDTemplate{}, fmt.Errorf("template %q: expected the variables {namespace}, {serviceAccount} or {label:KEY}, "+
				"got %s", s, v)
		}
	}
	if sample := templateVariable.ReplaceAllString(s, "x"); sample == "" || spiffeid.ValidatePath(sample) != nil {
		return IDTemplate{}, fmt.Errorf("template %q: expected a path such as %s", s, defaultIDTemplate)
	}
	return IDTemplate{s}, nil
}

// expand returns the path for a subject; false when the subject lacks a label that the template names.
func (t IDTemplate) expand(s Subject) (string, bool) {
	complete := true
	p := templateVariable.ReplaceAllStringFunc(t.text, func(v string) string {
		value := ""
		switch key, isLabel := strings.CutPrefix(strings.TrimSuffix(v, "}"), "{label:"); {
		case isLabel:
			value = s.Labels[key]
		case v == "{namespace}":
			value = s.Namespace
		default:
			value = s.ServiceAccount
		}
		complete = complete && value != ""
		return value
	})
	return p, complete
}

// defaultID is the identity of a subject that asks for none: that of the first template whose variables all exist.
func defaultID(td spiffeid.TrustDomain, ts []IDTemplate, s Subject) (spiffeid.ID, error) {
	for _, t := range ts {
		if p, ok := t.expand(s); ok {
			return parseID(td, p)
		}
	}
	return spiffeid.ID{}, fmt.Errorf("no template of the platform's identity.templates applies to this pod; "+
		"write the annotation %s", AnnotationSPIFFEID)
}
