package intent

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/idna"
	"k8s.io/apimachinery/pkg/util/validation"
)

// dnsNames are what SPIRE takes of a DNS name in an entry: labels of at most 63 characters, none with hyphens in third
// and fourth place but valid Punycode.
var dnsNames = idna.New(
	idna.StrictDomainName(true), idna.ValidateLabels(true), idna.VerifyDNSLength(true), idna.CheckJoiners(true),
	idna.BidiRule(), idna.CheckHyphens(true),
)

func checkDNSName(name string) error {
	const want = "expected a DNS name such as api.example.org"
	if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 {
		return fmt.Errorf("%s, got %q: %s", want, name, strings.Join(errs, "; "))
	}
	switch ascii, err := dnsNames.ToASCII(name); {
	case err != nil:
		return fmt.Errorf("%s, with labels of at most 63 characters and without hyphens in third and fourth place, got %.80q",
			want, name)
	case ascii != name:
		return fmt.Errorf("%s, got %q; did you mean %q?", want, name, ascii)
	}
	return nil
}

func (r *reader) parseDNSNames(v string) []problem {
	names := fields(v)
	if len(names) == 0 {
		return whole(errors.New("expected at least one DNS name, got an empty list"))
	}
	if !r.count(boundDNSNames, len(names)) {
		return nil
	}
	var problems []problem
	for _, name := range names {
		if err := checkDNSName(name); err != nil {
			problems = append(problems, problem{err: err})
		} else if !slices.Contains(r.DNSNames, name) {
			r.DNSNames = append(r.DNSNames, name)
		}
	}
	return problems
}
