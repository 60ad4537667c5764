package parts

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Browser is Chromium without a window, with the libraries that this machine lacks and fonts of its own, unpacked from
// its distribution's packages: 100 MB to fetch and 300 MB in the cache, more where libraries of a desktop are missing.
type Browser struct {
	Program string
	Env     []string // that it needs
}

// browserPackages are the smallest Chromium that draws, and what it writes with: a machine without fonts shows no text.
var browserPackages = []string{"chromium-headless-shell", "fonts-dejavu-core"}

// fonts has every machine draw the same letters.
const fonts = `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
<dir prefix="relative">tree/usr/share/fonts</dir>
<cachedir prefix="xdg">fontconfig</cachedir>
<alias><family>system-ui</family><prefer><family>DejaVu Sans</family></prefer></alias>
<alias><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias>
<alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
`

// EnsureBrowser provides a browser as [Ensure] provides the programs of a scope, on Debian. On a machine without
// apt-get the one on PATH is used.
func EnsureBrowser(ctx context.Context, cache Cache, progress io.Writer) (Browser, error) {
	p, err := distributionPart(cache, "chromium", "Chromium", func(ctx context.Context, stage string) error {
		if err := unpack(ctx, stage, browserPackages); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(stage, "fonts.conf"), []byte(fonts), 0o644)
	})
	if err != nil {
		if onPath, pathErr := exec.LookPath(browserPackages[0]); pathErr == nil {
			return Browser{Program: onPath}, nil
		}
		return Browser{}, fmt.Errorf("PATH lacks %s: %w", browserPackages[0], err)
	}
	tree := filepath.Join(p.dir, "tree")
	// libpulse looks for a part of itself at a fixed place, which is none in the cache.
	env := []string{"LD_LIBRARY_PATH=" + filepath.Join(tree, "usr/lib", multiarch(), "pulseaudio")}
	return Browser{
		Program: filepath.Join(tree, "usr/lib/chromium", browserPackages[0]),
		Env:     append(withLibraries(env, tree), "FONTCONFIG_FILE="+filepath.Join(p.dir, "fonts.conf")),
	}, provide(ctx, cache, []part{p}, progress)
}
