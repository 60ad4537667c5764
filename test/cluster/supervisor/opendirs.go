package supervisor

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openNewFolders makes dir and watches it: folders that appear in it get mode 0777 at once.
func openNewFolders(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_ONLYDIR); err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	go func() {
		events := make([]byte, 64*1024)
		for {
			if _, err := unix.Read(fd, events); err != nil && !errors.Is(err, unix.EINTR) {
				slog.Error("watch for new volumes", "dir", dir, "error", err)
				return
			}
			// Whatever the events say in detail: the folder is small, and opening a folder twice is harmless.
			openAll(dir)
		}
	}()
	return nil
}

func openAll(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		slog.Error("list volumes", "dir", dir, "error", err)
		return
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := os.Chmod(filepath.Join(dir, e.Name()), 0o777); err != nil && !errors.Is(err, os.ErrNotExist) {
			slog.Error("open a volume", "dir", dir, "error", err)
		}
	}
}
