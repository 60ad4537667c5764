package templates

import (
	"errors"
	"fmt"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Config is what Envoy reads: one document per file of [ConfigDir], YAML as short as [short] makes it, or compact JSON
// for [ir.Proxy.JSONFiles]. It is byte for byte the same for the same [ir.Proxy].
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
	if out.Bootstrap, err = e.file(e.bootstrap()); err != nil {
		return Config{}, err
	}
	if out.Listeners, err = e.file(resources(e.listeners())); err != nil {
		return Config{}, err
	}
	if out.Clusters, err = e.file(resources(e.clusters())); err != nil {
		return Config{}, err
	}
	if out.Authorization, err = e.file(resources(e.authorization())); err != nil {
		return Config{}, err
	}
	if p.UsesCertificate() {
		if out.Certificate, err = e.file(resources(secretCertificateFiles())); err != nil {
			return Config{}, err
		}
	}
	for n, secret := range p.CASecrets() {
		if out.CAs[n], err = e.file(resources(caFile(secret))); err != nil {
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
