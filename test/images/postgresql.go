package images

import (
	"context"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// ForPostgreSQL returns the archive of PostgreSQL's server. On its PATH are postgres, initdb and pg_isready, which
// other images of it have as well, and a shell.
func ForPostgreSQL(ctx context.Context, cache parts.Cache, progress io.Writer) ([]Archive, error) {
	postgres, err := parts.EnsurePostgreSQL(ctx, cache, progress)
	if err != nil {
		return nil, err
	}
	programs, err := parts.Ensure(ctx, cache, parts.ForImages, progress)
	if err != nil {
		return nil, err
	}
	busybox, err := filepath.EvalSymlinks(filepath.Join(programs.System.Bin, "busybox"))
	if err != nil {
		return nil, err
	}
	image, err := postgreSQLImage(postgres, busybox)
	if err != nil {
		return nil, err
	}
	return writeAll(ctx, cache, []Image{image})
}

func postgreSQLImage(postgres parts.PostgreSQL, busybox string) (Image, error) {
	folders := make([]string, 0, 2*len(libraryFolders))
	for _, folder := range libraryFolders {
		folders = append(folders, filepath.Join(postgres.Tree, folder))
	}
	folders = append(folders, libraryFolders...)
	home := "/usr/lib/postgresql/" + postgres.Version
	entries := []Entry{
		temporary(),
		// initdb wants a name for its user, and starts postgres by a shell.
		{Path: "/etc/passwd", Text: "postgres:x:" + nonRoot + "::/:/bin/sh\n"},
		{Path: "/bin/sh", Source: busybox},
		// What initdb always creates: a language, and dictionaries for searching text.
		{Path: home + "/lib/plpgsql.so", Source: filepath.Join(postgres.Tree, home, "lib/plpgsql.so")},
		{Path: home + "/lib/dict_snowball.so", Source: filepath.Join(postgres.Tree, home, "lib/dict_snowball.so")},
	}
	for _, name := range []string{"postgres", "initdb", "pg_isready"} {
		path := home + "/bin/" + name
		program := Entry{Path: path, Source: filepath.Join(postgres.Tree, path)}
		libraries, err := librariesOf(program.Source, folders)
		if err != nil {
			return Image{}, err
		}
		// It finds what belongs to it by the folder in which it lies, links resolved.
		entries = append(entries, program, Entry{Path: "/usr/local/bin/" + name, Link: path})
		entries = append(entries, libraries...)
	}
	share, err := filesBelow(filepath.Join(postgres.Tree, "usr/share/postgresql", postgres.Version))
	if err != nil {
		return Image{}, err
	}
	return Image{Name: PostgreSQL, Entries: inImage(postgres.Tree, append(entries, share...)), Entrypoint: []string{"postgres"}, User: nonRoot}, nil
}

// inImage takes the folder that stands for the root out of the entries' paths. Of entries with one path the first
// stays: two programs need the same libraries.
func inImage(root string, entries []Entry) []Entry {
	var out []Entry
	seen := map[string]bool{}
	for _, e := range entries {
		e.Path = strings.TrimPrefix(e.Path, root)
		if !seen[e.Path] {
			seen[e.Path] = true
			out = append(out, e)
		}
	}
	return out
}

// filesBelow are the files in a folder, as entries at the paths where they lie on this machine.
func filesBelow(folder string) ([]Entry, error) {
	var entries []Entry
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			entries = append(entries, Entry{Path: path, Source: path, Mode: 0o644})
		}
		return err
	})
	return entries, err
}
