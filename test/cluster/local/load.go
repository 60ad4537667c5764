package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/images"
)

// loader brings archives into a running cluster's containerd, through its socket as seen from outside.
type loader struct {
	ctr      string
	env      []string
	socket   string
	record   string // what is loaded: archive path by image name
	progress io.Writer
}

func newLoader(l layout, p parts.Programs, init process, progress io.Writer) loader {
	return loader{
		ctr: filepath.Join(p.System.Bin, "ctr"), env: p.System.Env, record: l.loaded(), progress: progress,
		socket: filepath.Join("/proc", strconv.Itoa(init.PID), "root", containerdSocket),
	}
}

// parallelLoads is how many archives are unpacked at once; more only makes the rest of the cluster wait.
const parallelLoads = 2

// load loads those of archives that are new or changed since they were last loaded.
func (l loader) load(ctx context.Context, archives []images.Archive) error {
	loaded, err := l.loadedBefore()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLoads)
	for _, a := range archives {
		if loaded[a.Name] == a.Path {
			continue
		}
		group.Go(func() error {
			if err := l.importFile(ctx, a.Path); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			loaded[a.Name] = a.Path
			data, err := json.Marshal(loaded)
			if err != nil {
				return err
			}
			fmt.Fprintf(l.progress, "loaded %s\n", a.Name)
			return writeWhole(l.record, data)
		})
	}
	return group.Wait()
}

func (l loader) loadedBefore() (map[string]string, error) {
	data, err := os.ReadFile(l.record)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	loaded := map[string]string{}
	if err := json.Unmarshal(data, &loaded); err != nil {
		return nil, fmt.Errorf("read %s: %w", l.record, err)
	}
	return loaded, nil
}

func (l loader) importFile(ctx context.Context, path string) error {
	if _, err := run(ctx, l.env, nil, l.ctr, "--address", l.socket, "--namespace", "k8s.io", "image", "import", path); err != nil {
		return fmt.Errorf("load the image archive %s: %w", path, err)
	}
	return nil
}

// answers tells whether containerd serves.
func (l loader) answers(ctx context.Context) error {
	_, err := run(ctx, l.env, nil, l.ctr, "--address", l.socket, "--connect-timeout", "1s", "version")
	return err
}
