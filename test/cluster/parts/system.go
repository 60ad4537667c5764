package parts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// System are the programs that come ready made: containerd, ctr, runc, ip, iptables and busybox.
//
// On Debian and its relatives they are unpacked from the distribution's packages into the cache, never installed:
// the machine's own containerd or Docker, if there is one, neither notices nor is in the way. Elsewhere those on
// PATH are used.
type System struct {
	Bin string   // folder that has them all
	Env []string // environment that they need, beside PATH
}

var (
	systemPackages = []string{"containerd", "runc", "iptables", "iproute2", "busybox-static"}
	systemPrograms = []string{"containerd", "containerd-shim-runc-v2", "ctr", "runc", "ip", "iptables", "iptables-save",
		"iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore", "busybox"}
)

func planSystem(cache Cache) (System, *part, error) {
	release, err := os.ReadFile(releaseFile)
	if err != nil {
		return System{}, nil, fmt.Errorf("find out which Linux this is: %w", err)
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return planFromPath(cache)
	}
	dir := filepath.Join(cache.Dir, "parts", "system-"+osName(string(release))+"-"+Key(append(slices.Clone(systemPackages), string(release))...))
	tree := filepath.Join(dir, "tree")
	var libs []string
	for _, lib := range []string{"lib", "usr/lib"} {
		libs = append(libs, filepath.Join(tree, lib, multiarch()))
	}
	system := System{
		Bin: filepath.Join(dir, "bin"),
		Env: []string{
			"LD_LIBRARY_PATH=" + strings.Join(libs, ":"),
			"XTABLES_LIBDIR=" + filepath.Join(tree, "usr/lib", multiarch(), "xtables"),
		},
	}
	return system, &part{
		what:    "fetching " + strings.Join(systemPackages, ", ") + " from this distribution's packages",
		dir:     dir,
		produce: unpackSystem,
	}, nil
}

// distributionPart is what the packages of Debian, or of a relative of it, have: the key is a part of its folder's name.
func distributionPart(cache Cache, key, what string, produce func(ctx context.Context, stage string) error) (part, error) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return part{}, fmt.Errorf("%s comes from the packages of Debian or a relative of it, which this is not: install it, or apt-get: %w", what, err)
	}
	release, err := os.ReadFile(releaseFile)
	if err != nil {
		return part{}, fmt.Errorf("find out which Linux this is: %w", err)
	}
	return part{
		what:    "fetching " + what + " from this distribution's packages",
		dir:     filepath.Join(cache.Dir, "parts", key+"-"+osName(string(release))+"-"+Key(string(release))),
		produce: produce,
	}, nil
}

// releaseFile says which Linux this is.
const releaseFile = "/etc/os-release"

// osName makes a file name part such as debian-12 of an os-release file.
func osName(release string) string {
	field := func(key string) string {
		for line := range strings.Lines(release) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
				return strings.Trim(v, `"`)
			}
		}
		return "unknown"
	}
	return field("ID") + "-" + field("VERSION_ID")
}

func unpackSystem(ctx context.Context, stage string) error {
	if err := unpack(ctx, stage, systemPackages); err != nil {
		return err
	}
	return linkSystem(stage)
}

// unpack fetches packages, and those of their dependencies that this machine lacks, and unpacks all into stage/tree.
func unpack(ctx context.Context, stage string, packages []string) error {
	return unpackFetched(ctx, stage, func(archives string) command {
		return apt("", append([]string{"--yes", "--no-install-recommends", "--reinstall", "--download-only",
			"--option", "Dir::Cache::archives=" + archives, "--option", "Debug::NoLocking=true", "install"}, packages...))
	})
}

// unpackAlone is unpack without dependencies, for packages that do what tests need without them. Nor does it fetch
// others that belong to a package and that this machine has in an older version.
func unpackAlone(ctx context.Context, stage string, packages []string) error {
	return unpackFetched(ctx, stage, func(archives string) command {
		return apt(archives, append([]string{"download"}, packages...))
	})
}

