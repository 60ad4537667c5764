package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// Names of the images, as manifests use them.
const (
	Pause       = "spire-injector/pause:1"
	CoreDNS     = "coredns/coredns:1.12.4"
	Busybox     = "spire-injector/busybox:1"
	SPIREServer = "spiffe/spire-server:1.15.3"
	SPIREAgent  = "spiffe/spire-agent:1.15.3"
	Envoy       = "envoyproxy/envoy:v1.40.0"
	Injector    = "spire-injector/spire-injector:dev"
	Sample      = "spire-injector/sample:dev"
	PodTool     = "spire-injector/podtool:dev" // of the tests: it has /podtool and /sample
)

// System returns the archives without which no pod runs: the pods' own process, and the name server. They belong to
// the test cluster and are of no use elsewhere.
func System(ctx context.Context, cache parts.Cache, programs parts.Programs, progress io.Writer) ([]Archive, error) {
	pause, err := parts.BuildOwn(ctx, cache, "./test/images/pause", progress)
	if err != nil {
		return nil, err
	}
	return writeAll(ctx, cache, []Image{
		{Name: Pause, Entries: []Entry{{Path: "/pause", Source: pause}}, Entrypoint: []string{"/pause"}, User: "65535:65535"},
		{Name: CoreDNS, Entries: []Entry{{Path: "/coredns", Source: programs.CoreDNS}}, Entrypoint: []string{"/coredns"}},
	})
}

// Build returns the archives of everything that demos and end-to-end tests run, on whatever cluster: what [Foreign]
// and [Own] return.
func Build(ctx context.Context, cache parts.Cache, programs parts.Programs, progress io.Writer) ([]Archive, error) {
	foreign, err := Foreign(ctx, cache, programs)
	if err != nil {
		return nil, err
	}
	own, err := Own(ctx, cache, progress)
	return append(foreign, own...), err
}

// Foreign returns the archives of programs that are not the project's: SPIRE, Envoy, and a busybox to look around with.
func Foreign(ctx context.Context, cache parts.Cache, programs parts.Programs) ([]Archive, error) {
	envoy, err := envoyImage(programs.Envoy)
	if err != nil {
		return nil, err
	}
	busybox, err := busyboxImage(ctx, filepath.Join(programs.System.Bin, "busybox"))
	if err != nil {
		return nil, err
	}
	return writeAll(ctx, cache, []Image{
		spire(SPIREServer, "spire-server", programs.SPIREServer),
		spire(SPIREAgent, "spire-agent", programs.SPIREAgent),
		envoy,
		busybox,
	})
}

// Own builds the project's programs from the working tree and returns their archives.
func Own(ctx context.Context, cache parts.Cache, progress io.Writer) ([]Archive, error) {
	programs := map[string]string{}
	for _, pkg := range []string{"./cmd/spire-injector", "./cmd/sample", "./test/podtool"} {
		program, err := parts.BuildOwn(ctx, cache, pkg, progress)
		if err != nil {
			return nil, err
		}
		programs[pkg] = program
	}
	sample := programs["./cmd/sample"]
	podTool := ownImage(PodTool, "/podtool", programs["./test/podtool"])
	podTool.Entries = append(podTool.Entries, Entry{Path: "/sample", Source: sample})
	return writeAll(ctx, cache, []Image{
		InjectorOf(Injector, programs["./cmd/spire-injector"]),
		ownImage(Sample, "/sample", sample),
		podTool,
	})
}

func writeAll(ctx context.Context, cache parts.Cache, all []Image) ([]Archive, error) {
	archives := make([]Archive, len(all))
	group, ctx := errgroup.WithContext(ctx)
	for n, image := range all {
		group.Go(func() (err error) {
			archives[n], err = write(ctx, filepath.Join(cache.Dir, "images"), image)
			return err
		})
	}
	return archives, group.Wait()
}

func ownImage(name, path, program string) Image {
	return Image{Name: name, Entries: []Entry{{Path: path, Source: program}, temporary()}, Entrypoint: []string{path}, User: nonRoot}
}

// spire has the layout and the entry point of the images that the SPIRE project publishes, so that manifests for those
// run with these. The user is root: the agent looks into other processes, and the server's volumes belong to root.
func spire(name, program, source string) Image {
	path := "/opt/spire/bin/" + program
	return Image{Name: name, Entries: []Entry{{Path: path, Source: source}, {Path: "/run/spire", Dir: true}, temporary()},
		Entrypoint: []string{path, "run"}}
}

// envoyImage has no user of its own: the sidecar runs as whatever user the injection chose.
func envoyImage(program string) (Image, error) {
	libraries, err := librariesOf(program, libraryFolders)
	if err != nil {
		return Image{}, err
	}
	entries := append([]Entry{{Path: "/usr/local/bin/envoy", Source: program}, {Path: "/etc/envoy", Dir: true}, temporary()}, libraries...)
	return Image{Name: Envoy, Entries: entries, Entrypoint: []string{"/usr/local/bin/envoy"}}, nil
}

func busyboxImage(ctx context.Context, program string) (Image, error) {
	list, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return Image{}, fmt.Errorf("ask %s for its applets: %w", program, errors.Join(err, ctx.Err()))
	}
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		return Image{}, err
	}
	entries := []Entry{{Path: "/bin/busybox", Source: real}, {Path: "/root", Dir: true}, temporary()}
	for applet := range strings.FieldsSeq(string(list)) {
		if applet != "busybox" {
			entries = append(entries, Entry{Path: "/bin/" + applet, Link: "busybox"})
		}
	}
	return Image{Name: Busybox, Entries: entries}, nil
}

func temporary() Entry {
	return Entry{Path: "/tmp", Dir: true, Mode: 0o777 | fs.ModeSticky}
}
