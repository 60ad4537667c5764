package ir

// IPFamily says which addresses of its pod a proxy listens on, where it listens on more than loopback. The zero value
// is IPv4.
type IPFamily int

// The families.
const (
	IPv4 IPFamily = iota
	IPv6
	DualStack // both
)

// IPFamilies are the names that [ParseIPFamily] reads, in the order of the constants.
func IPFamilies() []string { return []string{IPv4: "IPv4", IPv6: "IPv6", DualStack: "DualStack"} }

// ParseIPFamily reads a family's name; "" is IPv4. The error lists the valid names.
func ParseIPFamily(s string) (IPFamily, error) {
	return parseName[IPFamily]("ipFamily", IPFamilies(), s)
}

func (f IPFamily) String() string { return nameOf("ipFamily", IPFamilies(), f) }

func (f IPFamily) valid() bool { return known(IPFamilies(), f) }
