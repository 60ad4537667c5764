package registrar

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"k8s.io/apimachinery/pkg/util/validation"
)

// ContainerName is the container that gets the SVID when a [Workload] names none: the sidecar alone, so that the app's
// containers get none.
const ContainerName = "envoy"

// IdentityLabel is the pod label whose value is [IdentityHash].
const IdentityLabel = "spiffe.io/identity"

// Workload is what asks for an identity: all pods of one service account that run under one SPIFFE ID.
type Workload struct {
	ID             spiffeid.ID
	Namespace      string
	ServiceAccount string
	// Container is the one container that gets the SVID; empty is [ContainerName].
	Container string
	Attributes
}

func (w Workload) container() string {
	if w.Container == "" {
		return ContainerName
	}
	return w.Container
}

// IdentityHash is the value of the label [IdentityLabel] of a pod with this identity: 128 bits of SHA-256 as 26
// characters of a-z and 2-7, which every label value may be.
//
// The label alone separates the identities of one service account, so it must be infeasible to find an ID of one's
// own whose hash is somebody else's: with 128 bits that takes 2^128 trials. A collision between two IDs that one
// party may claim anyway, the 2^64 case, gains that party nothing.
func IdentityHash(id spiffeid.ID) string { return shortHash(id.String()) }

// WorkloadEntry is the entry that gives the workload its identity, on the nodes that rows place it on (see
// [Cluster.AliasPath]). Its ID follows from the SPIFFE ID, namespace, service account and container, so that concurrent
// writers cannot make two.
func (c Cluster) WorkloadEntry(w Workload) Entry {
	return Entry{
		ID:       c.entryID(shortHash(w.ID.String(), w.Namespace, w.ServiceAccount, w.container())),
		SPIFFEID: w.ID,
		ParentID: c.AliasPath(IdentityHash(w.ID)),
		Selectors: []Selector{
			{Type: "k8s", Value: "ns:" + w.Namespace},
			{Type: "k8s", Value: "sa:" + w.ServiceAccount},
			{Type: "k8s", Value: "pod-label:" + IdentityLabel + ":" + IdentityHash(w.ID)},
			{Type: "k8s", Value: "container-name:" + w.container()},
		},
		Attributes: w.Attributes,
	}.Canonical()
}

// Check returns every reason why the workload cannot be registered in this cluster, or nil. Whether its namespace
// may claim the identity is the caller's decision; what is refused here no claim can grant.
func (c Cluster) Check(w Workload) error {
	var errs []error
	switch _, isReserved := Reserved(w.ID); {
	case w.ID.IsZero():
		errs = append(errs, errors.New("no SPIFFE ID"))
	case !w.ID.MemberOf(c.TrustDomain):
		errs = append(errs, fmt.Errorf("SPIFFE ID %q: expected one of trust domain %q", w.ID, c.TrustDomain.Name()))
	case isReserved:
		errs = append(errs, fmt.Errorf("SPIFFE ID %q: paths below /spire/ and /%s/ are reserved", w.ID, idPrefix))
	}
	switch {
	case w.Namespace == "":
		errs = append(errs, errors.New("no namespace: an entry without it would serve all namespaces"))
	case len(validation.IsDNS1123Label(w.Namespace)) > 0:
		errs = append(errs, fmt.Errorf("namespace %.80q: expected the name of a namespace", w.Namespace))
	}
	switch {
	case w.ServiceAccount == "":
		errs = append(errs, errors.New(`no service account: expected its name, "default" for pods that name none`))
	case len(validation.IsDNS1123Subdomain(w.ServiceAccount)) > 0:
		errs = append(errs, fmt.Errorf("service account %.80q: expected the name of a service account", w.ServiceAccount))
	}
	errs = append(errs, c.WorkloadEntry(w).Validate())
	return errors.Join(errs...)
}

// Reserved says whether no workload may hold an ID, whatever it may claim: SPIRE's own identities, and the injector's
// alias paths, below which all its other entries hang. Root is the path at or below which they are.
func Reserved(id spiffeid.ID) (root string, reserved bool) {
	for _, root := range []string{"/spire", "/" + idPrefix} {
		if id.Path() == root || strings.HasPrefix(id.Path(), root+"/") {
			return root, true
		}
	}
	return "", false
}

// shortHash separates the parts by a character that none of them can contain.
func shortHash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}
