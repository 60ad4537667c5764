package connections

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// accepted is a connection from somewhere, which remembers that it was closed.
type accepted struct {
	net.Conn
	from   *net.TCPAddr
	closed bool
}

func (a *accepted) RemoteAddr() net.Addr { return a.from }
func (a *accepted) Close() error         { a.closed = true; return nil }

// TestWhoMakesRoom plays steps at a limiter of four. "a" is a new connection of the address a, the next of which is
// called a2 and so on; "+a" has a request, "-a" none any more, "!a" is closed by its own end.
func TestWhoMakesRoom(t *testing.T) {
	t.Parallel()
	for steps, want := range map[string]string{ // what is open at the end
		"a a a a":                   "a1 a2 a3 a4",
		"a a a a a":                 "a2 a3 a4 a5",
		"a a a b c":                 "a2 a3 b1 c1",
		"b a a a a a a":             "a4 a5 a6 b1", // however many come from an address, another one keeps its own
		"b a a a c":                 "a2 a3 b1 c1",
		"a a b b b":                 "a1 a2 b2 b3", // as many of the newcomer: its own goes
		"a a a a +a1 b":             "a1 a3 a4 b1", // the longest at rest, not the oldest
		"a a a a +a1 -a1 b":         "a1 a3 a4 b1", // who had a request rests anew
		"a a a a +a1 -a1 b b":       "a1 a4 b1 b2",
		"a a b b +a1 +a2 +b1 +b2 c": "a1 a2 b1 b2", // none rests: the new one is closed
		"a a a b +a1 +a2 +a3 a":     "a1 a2 a3 b1", // b has fewer, and is spared
		"d b c a e":                 "a1 b1 c1 e1", // of addresses with as many, who has rested for longest
		"d b c a +d1 -d1 e":         "a1 c1 d1 e1",
		"a a a a !a2 b":             "a1 a3 a4 b1",
		"a a a a b !a1 c":           "a3 a4 b1 c1", // who was evicted closes once more, and is counted once
		"a a a a b +a1 c":           "a3 a4 b1 c1", // … or still sends
	} {
		var closed []why
		l := newLimiter(4, func(reason why) { closed = append(closed, reason) })
		all := map[string]*accepted{}
		serving := map[string]net.Conn{}
		numbers := map[string]int{}
		for _, step := range strings.Fields(steps) {
			switch name := step[1:]; step[0] {
			case '+':
				l.observe(serving[name], http.StateActive)
			case '-':
				l.observe(serving[name], http.StateIdle)
			case '!':
				_ = serving[name].Close()
			default:
				numbers[step]++
				name := step + string(rune('0'+numbers[step]))
				all[name] = &accepted{from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(addressNamed(step), 1))}
				serving[name] = l.admit(all[name])
			}
		}
		var open []string
		for _, name := range []string{"a1", "a2", "a3", "a4", "a5", "a6", "b1", "b2", "b3", "c1", "d1", "e1"} {
			if c, came := all[name]; came && !c.closed {
				open = append(open, name)
			}
		}
		if got := strings.Join(open, " "); got != want {
			t.Errorf("%s: open are %s, expected %s; closed: %v", steps, got, want, closed)
		}
		if l.count() != len(open) {
			t.Errorf("%s: %d are counted, %d open", steps, l.count(), len(open))
		}
	}
}

func addressNamed(name string) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, name[0]}) }

// An address that has no connections is forgotten.
func TestAddressesAreForgotten(t *testing.T) {
	t.Parallel()
	l := newLimiter(2, func(why) {})
	for name := byte('a'); name <= 'z'; name++ {
		l.admit(&accepted{from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(addressNamed(string(name)), 1))})
	}
	if len(l.peers) != 2 {
		t.Errorf("%d addresses are kept, of 2 connections", len(l.peers))
	}
}

// An IPv4 address is the same one on a socket for both families.
func TestMappedAddress(t *testing.T) {
	t.Parallel()
	mapped := &accepted{from: &net.TCPAddr{IP: net.ParseIP("::ffff:10.0.0.1"), Port: 1}}
	if got := addressOf(mapped); got != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("got %s", got)
	}
}
