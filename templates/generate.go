package templates

import (
	"errors"
	"fmt"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Config is what Envoy reads: one JSON document per file of [ConfigDir], compact, and byte for byte the
// same for the same [ir.Proxy].
type Config struct {
	Bootstrap     string // BootstrapFile
	Listeners     string // ListenersFile
	Clusters      string // ClustersFile
	Authorization string // AuthorizationFile
	Certificate   string // CertificateFile; empty if no port shows a Secret's certificate
	// CAs are each a CAFile, empty if there is no such Secret.
	CAs [ir.MaxCASecrets]string
}

// envoy is the proxy that is configured. It breaks no rule.
type envoy struct{ ir.Proxy }

// Generate makes the configuration of p's Envoy. A proxy that breaks a rule is nobody's to run: the error lists all
// that [ir.Proxy.Validate] finds.
func Generate(p ir.Proxy) (Config, error) {
	if problems := p.Validate(); len(problems) > 0 {
		return Config{}, fmt.Errorf("cannot configure Envoy: %w", invalid(problems))
	}
	e := envoy{p}
	var out Config
	var err error
	if out.Bootstrap, err = encode(e.bootstrap()); err != nil {
		return Config{}, err
	}
	if out.Listeners, err = encodeResources(e.listeners()); err != nil {
		return Config{}, err
	}
	if out.Clusters, err = encodeResources(e.clusters()); err != nil {
		return Config{}, err
	}
	if out.Authorization, err = encodeResources(e.authorization()); err != nil {
		return Config{}, err
	}
	if p.UsesCertificate() {
		if out.Certificate, err = encodeResources(secretCertificateFiles()); err != nil {
			return Config{}, err
		}
	}
	for n, secret := range p.CASecrets() {
		if out.CAs[n], err = encodeResources(caFile(secret)); err != nil {
			return Config{}, err
		}
	}
	return out, nil
}

func invalid(problems []ir.Problem) error {
	errs := make([]error, len(problems))
	for i, problem := range problems {
		errs[i] = errors.New(problem.String())
	}
	return errors.Join(errs...)
}
