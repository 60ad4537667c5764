// Package local is a real Kubernetes cluster on this machine, in network, mount and process namespaces of its own:
// etcd, the control plane and CoreDNS, and for each node kubelet, kube-proxy and containerd, all started from the user's
// cache. It needs Linux and root. Clusters of different names live side by side.
package local

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
)

// DefaultName is the cluster that `go run ./test/cluster` and the end-to-end tests share.
const DefaultName = "default"

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// names is what a cluster is called on the machine. All of it follows from the cluster's name, so that a cluster can
// be found, and removed, even when nothing of it but the name is known.
type names struct {
	cluster string
	cgroup  string // below every mounted hierarchy
	outside string // the machine's end of the link to the API server
	inside  string // the cluster's end
}

func namesOf(cluster string) (names, error) {
	if !validName.MatchString(cluster) {
		return names{}, fmt.Errorf("cluster name %q: expected 1 to 32 lower-case letters, digits and dashes, such as %q", cluster, DefaultName)
	}
	sum := sha256.Sum256([]byte(cluster))
	short := hex.EncodeToString(sum[:5])
	return names{
		cluster: cluster,
		cgroup:  "spire-injector-" + cluster,
		// The kernel allows 15 characters.
		outside: "si" + short + "o",
		inside:  "si" + short + "i",
	}, nil
}

// link is the network between the machine and one cluster: a /30 with one address for each end.
type link struct {
	outside, inside netip.Addr
}

const linkBits = 30

// links is where the links come from: 198.18.0.0/15 is set aside for tests of network devices (RFC 2544), so no
// machine should be using it.
var links = netip.MustParsePrefix("198.18.0.0/15")

// linkOf chooses a cluster's link by its name, the next free one if it overlaps with an address that the machine has.
func linkOf(cluster string, used []netip.Prefix) (link, error) {
	const size = 1 << (32 - linkBits)
	count := uint32(1) << (linkBits - links.Bits())
	sum := sha256.Sum256([]byte(cluster))
	first := binary.BigEndian.Uint32(sum[:4])
	base := links.Addr().As4()
	for n := range count {
		block := (first + n) % count
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(base[:])+block*size)
		network := netip.PrefixFrom(netip.AddrFrom4(a), linkBits)
		if overlapsAny(network, used) {
			continue
		}
		outside := network.Addr().Next()
		return link{outside: outside, inside: outside.Next()}, nil
	}
	return link{}, fmt.Errorf("no free network in %s: this machine uses all of it", links)
}

func overlapsAny(network netip.Prefix, used []netip.Prefix) bool {
	for _, u := range used {
		if network.Overlaps(u) {
			return true
		}
	}
	return false
}
