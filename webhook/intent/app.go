package intent

import (
	"encoding/json"
	"fmt"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// app reads where the app listens: a port on 127.0.0.1, or an address of the pod with its port. It may be left out.
func (f *fieldErrors) app(written json.RawMessage) (ir.AppHost, uint16) {
	switch {
	case len(written) == 0 || string(written) == "null":
		return "", 0
	case written[0] == '"':
		text, err := decode[string](written)
		if err != nil {
			f.add(".app", err)
			return "", 0
		}
		host, port, err := ir.ParseApp(text)
		f.add(".app", err)
		return host, port
	}
	number, err := decode[int](written)
	if err != nil {
		f.add(".app", fmt.Errorf(`expected a port such as 8080, or an address such as "[::1]:8080" or "podIP:8080", got %.60s`,
			written))
		return "", 0
	}
	return "", f.port(".app", &number)
}
