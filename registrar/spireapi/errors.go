package spireapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/registrar"
)

// call is one use of a method, and knows what its errors have to say.
type call struct {
	client *Client
	method string
	// caller is the own SPIFFE ID; zero over a Unix socket, where the server asks for none.
	caller spiffeid.ID
	asked  []registrar.Entry // the entries to write, if any
}

func (c *Client) call(method string, asked ...registrar.Entry) *call {
	return &call{client: c, method: method, asked: asked}
}

// prepare fails if the server could not be talked to for want of an own identity.
func (c *call) prepare(ctx context.Context) (err error) {
	if c.client.identity != nil {
		c.caller, err = c.client.identity.ready(ctx)
	}
	return err
}

// failed explains an error of the call as a whole.
func (c *call) failed(ctx context.Context, err error) error {
	st := status.Convert(err)
	e := &registrar.Error{Kind: kindOf(st), Err: errors.Join(err, context.Cause(ctx))}
	switch {
	case databaseAway(st):
		e.Message = fmt.Sprintf(
			"the SPIRE server at %s fails on %s: %s (%s): %s",
			c.client.server,
			c.method,
			st.Message(),
			st.Code(),
			databaseRemedy,
		)
	case e.Kind == registrar.Unavailable:
		e.Message = fmt.Sprintf(
			"no answer from the SPIRE server at %s to %s: %s: check that the server runs, that the address is right%s, and its load",
			c.client.server,
			c.method,
			st.Message(),
			c.ifTLS(" and that it serves this trust domain"),
		)
	case e.Kind == registrar.Denied:
		e.Message = c.denied(st)
	default:
		e.Message = fmt.Sprintf(
			"the SPIRE server at %s fails on %s: %s (%s): look at the server's log",
			c.client.server,
			c.method,
			st.Message(),
			st.Code(),
		)
	}
	return e
}

// rejected explains the status of one of a batch; what is the thing that the server does not do.
func (c *call) rejected(what string, st *status.Status) error {
	e := &registrar.Error{Kind: kindOf(st), Err: st.Err()}
	remedy := "look at the server's log"
	switch {
	case databaseAway(st):
		remedy = databaseRemedy
	case e.Kind == registrar.Denied:
		e.Message = c.denied(st)
		return e
	case e.Kind == registrar.Invalid:
		remedy = "correct what it names"
	case st.Code() == codes.Internal && strings.Contains(st.Message(), missingBundle):
		e.Kind = registrar.MissingBundle
		remedy = "set up federation with that trust domain, or give the server its bundle: spire-server bundle set -id spiffe://<trust domain> -path FILE"
	}
	e.Message = fmt.Sprintf(
		"the SPIRE server at %s does not %s: %s (%s): %s",
		c.client.server,
		what,
		st.Message(),
		st.Code(),
		remedy,
	)
	return e
}

// missingBundle is all that tells this error of SPIRE's from its other internal errors.
const missingBundle = "unable to find federated bundle"

func (c *call) denied(st *status.Status) string {
	if c.caller.IsZero() {
		return fmt.Sprintf(
			"the SPIRE server at %s denies %s (%s): its authorization policy (auth_opa_policy_engine) must allow local callers this method",
			c.client.server,
			c.method,
			st.Message(),
		)
	}
	return fmt.Sprintf(
		"the SPIRE server at %s denies %s to %s (%s): %s",
		c.client.server,
		c.method,
		c.caller,
		st.Message(),
		c.rightsRemedy(),
	)
}

// policyData is where the authorization policy of this project's manifests has its limits.
const policyData = "policy-data.json, beside the server's configuration,"

// rightsRemedy is how the own ID gets the right to call: as an admin, from the authorization policy, or, if SPIRE's
// answers do not tell which of them it lacks, from both.
func (c *call) rightsRemedy() string {
	const admin = "set the admin flag on that ID's registration entry (spire-server entry update … -admin) or list the ID under admin_ids in the server's configuration"
	const policy = "authorization policy (auth_opa_policy_engine)"
	if c.client.rights.admin.Load() {
		return "it lets that ID do other things that only an admin may, so what denies this is its " + policy + ": with that of spire-injector's manifests, " + c.policyRemedy()
	}
	if len(flagsOf(c.asked)) > 0 {
		// The policy of this project's manifests refuses flags by default, and nothing else that the injector does.
		return "with the " + policy + " of spire-injector's manifests, " + c.policyRemedy() + "; if the server has no such policy, " + admin
	}
	return "it does not say whether the ID is no admin or whether an " + policy + " denies it. For the first, " + admin +
		"; for the second, with the policy of spire-injector's manifests, " + c.policyRemedy()
}

// policyRemedy is how the authorization policy of this project's manifests gets to allow the call.
func (c *call) policyRemedy() string {
	if flags := flagsOf(c.asked); len(flags) > 0 {
		return "an entry has a flag only if " + policyData + " lists its path: add " + strings.Join(flags, ", ")
	}
	if len(c.asked) > 0 {
		return policyData + ` has to list the cluster, the node selectors and, under "paths" and not under "except", what was asked: ` + pathsOf(
			c.asked,
		)
	}
	return policyData + " has to list the ID with its cluster, and the trust domains under \"federation\""
}

// manyPaths is how many paths a message lists.
const manyPaths = 5

// pathsOf lists the paths of the entries' SPIFFE IDs, each once: a pod has an entry for each of its containers.
func pathsOf(entries []registrar.Entry) string {
	var out []string
	for _, e := range entries {
		if path := e.SPIFFEID.Path(); !slices.Contains(out, path) {
			out = append(out, path)
		}
	}
	if more := len(out) - manyPaths; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(out[:manyPaths], ", "), more)
	}
	return strings.Join(out, ", ")
}

// flagsOf lists the flags that entries have, as the paths to add to the lists of policy-data.json.
func flagsOf(entries []registrar.Entry) []string {
	var out []string
	for _, e := range entries {
		for _, flag := range []struct {
			name string
			set  bool
		}{{"admin", e.Admin}, {"downstream", e.Downstream}, {"store_svid", e.StoreSVID}} {
			if path := fmt.Sprintf("%q under %q", e.SPIFFEID.Path(), flag.name); flag.set && !slices.Contains(out, path) {
				out = append(out, path)
			}
		}
	}
	return out
}

// nonsense is about an answer that no SPIRE server gives.
func (c *call) nonsense(format string, args ...any) error {
	return &registrar.Error{
		Kind: registrar.Failed,
		Message: fmt.Sprintf(
			"the SPIRE server at %s answers %s with %s: check that the address is that of a SPIRE server of version 1.5 or newer",
			c.client.server,
			c.method,
			fmt.Sprintf(format, args...),
		),
	}
}

func (c *call) ifTLS(s string) string {
	if c.client.identity == nil {
		return ""
	}
	return s
}

// kindOf maps the codes that SPIRE and gRPC use.
func kindOf(st *status.Status) registrar.Kind {
	if databaseAway(st) {
		return registrar.Unavailable
	}
	switch st.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted, codes.ResourceExhausted:
		return registrar.Unavailable
	case codes.PermissionDenied, codes.Unauthenticated:
		return registrar.Denied
	case codes.InvalidArgument:
		return registrar.Invalid
	default:
		return registrar.Failed
	}
}
