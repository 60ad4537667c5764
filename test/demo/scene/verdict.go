package scene

import (
	"context"
	"slices"
	"strings"
)

// Verdict is what an agent says about a token.
type Verdict struct {
	Ran Ran
	// ID is whose token it is, if it is valid.
	ID string
	// Refused is why it is not valid.
	Refused string
}

// ValidateJWT asks the agent of a workload about a token. That the agent gives no verdict is an error, and no refusal.
func (s Scene) ValidateJWT(ctx context.Context, w Workload, token, audience string) (Verdict, error) {
	c := w.Command("validate", "jwt", "-audience", audience, "-svid", token)
	r, err := s.Try(ctx, c)
	// Nobody reads a token; whoever types along writes it there.
	r.Command.Args = slices.Clone(c.Args)
	r.Command.Args[slices.Index(c.Args, token)] = "TOKEN"
	if err != nil {
		return Verdict{Ran: r}, err
	}
	return parseVerdict(r)
}

// parseVerdict reads what "validate jwt" prints: "SVID is valid." and the ID, or "SVID is not valid:" and why.
func parseVerdict(r Ran) (Verdict, error) {
	v := Verdict{Ran: r}
	first, rest, _ := strings.Cut(r.Output(), "\n")
	second, _, _ := strings.Cut(rest, "\n")
	id, valid := strings.CutPrefix(second, "SPIFFE ID : ")
	why, refused := strings.CutPrefix(first, "SVID is not valid: ")
	switch {
	case !r.Failed && first == "SVID is valid." && valid:
		v.ID = id
	case r.Failed && refused:
		v.Refused = why
	default:
		return v, &Mismatch{What: r.Command.String(), Expected: "a valid SVID, or why it is not valid", Got: r.Output()}
	}
	return v, nil
}

// Valid is an error unless the token is valid and that of id.
func (v Verdict) Valid(id string) error {
	if v.ID == id {
		return nil
	}
	return &Mismatch{What: v.Ran.Command.String(), Expected: "the token of " + id + " to be valid", Got: v.Ran.Output()}
}

// Invalid is an error unless the token is refused, with because in the reason.
func (v Verdict) Invalid(because string) error {
	if v.Refused != "" && strings.Contains(v.Refused, because) {
		return nil
	}
	return &Mismatch{What: v.Ran.Command.String(), Expected: "the token to be refused, with " + because, Got: v.Ran.Output()}
}