// apt is apt-get, which only fetches.
func apt(dir string, args []string) command {
	return command{
		dir:  dir,
		env:  []string{"DEBIAN_FRONTEND=noninteractive"},
		argv: append([]string{"apt-get", "--option", "APT::Sandbox::User=root"}, args...),
	}
}

// unpackFetched unpacks the packages that a command puts into a folder.
func unpackFetched(ctx context.Context, stage string, fetch func(archives string) command) error {
	archives := filepath.Join(stage, "archives")
	if err := os.MkdirAll(filepath.Join(archives, "partial"), 0o755); err != nil {
		return err
	}
	if err := download(ctx, fetch(archives)); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil || len(files) == 0 {
		return errors.Join(err, fmt.Errorf("apt-get left no package in %s", archives))
	}
	tree := filepath.Join(stage, "tree")
	for _, file := range files {
		if _, err := (command{argv: []string{"dpkg-deb", "--extract", file, tree}}).run(ctx); err != nil {
			return err
		}
	}
	return os.RemoveAll(archives)
}

func download(ctx context.Context, fetch command) error {
	_, err := fetch.run(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	// Most often the package lists are missing or old.
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w\nthe package lists may be old: run `apt-get update` as root, then this again", err)
	}
	if _, updateErr := (command{argv: []string{"apt-get", "update"}}).run(ctx); updateErr != nil {
		return errors.Join(err, updateErr)
	}
	_, err = fetch.run(ctx)
	return err
}

// defaultVersion tells which version of something a distribution takes by default: that of the package on which a
// package without files depends, between prefix and suffix of its name. The lists of packages have to be there.
func defaultVersion(ctx context.Context, of, prefix, suffix string) (string, error) {
	depends, err := command{env: []string{"LC_ALL=C"}, argv: []string{"apt-cache", "depends", of}}.run(ctx)
	if err != nil {
		return "", err
	}
	return versionIn(depends, prefix, suffix)
}

// versionIn finds the version in what apt-cache says of a package's dependencies.
func versionIn(depends, prefix, suffix string) (string, error) {
	for line := range strings.Lines(depends) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "+prefix)
		if version, also := strings.CutSuffix(name, suffix); ok && also {
			return version, nil
		}
	}
	return "", fmt.Errorf("apt-cache: expected a dependency on %sVERSION%s, got\n%s", prefix, suffix, depends)
}

// linkSystem gathers the programs of stage/tree in stage/bin.
func linkSystem(stage string) error {
	bin := filepath.Join(stage, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	for _, name := range systemPrograms {
		file := name
		if strings.HasPrefix(name, "iptables") || strings.HasPrefix(name, "ip6tables") {
			file = "xtables-nft-multi" // which looks at the name it is called by; no installer script makes those links here
		}
		found := ""
		for _, folder := range []string{"usr/sbin", "usr/bin", "sbin", "bin"} {
			if exists(filepath.Join(stage, "tree", folder, file)) {
				found = filepath.Join("..", "tree", folder, file)
				break
			}
		}
		if found == "" {
			return fmt.Errorf("none of the packages %s contains %s", strings.Join(systemPackages, ", "), file)
		}
		if err := os.Symlink(found, filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	return nil
}

// planFromPath is for machines that are no Debian.
func planFromPath(cache Cache) (System, *part, error) {
	var found, lacking []string
	for _, name := range systemPrograms {
		path, err := exec.LookPath(name)
		if err != nil {
			lacking = append(lacking, name)
			continue
		}
		found = append(found, path)
	}
	if len(lacking) > 0 {
		return System{}, nil, fmt.Errorf("this is not Debian or a relative of it (there is no apt-get) and PATH lacks %s: install them",
			strings.Join(lacking, ", "))
	}
	dir := filepath.Join(cache.Dir, "parts", "system-path-"+Key(found...))
	return System{Bin: dir}, &part{
		what: "collecting " + strings.Join(systemPrograms, ", ") + " from PATH",
		dir:  dir,
		produce: func(_ context.Context, stage string) error {
			for _, path := range found {
				if err := os.Symlink(path, filepath.Join(stage, filepath.Base(path))); err != nil {
					return err
				}
			}
			return nil
		},
	}, nil
}
