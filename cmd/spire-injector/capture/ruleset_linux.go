package capture

import (
	"encoding/binary"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ruleset is a table as the kernel takes it.
type ruleset struct {
	table  *nftables.Table
	sets   []filledSet
	chains []*nftables.Chain
	rules  []*nftables.Rule
}

type filledSet struct {
	*nftables.Set
	elements []nftables.SetElement
}

// ruleset is what [Rules.String] says, of valid rules, for a family of tables.
func (r Rules) ruleset(family nftables.TableFamily) ruleset {
	table := &nftables.Table{Name: tableName, Family: family}
	captured := filledSet{Set: &nftables.Set{
		Table:    table,
		ID:       1,
		Name:     mapCaptured,
		Constant: true,
		IsMap:    true,
		KeyType:  nftables.TypeInetService,
		DataType: nftables.TypeInetService,
	}}
	for _, redirect := range r.Redirects {
		captured.elements = append(captured.elements, nftables.SetElement{Key: port(redirect.From), Val: port(redirect.To)})
	}
	reachable := filledSet{Set: &nftables.Set{
		Table:    table,
		ID:       2,
		Name:     setReachable,
		Constant: true,
		KeyType:  nftables.TypeInetService,
	}}
	for _, p := range r.reachable() {
		reachable.elements = append(reachable.elements, nftables.SetElement{Key: port(p)})
	}
	prerouting := &nftables.Chain{
		Name:     chainPrerouting,
		Table:    table,
		Type:     nftables.ChainTypeNAT,
		Hooknum:  nftables.ChainHookPrerouting,
		Priority: nftables.ChainPriorityNATDest,
		Policy:   new(nftables.ChainPolicyAccept),
	}
	input := &nftables.Chain{
		Name:     chainInput,
		Table:    table,
		Type:     nftables.ChainTypeFilter,
		Hooknum:  nftables.ChainHookInput,
		Priority: nftables.ChainPriorityFilter,
		Policy:   new(nftables.ChainPolicyAccept),
	}
	out := ruleset{
		table:  table,
		sets:   []filledSet{captured, reachable},
		chains: []*nftables.Chain{prerouting, input},
		rules: []*nftables.Rule{
			{Table: table, Chain: prerouting, Exprs: redirectTo(captured.Set)},
			{Table: table, Chain: input, Exprs: rejectUnless(reachable.Set)},
		},
	}
	if len(r.Names) == 0 {
		return out
	}
	output := &nftables.Chain{
		Name:     chainOutput,
		Table:    table,
		Type:     nftables.ChainTypeNAT,
		Hooknum:  nftables.ChainHookOutput,
		Priority: nftables.ChainPriorityNATDest,
		Policy:   new(nftables.ChainPolicyAccept),
	}
	out.chains = append(out.chains, output)
	for _, name := range r.inOrder() {
		out.rules = append(out.rules, &nftables.Rule{Table: table, Chain: output, Exprs: redirectName(name)})
	}
	return out
}

// register is where an expression leaves a value for the next one.
const register = 1

// redirectTo leads connections for the keys of a map to its values. The others go on.
func redirectTo(captured *nftables.Set) []expr.Any {
	return append(tcpFromOutside(),
		destinationPort(),
		&expr.Lookup{
			SourceRegister: register,
			DestRegister:   register,
			IsDestRegSet:   true,
			SetName:        captured.Name,
			SetID:          captured.ID,
		},
		&expr.Redir{RegisterProtoMin: register, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED},
	)
}

// redirectName leads connections of the pod's own for an address and port to a port of 127.0.0.1, which is where the kernel
// redirects what begins in the pod.
func redirectName(name NameRedirect) []expr.Any {
	const daddr = 16 // RFC 791, section 3.1
	ip := name.From.Addr().As4()
	exprs := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{unix.NFPROTO_IPV4}},
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: daddr, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: ip[:]},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{unix.IPPROTO_TCP}},
	}
	if name.From.Port() != 0 {
		exprs = append(exprs, destinationPort(), &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: port(name.From.Port())})
	}
	return append(exprs,
		&expr.Immediate{Register: register, Data: port(name.To)},
		&expr.Redir{RegisterProtoMin: register, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED},
	)
}

// rejectUnless refuses new connections for ports outside a set. Only the first packet of a connection has SYN without
// ACK; what answers the pod's own connections has not.
func rejectUnless(reachable *nftables.Set) []expr.Any {
	const flags, syn, ack = 13, 0x02, 0x10 // RFC 9293, section 3.1
	return append(tcpFromOutside(),
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: flags, Len: 1},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 1, Mask: []byte{syn | ack}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{syn}},
		destinationPort(),
		&expr.Lookup{SourceRegister: register, SetName: reachable.Name, SetID: reachable.ID, Invert: true},
		&expr.Counter{},
		&expr.Reject{Type: unix.NFT_REJECT_TCP_RST},
	)
}

// tcpFromOutside are TCP packets that do not come by loopback.
func tcpFromOutside() []expr.Any {
	loopback := make([]byte, unix.IFNAMSIZ)
	copy(loopback, "lo")
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: register},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: loopback},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{unix.IPPROTO_TCP}},
	}
}

func destinationPort() *expr.Payload {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
}

// port is a port as packets have it.
func port(p uint16) []byte { return binary.BigEndian.AppendUint16(nil, p) }
