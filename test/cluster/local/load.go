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

	"github.com/spire-injector/spire-injector/test/images"
)

// loader brings archives into the containerd of a running node, through its socket as seen from outside.
type loader struct {
	node     node
	ctr      string
	env      []string
	socket   string
	record   string // what is loaded: archive path by image name
	progress io.Writer
}

func (c cluster) loaderOf(n node, init process) (loader, error) {
	root := filepath.Join("/proc", strconv.Itoa(init.PID), "root")
	if n != controlPlane {
		pid, err := c.firstProcess(n)
		if err != nil {
			return loader{}, err
		}
		root = filepath.Join(root, "proc", strconv.Itoa(pid), "root")
	}
	return loader{
		node: n, ctr: filepath.Join(c.programs.System.Bin, "ctr"), env: c.programs.System.Env, record: c.loaded(n), progress: c.progress,
		socket: filepath.Join(root, containerdSocket),
	}, nil
}

// firstProcess is process 1 of a further node, as the first node knows it.
func (c cluster) firstProcess(n node) (pid int, err error) {
	status, err := readStatus(c.layout, controlPlane)
	if err != nil {
		return 0, err
	}
	for _, s := range status {
		if s.Name == n.name() && s.PID != 0 {
			return s.PID, nil
		}
	}
	return 0, fmt.Errorf("%s does not run", n.name())
}

// load brings archives to every node that has them not yet.
func (c cluster) load(ctx context.Context, init process, archives []images.Archive) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range c.nodes() {
		group.Go(func() error {
			l, err := c.loaderOf(n, init)
			if err != nil {
				return err
			}
			return l.load(ctx, archives)
		})
	}
	return group.Wait()
}

// containerdAnswers waits until containerd serves on every node.
func (c cluster) containerdAnswers(ctx context.Context, init process) error {
	for _, n := range c.nodes() {
		if err := poll(ctx, func(ctx context.Context) error {
			l, err := c.loaderOf(n, init)
			if err != nil {
				return err
			}
			return l.answers(ctx)
		}); err != nil {
			return err
		}
	}
	return nil
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
			fmt.Fprintf(l.progress, "loaded %s on %s\n", a.Name, l.node.name())
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
