package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Down ends a cluster and removes everything of it from the machine but the cache, whatever state it is in: whole,
// half started, half killed, or not there at all.
func Down(ctx context.Context, o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	c, err := open(o)
	if err != nil {
		return err
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.end(); err != nil {
		return err
	}
	return c.removeFiles()
}

// end stops every process of the cluster and removes what they leave in the kernel. The files stay.
func (c cluster) end() error {
	if init, ok := loadProcess(c.process()); ok {
		if err := init.kill(); err != nil {
			return err
		}
	}
	if err := c.endStrays(); err != nil {
		return err
	}
	if err := c.cgroups.remove(killLimit); err != nil {
		return err
	}
	return c.removeLink()
}

// endStrays ends what is left in the cluster's cgroups: all of it, if the record of its first process was lost.
func (c cluster) endStrays() error {
	pids, err := c.cgroups.processes()
	if err != nil {
		return err
	}
	var strays []process
	for _, pid := range pids {
		p, err := identify(pid)
		if err != nil {
			continue // has ended
		}
		strays = append(strays, p)
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("end process %d: %w", pid, err)
		}
	}
	for _, p := range strays {
		if err := p.kill(); err != nil {
			return err
		}
	}
	return nil
}

// removeLink removes the machine's end of the link. It goes by itself with the network namespace, but a moment later.
func (c cluster) removeLink() error {
	for deadline := time.Now().Add(killLimit); linkExists(c.outside); time.Sleep(5 * time.Millisecond) {
		err := deleteLink(c.outside)
		if err == nil || errors.Is(err, unix.ENODEV) {
			continue
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("remove the network interface %s: %w", c.outside, err)
		}
	}
	return nil
}

func linkExists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

// removeFiles removes the cluster's folder, unless something is mounted in it: that would be a fault of ours, and
// removing it might remove what is not the cluster's.
func (c cluster) removeFiles() error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	if strings.Contains(string(mounts), " "+c.dir+"/") {
		return fmt.Errorf("something is still mounted below %s: unmount it, then run down again", c.dir)
	}
	return os.RemoveAll(c.dir)
}
