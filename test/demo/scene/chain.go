package scene

import (
	"context"
	"fmt"
	"regexp"
)

var intermediate = regexp.MustCompile(`(?m)^Intermediate #[0-9]+ Valid After:`)

// Between wants a number of authorities between the X.509-SVID of a workload and the root.
func (s Scene) Between(ctx context.Context, w Workload, wanted int) error {
	r, err := s.Run(ctx, w.Command("fetch", "x509"))
	if err == nil && len(intermediate.FindAllString(r.Stdout, -1)) != wanted {
		err = &Mismatch{What: r.Command.String(), Expected: fmt.Sprintf("%d authorities between the SVID and the root", wanted), Got: r.Output()}
	}
	return err
}
