// Package parts obtains the programs that the test cluster needs and that the project does not contain: it builds
// them from the pinned modules in test/tools or takes them from packages, once per version, into the user's cache.
package parts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Cache is the folder that keeps what is built, one folder per thing and version. It may be deleted at any time when
// no cluster is up: everything in it is made again.
type Cache struct {
	Dir string
}

// UserCache returns the cache of the current user: spire-injector in [os.UserCacheDir].
func UserCache() (Cache, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return Cache{}, fmt.Errorf("find the user's cache directory (set XDG_CACHE_HOME or HOME): %w", err)
	}
	return Cache{Dir: filepath.Join(dir, "spire-injector")}, nil
}

// Key returns twelve hexadecimal digits that stand for all of inputs, in their order.
func Key(inputs ...string) string {
	h := sha256.New()
	for _, in := range inputs {
		// The length keeps ("ab", "c") apart from ("a", "bc").
		fmt.Fprintf(h, "%d:%s", len(in), in)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// lockPoll is how often a waiting run looks whether the lock is free: flock itself cannot be interrupted by a context.
const lockPoll = 100 * time.Millisecond

// Lock takes the lock file called name, which excludes other runs of the same user, and returns how to release it.
// The kernel releases it too when the process ends, however it ends. Who has to wait is told so on progress.
func (c Cache) Lock(ctx context.Context, name string, progress io.Writer) (unlock func(), err error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache directory: %w", err)
	}
	path := filepath.Join(c.Dir, name+".lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	told := false
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !told {
			fmt.Fprintf(progress, "waiting for another run, which holds %s …\n", path)
			told = true
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for %s, which another run holds: %w", path, context.Cause(ctx))
		case <-time.After(lockPoll):
		}
	}
}

const stagePrefix = "unfinished-"

// produce makes the folder dir by running build in a staging folder beside it and renaming that when it is whole, so
// that an interrupted build never leaves half a folder under a name that is believed to be complete.
func (c Cache) produce(dir string, build func(stage string) error) error {
	stage, err := os.MkdirTemp(c.Dir, stagePrefix)
	if err != nil {
		return fmt.Errorf("make a staging folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(stage) }()
	if err := os.Chmod(stage, 0o755); err != nil {
		return err
	}
	if err := build(stage); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	return os.Rename(stage, dir)
}

// sweep removes the staging folders of builds that were killed. The caller holds the build lock.
func (c Cache) sweep() error {
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stagePrefix) {
			if err := os.RemoveAll(filepath.Join(c.Dir, e.Name())); err != nil {
				return fmt.Errorf("remove what an interrupted build left: %w", err)
			}
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
