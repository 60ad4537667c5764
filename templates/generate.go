package templates

import "fmt"

// Config is what Envoy reads: one JSON document per file of [ConfigDir], compact, and byte for byte the
// same for the same [Proxy].
type Config struct {
	Bootstrap     string // BootstrapFile
	Listeners     string // ListenersFile
	Clusters      string // ClustersFile
	Authorization string // AuthorizationFile
	Certificate   string // CertificateFile; empty if no port shows a Secret's certificate
}

// Generate makes the configuration of p's Envoy, or says everything that is wrong with p.
func Generate(p Proxy) (Config, error) {
	if err := p.validate(); err != nil {
		return Config{}, fmt.Errorf("cannot configure Envoy: %w", err)
	}
	var out Config
	var err error
	if out.Bootstrap, err = encode(p.bootstrap()); err != nil {
		return Config{}, err
	}
	if out.Listeners, err = encodeResources(p.listeners()); err != nil {
		return Config{}, err
	}
	if out.Clusters, err = encodeResources(p.clusters()); err != nil {
		return Config{}, err
	}
	if out.Authorization, err = encodeResources(p.authorization()); err != nil {
		return Config{}, err
	}
	if p.usesCertificate() {
		if out.Certificate, err = encodeResources(p.certificate()); err != nil {
			return Config{}, err
		}
	}
	return out, nil
}
