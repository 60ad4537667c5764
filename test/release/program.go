package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// platform is one that programs are built for.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

// file is the name of p's program.
func (p platform) file() string { return program + "-" + p.os + "-" + p.arch }

// platforms are where the command runs: clusters, and the machines of people who look at them.
func platforms() []platform {
	return []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "arm64"}}
}

// ofImages says whether there is an image for p: containers run Linux.
func (p platform) ofImages() bool { return p.os == "linux" }

func imagePlatforms() string {
	var names []string
	for _, p := range platforms() {
		if p.ofImages() {
			names = append(names, p.String())
		}
	}
	return strings.Join(names, ", ")
}

// build cross-compiles the program into a file. Nothing of this machine goes into it: neither paths nor the
// environment.
func (r release) build(ctx context.Context, p platform, file string) error {
	// What Go itself finds out of git depends on the kind of checkout.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X main.version="+r.source.version+" -X main.commit="+r.source.commit, "-o", file, r.main)
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), "GOOS="+p.os, "GOARCH="+p.arch, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOAMD64=v1", "GOARM64=v8.0",
		"GOEXPERIMENT=", "GOFIPS140=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}
