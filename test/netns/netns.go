// Package netns gives tests network namespaces, as pods have them. It takes root, and the program ip.
package netns

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Network is a network namespace. Nil is the process' own.
type Network struct{ file *os.File }

// ofThread is the namespace of the thread that opens it.
const ofThread = "/proc/thread-self/ns/net"

// New makes a namespace whose loopback is up. It lives until it is closed and nothing is left in it.
func New(ctx context.Context) (*Network, error) {
	file, err := newFile()
	if err != nil {
		return nil, fmt.Errorf("make a network namespace, as root: %w", err)
	}
	n := &Network{file}
	if err := n.IP(ctx, "link set lo up"); err != nil {
		_ = n.Close()
		return nil, err
	}
	return n, nil
}

func newFile() (*os.File, error) {
	runtime.LockOSThread()
	own, err := os.Open(ofThread)
	if err != nil {
		return nil, err
	}
	defer func() { _ = own.Close() }()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	file, err := os.Open(ofThread)
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		return nil, back // on a thread that ends with its goroutine
	}
	runtime.UnlockOSThread()
	return file, err
}

// Close lets the namespace go.
func (n *Network) Close() error { return n.file.Close() }

// Do calls f on a thread that is in the namespace: sockets that it opens and programs that it starts are there.
func (n *Network) Do(f func() error) error {
	if n == nil {
		return f()
	}
	runtime.LockOSThread()
	own, err := os.Open(ofThread)
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }()
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	failed := f()
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		return err // on a thread that ends with its goroutine
	}
	runtime.UnlockOSThread()
	return failed
}

// IP runs the program ip in the namespace.
func (n *Network) IP(ctx context.Context, args string) error {
	return n.Do(func() error {
		out, err := exec.CommandContext(ctx, "ip", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
		return nil
	})
}

// Path is a name of the namespace that other programs can open.
func (n *Network) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// Listen listens on a TCP address of the namespace.
func (n *Network) Listen(ctx context.Context, address string) (listener net.Listener, err error) {
	err = n.Do(func() error {
		var config net.ListenConfig
		listener, err = config.Listen(ctx, "tcp", address)
		return err
	})
	return listener, err
}

// Dial calls an IP address from the namespace.
func (n *Network) Dial(ctx context.Context, network, address string) (connection net.Conn, err error) {
	err = n.Do(func() error {
		var dialer net.Dialer
		connection, err = dialer.DialContext(ctx, network, address) // without names to look up, on this thread
		return err
	})
	return connection, err
}
