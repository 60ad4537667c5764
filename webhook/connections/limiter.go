package connections

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// limiter bounds how many connections of a server are open. When there are as many, a new one takes the place of one of
// the address that has the most: of its connections at rest, that are those whose handshake has not ended and those
// without a request, the one that has rested for longest; of several such addresses the one that has rested for longest
// of all. So an address loses connections only to those that have
// fewer, and one that is shared by many always lets the newest in. Where nothing rests, the new one is closed.
type limiter struct {
	most   int
	closed func(why) // is told of each connection that the bound closed

	mu    sync.Mutex
	open  int
	peers map[netip.Addr]*peer
	turns uint64 // how many times connections have come to rest
}

// why a connection was closed.
type why string

const (
	evicted why = "evicted" // another one took its place
	refused why = "refused" // there was no place for it
)

// peer is an address that has connections.
type peer struct {
	address netip.Addr
	open    int
	resting list.List // of *connection; the first has rested for longest
}

// connection is one that counts. It rests from the start: the handshake comes first.
type connection struct {
	net.Conn
	limiter *limiter
	peer    *peer
	resting *list.Element // nil: it has a request
	turn    uint64        // when it came to rest: a lower one has rested for longer
	left    bool
}

func newLimiter(most int, closed func(why)) *limiter {
	return &limiter{most: most, closed: closed, peers: map[netip.Addr]*peer{}}
}

// listener accepts connections within the bound.
type listener struct {
	net.Listener
	limiter *limiter
}

// Accept closes what there is no place for, and goes on.
func (l listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.limiter.admit(accepted); c != nil {
			return c, nil
		}
	}
}

// admit is nil for a connection that was closed.
func (l *limiter) admit(accepted net.Conn) net.Conn {
	admitted, evict := l.enter(accepted, addressOf(accepted))
	if admitted == nil {
		_ = accepted.Close()
		l.closed(refused)
		return nil
	}
	if evict != nil {
		_ = evict.Close()
		l.closed(evicted)
	}
	return admitted
}

// enter counts a connection. The second one has no place any more, and is to be closed.
func (l *limiter) enter(accepted net.Conn, address netip.Addr) (admitted, evict *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.peers[address]
	if own == nil {
		own = &peer{address: address}
	}
	if l.open >= l.most {
		if evict = l.longestResting(own); evict == nil {
			return nil, nil
		}
		l.leave(evict)
	}
	l.open++
	own.open++
	l.peers[address] = own // eviction may have removed it
	admitted = &connection{Conn: accepted, limiter: l, peer: own}
	admitted.rest(true)
	return admitted, evict
}

// longestResting is of the address with the most connections, which are no fewer than those of the newcomer's, this one
// included. It is nil if none rests.
func (l *limiter) longestResting(newcomer *peer) *connection {
	most, found := newcomer.open+1, newcomer.first()
	for _, p := range l.peers {
		first := p.first()
		if p == newcomer || first == nil || p.open < most {
			continue
		}
		if p.open > most || found == nil || found.peer != newcomer && first.turn < found.turn {
			most, found = p.open, first
		}
	}
	return found
}

// first has rested for longest; nil if none rests.
func (p *peer) first() *connection {
	if first := p.resting.Front(); first != nil {
		return first.Value.(*connection)
	}
	return nil
}

// leave is for who holds the lock.
func (l *limiter) leave(c *connection) {
	if c.left {
		return
	}
	c.left = true
	c.rest(false)
	l.open--
	if c.peer.open--; c.peer.open == 0 {
		delete(l.peers, c.peer.address)
	}
}

// rest is for who holds the limiter's lock. Who comes to rest is the last.
func (c *connection) rest(rests bool) {
	if c.resting != nil {
		c.peer.resting.Remove(c.resting)
		c.resting = nil
	}
	if rests {
		c.limiter.turns++
		c.turn = c.limiter.turns
		c.resting = c.peer.resting.PushBack(c)
	}
}

// Close makes a place.
func (c *connection) Close() error {
	c.limiter.mu.Lock()
	c.limiter.leave(c)
	c.limiter.mu.Unlock()
	return c.Conn.Close()
}

// observe follows whether a connection has a request, as [http.Server.ConnState].
func (l *limiter) observe(served net.Conn, state http.ConnState) {
	if secured, is := served.(interface{ NetConn() net.Conn }); is {
		served = secured.NetConn()
	}
	c, is := served.(*connection)
	if !is || state != http.StateActive && state != http.StateIdle {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.left {
		c.rest(state == http.StateIdle)
	}
}

func (l *limiter) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// addressOf is where a connection comes from. Those whose address is no IP address share one.
func addressOf(c net.Conn) netip.Addr {
	from, is := c.RemoteAddr().(*net.TCPAddr)
	if !is {
		return netip.Addr{}
	}
	return from.AddrPort().Addr().Unmap()
}
