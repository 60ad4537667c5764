package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newLockCommand() *cobra.Command {
	var (
		offset   int64
		length   int64
		duration time.Duration
	)
	command := &cobra.Command{
		Use:   "lock FILE",
		Short: "Hold a write lock on a part of a file",
		Long: `Hold a POSIX write lock on a part of a file for a while, and print "locked" once it is held. Byte 120 of the -shm file of
an SQLite database in WAL mode is its writers' lock (https://www.sqlite.org/walformat.html#locks): while somebody
else holds it the database can be read and not written.`,
		Example: `  podtool lock /data/datastore.sqlite3-shm --offset 120 --length 1 --for 20s`,
		Args:    oneArgument("a file"),
		RunE: func(command *cobra.Command, arguments []string) error {
			if err := checkPositive("for", duration); err != nil {
				return err
			}
			return holdLock(command.Context(), command.OutOrStdout(), arguments[0], unix.Flock_t{Type: unix.F_WRLCK, Start: offset, Len: length}, duration)
		},
	}
	flags := command.Flags()
	flags.Int64Var(&offset, "offset", 0, "the first byte")
	flags.Int64Var(&length, "length", 0, "how many bytes; 0 is to the end of the file")
	flags.DurationVar(&duration, "for", 20*time.Second, "how long to hold it")
	return command
}

// holdLock waits until it gets the lock, and releases it by ending.
func holdLock(ctx context.Context, out io.Writer, path string, lock unix.Flock_t, duration time.Duration) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	for { // and not F_SETLKW, which nothing ends
		err := unix.FcntlFlock(file.Fd(), unix.F_SETLK, &lock)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			return fmt.Errorf("locking %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("locking %s: somebody else holds the lock", path)
		case <-time.After(time.Millisecond): // whoever is busy leaves gaps
		}
	}
	printf(out, "locked\n")
	select {
	case <-ctx.Done():
	case <-time.After(duration):
	}
	return nil
}
