package scene

import (
	"context"
	"strings"
)

// Denial is how the API server refused a command.
type Denial struct {
	Ran     Ran    `json:"-"`
	Message string `json:"refused"`
}

// Denied runs a command that has to be refused, with because in the message.
func (s Scene) Denied(ctx context.Context, c Command, because string) (Denial, error) {
	r, err := s.Try(ctx, c)
	d := Denial{Ran: r, Message: strings.TrimSpace(r.Stderr)}
	if err == nil && (!r.Failed || !strings.Contains(d.Message, because)) {
		err = &Mismatch{What: c.String(), Expected: "to be refused, with " + because, Got: r.Output()}
	}
	return d, err
}
