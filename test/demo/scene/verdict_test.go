package scene

import (
	"strings"
	"testing"
)

// Each script prints what SPIRE 1.15.3's client prints behind kubectl exec.
func TestVerdicts(t *testing.T) {
	const id = "spiffe://example.org/a"
	for what, tt := range map[string]struct {
		script string
		id     string // whose token it is, if it is valid
		why    string // it is not valid
		err    string // there is no verdict
	}{
		"valid": {script: "printf 'SVID is valid.\nSPIFFE ID : " + id + "\nClaims    : {}\n'", id: id},
		"for another audience": {
			script: `echo 'SVID is not valid: expected audience in ["b"] (audience=["a"])
command terminated with exit code 1' >&2; exit 1`, why: `expected audience in ["b"] (audience=["a"])`,
		},
		"an agent that is away": {
			script: `echo 'unable to validate JWT SVID: rpc error: code = Unavailable
command terminated with exit code 1' >&2; exit 1`, err: "code = Unavailable",
		},
		"no pod":              {script: "echo 'Error from server (NotFound)' >&2; exit 1", err: "(NotFound)"},
		"nothing":             {script: "exit 0", err: "got nothing"},
		"valid, of nobody":    {script: "echo 'SVID is valid.'", err: "got SVID is valid."},
		"valid, and it fails": {script: "printf 'SVID is valid.\nSPIFFE ID : " + id + "\n'; exit 1", err: "got SVID is valid."},
	} {
		t.Run(what, func(t *testing.T) {
			v, err := sceneWith(t, tt.script).ValidateJWT(t.Context(), Workload{"demo", "a", "workload"}, "secret", "b")
			if v.ID != tt.id || v.Refused != tt.why || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got the token of %q, refused %q, error %v", v.ID, v.Refused, err)
			}
			if strings.Contains(v.Ran.Command.String(), "secret") {
				t.Errorf("the token is in the command that is shown: %s", v.Ran.Command)
			}
			if valid := v.Valid(id) == nil; valid != (tt.id != "") {
				t.Errorf("valid: %t", valid)
			}
			if v.Valid("spiffe://example.org/b") == nil {
				t.Error("valid as a token of another")
			}
			if invalid := v.Invalid("expected audience") == nil; invalid != (tt.why != "") {
				t.Errorf("invalid: %t", invalid)
			}
			if v.Invalid("expired") == nil {
				t.Error("invalid for another reason than it is")
			}
		})
	}
}
