package capture

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Apply puts the rules in force in the network namespace of the calling thread, in the place of those of an earlier
// run. If it fails, those stay. The family is that of Envoy's ports; rules are for IPv4 and IPv6 whatever it is.
func Apply(ctx context.Context, r Rules, family ir.IPFamily) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if err := refuseNode(); err != nil {
		return err
	}
	hasIPv6, err := kernelHasIPv6()
	if err != nil {
		return err
	}
	tables, err := tableFamily(hasIPv6, family)
	if err != nil {
		return err
	}
	return withNetAdmin(func() error { return r.ruleset(tables).replace(ctx) })
}

// onlyOnNode is a setting that the kernel has once, and shows in no other network than its first one.
const onlyOnNode = "/proc/sys/net/core/dev_weight"

// refuseNode keeps the node, and whatever runs on it, from being cut off by a pod with its network.
func refuseNode() error {
	switch _, err := os.Stat(onlyOnNode); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look whether this is the node's network: %w", err)
	}
	return errors.New("this is the network of the node, whose ports would be closed: expected that of a pod; " +
		"set hostNetwork: false")
}

// kernelHasIPv6 says whether there can be sockets of IPv6, whether or not the pod has an address.
func kernelHasIPv6() (bool, error) {
	socket, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find out whether the kernel has IPv6: %w", err)
	}
	return true, unix.Close(socket)
}

// tableFamily is that of tables for everything that reaches the pod. A kernel without IPv6 has no tables for both.
func tableFamily(hasIPv6 bool, envoy ir.IPFamily) (nftables.TableFamily, error) {
	if hasIPv6 {
		return nftables.TableFamilyINet, nil
	}
	if envoy != ir.IPv4 {
		return 0, fmt.Errorf("expected IPv6, for an Envoy that listens on %s, but the kernel of this node has none: "+
			"start it without ipv6.disable=1, or set ipFamily: IPv4 in the platform file", envoy)
	}
	return nftables.TableFamilyIPv4, nil
}

// patience is how long the kernel may take. It takes milliseconds, unless it has to load modules.
const patience = 30 * time.Second

// replace sends everything in one transaction, which the kernel does as a whole or not at all.
func (s ruleset) replace(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	deadline, _ := ctx.Deadline()
	kernel, err := nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error { return c.SetDeadline(deadline) }))
	if err != nil {
		return err
	}
	kernel.AddTable(s.table) // so that there is one to delete
	kernel.DelTable(s.table)
	kernel.AddTable(s.table)
	for _, set := range s.sets {
		if err := kernel.AddSet(set.Set, set.elements); err != nil {
			return fmt.Errorf("set %s: %w", set.Name, err)
		}
	}
	for _, chain := range s.chains {
		kernel.AddChain(chain)
	}
	for _, rule := range s.rules {
		kernel.AddRule(rule)
	}
	return explain(kernel.Flush())
}

// explain says what an answer of the kernel means for whoever runs the node.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("the kernel does not let this container change the pod's network, though it has NET_ADMIN: "+
			"look for a security module or a sandbox of the container runtime that forbids it; nothing was changed: %w", err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT),
		errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("the kernel of this node lacks a part of nftables: it needs tables of family inet, chains of type "+
			"nat, redirect, reject and counter; load the modules nf_tables, nft_chain_nat, nft_redir and nft_reject_inet on "+
			"the node; nothing was changed: %w", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the kernel did not answer in time, and may have changed everything or nothing; "+
			"run this again: %w", err)
	default:
		return fmt.Errorf("the kernel takes no rules; nothing was changed: %w", err)
	}
}
