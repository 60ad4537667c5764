package charts

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/install"
)

func tellSPIRE(ctx context.Context, d demo) (any, error) {
	d.Story.Say("A certificate authority that you have already, here one made for the demo, signs that of SPIRE. It is in a Secret:")
	if err := d.secret(ctx); err != nil {
		return nil, err
	}
	_, seconds, err := d.run(ctx, "install", spireRelease, spireChart, "--namespace", spireNamespace, "--values", spireValues, "--wait", "--timeout", "3m")
	if err != nil {
		return nil, err
	}
	d.Story.Checked("the server has its volume, agents run on every node, all ready, after %.1f s", seconds)
	if err := d.trusts(ctx); err != nil {
		return nil, err
	}
	d.Story.Say("The injector needs an identity of its own, once for each volume or database of SPIRE. Helm has no part in this: what it gives is " +
		"in SPIRE, not in Kubernetes.")
	if err := d.ran(ctx, entryCommand()); err != nil {
		return nil, err
	}
	return struct {
		Seconds float64 `json:"seconds"`
	}{seconds}, nil
}

// secret makes the Secret of the upstream authority.
func (d demo) secret(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "authority-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	if err := writeAuthority(folder); err != nil {
		return err
	}
	command := func(crt, key string) scene.Command {
		return scene.In(spireNamespace, "create", "secret", "tls", upstreamSecret, "--cert", crt, "--key", key)
	}
	r, err := d.Scene.Run(ctx, command(filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")))
	r.Command = command("tls.crt", "tls.key")
	d.Show(r)
	return err
}

// trusts checks that what agents trust is the upstream authority.
func (d demo) trusts(ctx context.Context) error {
	bundle, err := install.Server(ctx, d.Scene.K, "bundle", "show", "-format", "pem")
	if err != nil {
		return err
	}
	names, err := subjects(bundle)
	if err != nil {
		return err
	}
	if !slices.Contains(names, upstreamName) {
		return &scene.Mismatch{What: "SPIRE's bundle", Expected: upstreamName, Got: strings.Join(names, ", ")}
	}
	d.Story.Checked("SPIRE's bundle is %s", upstreamName)
	return nil
}

// entryCommand is the command of README.md that gives the injector its identity.
func entryCommand() scene.Command {
	return scene.In(spireNamespace, "exec", "spire-server-0", "--", "/opt/spire/bin/spire-server", "entry", "create",
		"-socketPath", "/run/spire/private/api.sock", "-data", "/etc/spire/injector-entries.json")
}
