package intent

import "github.com/spire-injector/spire-injector/templates/ir"

// minTLSVersionField is the platform's default of what an item of the inbound annotation says.
var minTLSVersionField = platformField{
	name:     "minTLSVersion",
	doc:      `oldest TLS version of public ports that name none, "1.2" or "1.3"; callers with an SVID always speak 1.3`,
	standard: `"1.3"`,
	schema:   enumSchema(ir.TLSVersions()...),
	parse: one(func(p *Platform, v string) (err error) {
		p.MinTLS, err = ir.ParseTLSVersion(v)
		return err
	}),
}

// readTLSVersion reads the oldest version of TLS of a listener. What callers present has been read.
func (r *reader) readTLSVersion(f *fieldErrors, written scalar, in *ir.Inbound) {
	if written == "" {
		if in.TakesOlderTLS() {
			in.MinTLS = r.platform.MinTLS
		}
		return
	}
	var err error
	in.MinTLS, err = ir.ParseTLSVersion(string(written))
	f.add(".minTLSVersion", err)
}
