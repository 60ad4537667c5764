package images

import (
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// librariesOf returns the loader of a dynamic program and every library that it needs, directly or not, as entries at
// the paths where they lie on this machine: there the loader looks for them.
func librariesOf(program string, folders []string) ([]Entry, error) {
	loader, needed, err := dependencies(program)
	if err != nil {
		return nil, err
	}
	if loader == "" {
		return nil, nil // static
	}
	entries := []Entry{{Path: loader, Source: loader}}
	seen := map[string]bool{filepath.Base(loader): true}
	for len(needed) > 0 {
		lib := needed[0]
		needed = needed[1:]
		if seen[lib] {
			continue
		}
		seen[lib] = true
		path, err := find(lib, folders)
		if err != nil {
			return nil, fmt.Errorf("%s needs %s: %w", program, lib, err)
		}
		entries = append(entries, Entry{Path: path, Source: path})
		_, more, err := dependencies(path)
		if err != nil {
			return nil, err
		}
		needed = append(needed, more...)
	}
	return entries, nil
}

func find(lib string, folders []string) (string, error) {
	for _, folder := range folders {
		path := filepath.Join(folder, lib)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("not found in %s", strings.Join(folders, ", "))
}

// libraryFolders is where loaders of the usual distributions look without being told.
var libraryFolders = []string{
	"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
	"/lib64", "/usr/lib64", "/lib", "/usr/lib",
}

func dependencies(program string) (loader string, libraries []string, err error) {
	f, err := elf.Open(program)
	if err != nil {
		return "", nil, fmt.Errorf("read the program %s: %w", program, err)
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		data, err := io.ReadAll(p.Open())
		if err != nil {
			return "", nil, fmt.Errorf("read the loader's name in %s: %w", program, err)
		}
		loader = strings.TrimRight(string(data), "\x00")
	}
	libraries, err = f.ImportedLibraries()
	if err != nil {
		return "", nil, fmt.Errorf("read the libraries that %s needs: %w", program, err)
	}
	return loader, libraries, nil
}
