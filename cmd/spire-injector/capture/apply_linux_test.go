package capture

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/netns"
)

// Ports of the pod in these tests.
const (
	appPort    = 8080
	debugPort  = 6060 // of the app, which nobody declared
	plainPort  = 9090 // of the app
	envoyPort  = 8443
	gatePort   = 15025
	readyPort  = 15021
	probesPort = 15022
)

func podRules() Rules {
	return Rules{Redirects: []Redirect{{appPort, envoyPort}, {gatePort, readyPort}}, Open: []uint16{probesPort, plainPort}}
}

// podAnswers is who answers from outside.
func podAnswers() map[uint16]string {
	return map[uint16]string{appPort: "envoy", gatePort: "envoy", plainPort: "app", debugPort: "refused"}
}

// servePod has an app that listens on all addresses, as most do, and an Envoy.
func (w world) servePod(t *testing.T) {
	t.Helper()
	w.serve(t, "app", appPort, debugPort, plainPort)
	w.serve(t, "envoy", envoyPort, readyPort, probesPort)
}

// TestCapture: what comes from outside reaches Envoy, whatever address of the pod it is for, and what comes from inside
// the app.
func TestCapture(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.servePod(t)
	expect := func(from *netns.Network, host string, port uint16, want string) {
		t.Helper()
		if got := ask(t, from, host, port); got != want && !strings.HasPrefix(got, want+" sees ") {
			t.Errorf("%s port %d: expected %s, got %q", host, port, want, got)
		}
	}
	for _, host := range podAddresses {
		expect(w.outside, host, appPort, "app")
		expect(w.outside, host, gatePort, "refused")
	}
	w.apply(t, podRules())
	for family, host := range podAddresses {
		expect(w.outside, host, appPort, "envoy")
		expect(w.outside, host, envoyPort, "envoy")
		expect(w.outside, host, gatePort, "envoy")
		expect(w.outside, host, probesPort, "envoy")
		expect(w.outside, host, plainPort, "app")
		expect(w.outside, host, debugPort, "refused")
		expect(w.outside, host, 1, "refused")

		caller := map[string]string{"IPv4": outsideIPv4, "IPv6": outsideIPv6, "IPv6 of the link": "fe80::1"}[family]
		address, _, _ := strings.Cut(host, "%")
		want := fmt.Sprintf("envoy sees %s for %s", caller, net.JoinHostPort(address, fmt.Sprint(appPort)))
		if got := ask(t, w.outside, host, appPort); got != want {
			t.Errorf("expected %q, got %q", want, got)
		}
	}
	for _, host := range append([]string{"127.0.0.1", "::1"}, podAddresses["IPv4"], podAddresses["IPv6"], linkLocal) {
		expect(w.pod, host, appPort, "app")
		expect(w.pod, host, debugPort, "app")
		expect(w.pod, host, envoyPort, "envoy")
		expect(w.pod, host, gatePort, "refused")
	}
}

// TestNames: what the app calls by a name's address comes to Envoy though the app has the port itself, on all addresses;
// other ports and addresses do not.
func TestNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.servePod(t)
	const behind, other = 15500, 15501
	for port, name := range map[uint16]string{behind: "name", other: "other name"} {
		listener, err := w.pod.Listen(t.Context(), fmt.Sprintf("127.0.0.1:%d", port))
		must(t, err)
		t.Cleanup(func() { listener.Close() })
		go answerAll(listener, name)
	}
	expect := func(host string, port uint16, want string) {
		t.Helper()
		if got := ask(t, w.pod, host, port); !strings.HasPrefix(got, want+" sees ") {
			t.Errorf("%s port %d: expected %s, got %q", host, port, want, got)
		}
	}
	expect("127.0.1.1", appPort, "app")
	rules := podRules()
	rules.Names = []NameRedirect{
		{netip.AddrPortFrom(netip.MustParseAddr("127.0.1.1"), appPort), behind},
		{netip.AddrPortFrom(netip.MustParseAddr("127.0.1.2"), appPort), other},
	}
	w.apply(t, rules)
	expect("127.0.1.1", appPort, "name")
	expect("127.0.1.2", appPort, "other name")
	for _, host := range []string{"127.0.0.1", "127.0.1.3", "::1", podAddresses["IPv4"], podAddresses["IPv6"]} {
		expect(host, appPort, "app")
	}
	expect("127.0.1.1", plainPort, "app")
	const all = 15502
	listener, err := w.pod.Listen(t.Context(), fmt.Sprintf("127.0.0.1:%d", all))
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	go answerAll(listener, "rest")
	rest := NameRedirect{netip.MustParseAddrPort("127.0.1.1:0"), all}
	rules.Names = append([]NameRedirect{rest}, rules.Names...) // in whatever order
	w.apply(t, rules)
	expect("127.0.1.1", appPort, "name")
	expect("127.0.1.1", plainPort, "rest")
	expect("127.0.1.1", 1, "rest")
	expect("127.0.1.2", appPort, "other name")
	expect("127.0.1.2", plainPort, "app")
	expect(podAddresses["IPv4"], plainPort, "app")
	if got := ask(t, w.outside, podAddresses["IPv4"], appPort); !strings.HasPrefix(got, "envoy sees ") {
		t.Errorf("from outside: got %q", got)
	}
	w.apply(t, podRules()) // which has no names
	expect("127.0.1.1", appPort, "app")
}

// TestCallsOfThePod: the pod calls others as before, from whatever port, and is answered.
func TestCallsOfThePod(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, podRules())
	callee := world{pod: w.outside}
	callee.serve(t, "callee", appPort)
	for _, host := range []string{outsideIPv4, outsideIPv6, "fe80::1%77"} {
		if got := ask(t, w.pod, host, appPort); !strings.HasPrefix(got, "callee sees ") {
			t.Errorf("%s: got %q", host, got)
		}
	}
}

// TestUDP: what Envoy does not carry is left alone.
func TestUDP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, podRules())
	for _, port := range []uint16{appPort, debugPort} {
		var app, caller net.Conn
		must(t, w.pod.Do(func() (err error) {
			app, err = net.ListenUDP("udp", &net.UDPAddr{Port: int(port)})
			return err
		}))
		t.Cleanup(func() { app.Close() })
		caller, err := w.outside.Dial(t.Context(), "udp", net.JoinHostPort(podAddresses["IPv4"], fmt.Sprint(port)))
		must(t, err)
		t.Cleanup(func() { caller.Close() })
		_, err = caller.Write([]byte("ping"))
		must(t, err)
		must(t, app.SetDeadline(time.Now().Add(30*time.Second)))
		if n, err := app.Read(make([]byte, 4)); err != nil || n != 4 {
			t.Errorf("port %d: got %d bytes, %v", port, n, err)
		}
	}
}

// TestRulesAreReplaced: a second run leaves nothing of the first one, no connection that comes meanwhile passes Envoy,
// and those that are open live on.
func TestRulesAreReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.servePod(t)
	open, err := w.pod.Listen(t.Context(), ":7443")
	must(t, err)
	t.Cleanup(func() { open.Close() })
	before := Rules{Redirects: []Redirect{{7080, 7443}, {appPort, probesPort}}}
	w.apply(t, before)
	host := podAddresses["IPv6"]
	client, err := w.outside.Dial(t.Context(), "tcp", net.JoinHostPort(host, "7080"))
	must(t, err)
	t.Cleanup(func() { client.Close() })
	server, err := open.Accept()
	must(t, err)
	t.Cleanup(func() { server.Close() })

	calls, ended := make(chan string), make(chan struct{})
	go func() {
		defer close(calls)
		for {
			answer := ask(t, w.outside, host, appPort)
			select {
			case calls <- answer:
			case <-ended:
				return
			}
		}
	}()
	// One that was led to a port by the old rules may find that port closed by the new ones.
	const times = 40
	refused := 0
	for n := range times {
		w.apply(t, []Rules{podRules(), before}[n%2])
		switch answer := <-calls; {
		case answer == "refused":
			refused++
		case !strings.HasPrefix(answer, "envoy sees "):
			t.Errorf("while rules are replaced: got %q", answer)
		}
	}
	if refused > times/10 {
		t.Errorf("while rules are replaced: %d of %d refused", refused, times)
	}
	w.apply(t, podRules())
	close(ended)
	for range calls {
	}

	if got := ask(t, w.outside, host, 7080); got != "refused" {
		t.Errorf("a redirect of the first run: got %q", got)
	}
	if got := ask(t, w.outside, host, 7443); got != "refused" {
		t.Errorf("Envoy's port of the first run: got %q", got)
	}
	if tables := w.tables(t); len(tables) != 1 {
		t.Errorf("expected one table, got %v", tables)
	}
	for _, way := range []struct{ from, to net.Conn }{{client, server}, {server, client}} {
		must(t, way.to.SetDeadline(time.Now().Add(30*time.Second)))
		_, err := way.from.Write([]byte("ping"))
		must(t, err)
		if _, err := io.ReadFull(way.to, make([]byte, 4)); err != nil {
			t.Errorf("a connection that was open: %v", err)
		}
	}
}

// tables are the names of all that the pod has.
func (w world) tables(t *testing.T) (names []string) {
	t.Helper()
	must(t, w.pod.Do(func() error {
		kernel, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := kernel.ListTables()
		for _, table := range tables {
			names = append(names, table.Name)
		}
		return err
	}))
	return names
}

// broken are rules of which the kernel refuses the last.
func broken(r Rules) ruleset {
	s := r.ruleset(nftables.TableFamilyINet)
	s.rules = append(s.rules, &nftables.Rule{
		Table: s.table,
		Chain: s.chains[0],
		Exprs: []expr.Any{&expr.Lookup{SourceRegister: register, SetName: "nowhere"}},
	})
	return s
}

// TestFailureChangesNothing: of a transaction that fails at its end nothing is left, and what was before is.
func TestFailureChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.servePod(t)
	fail := func(s ruleset, want string) {
		t.Helper()
		err := w.pod.Do(func() error { return s.replace(t.Context()) })
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("expected an error with %q, got %v", want, err)
		}
	}
	other := Rules{Redirects: []Redirect{{appPort, probesPort}}}
	fail(broken(other), "no such file or directory")
	if tables := w.tables(t); len(tables) != 0 {
		t.Errorf("expected no table, got %v", tables)
	}
	w.apply(t, podRules())
	unchanged := func() {
		t.Helper()
		for port, want := range podAnswers() {
			if got := ask(t, w.outside, podAddresses["IPv4"], port); !strings.HasPrefix(got, want) {
				t.Errorf("port %d: expected %s, got %q", port, want, got)
			}
		}
	}
	fail(broken(other), "no such file or directory")
	unchanged()

	lacking := other.ruleset(nftables.TableFamilyINet)
	lacking.chains[0].Type = "none" // as nat is where its module is missing
	fail(lacking, "load the modules nf_tables, nft_chain_nat, nft_redir and nft_reject_inet on the node")
	unchanged()
}

// TestManyPorts: the most that rules may have is not too much for the kernel.
func TestManyPorts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var r Rules
	for n := range uint16(maxPorts) {
		r.Redirects = append(r.Redirects, Redirect{From: 10000 + n, To: 20000 + n})
		r.Open = append(r.Open, 30000+n)
	}
	w.apply(t, r)
	w.serve(t, "envoy", 20000, 20000+maxPorts-1)
	w.serve(t, "app", 30000+maxPorts-1, 40000)
	for port, want := range map[uint16]string{
		10000: "envoy", 10000 + maxPorts - 1: "envoy", 30000 + maxPorts - 1: "app", 40000: "refused",
	} {
		if got := ask(t, w.outside, podAddresses["IPv6"], port); !strings.HasPrefix(got, want) {
			t.Errorf("port %d: expected %s, got %q", port, want, got)
		}
	}
}

// TestWithoutIPv6: pods whose IPv6 is turned off, and kernels that have none.
func TestWithoutIPv6(t *testing.T) {
	t.Parallel()
	for name, apply := range map[string]func(t *testing.T, w world){
		"turned off": func(t *testing.T, w world) {
			must(t, writeSetting(w.pod, "/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"))
			must(t, w.pod.Do(func() error { return Apply(t.Context(), podRules(), ir.IPv4) }))
		},
		"not in the kernel": func(t *testing.T, w world) {
			family, err := tableFamily(false, ir.IPv4)
			must(t, err)
			must(t, w.pod.Do(func() error { return podRules().ruleset(family).replace(t.Context()) }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.servePod(t)
			apply(t, w)
			for port, want := range podAnswers() {
				if got := ask(t, w.outside, podAddresses["IPv4"], port); !strings.HasPrefix(got, want) {
					t.Errorf("port %d: expected %s, got %q", port, want, got)
				}
			}
			if got := ask(t, w.pod, "127.0.0.1", appPort); !strings.HasPrefix(got, "app") {
				t.Errorf("from inside: got %q", got)
			}
		})
	}
}

func TestTableFamily(t *testing.T) {
	t.Parallel()
	const want = "the kernel of this node has none: start it without ipv6.disable=1, or set ipFamily: IPv4"
	for _, family := range []ir.IPFamily{ir.IPv4, ir.IPv6, ir.DualStack} {
		if got, err := tableFamily(true, family); err != nil || got != nftables.TableFamilyINet {
			t.Errorf("%s: got %v, %v", family, got, err)
		}
		got, err := tableFamily(false, family)
		switch {
		case family == ir.IPv4 && (err != nil || got != nftables.TableFamilyIPv4):
			t.Errorf("without IPv6: got %v, %v", got, err)
		case family != ir.IPv4 && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s without IPv6: got %v", family, err)
		}
	}
}

// TestNodesNetwork: in the network of the machine itself nothing is written. Only the question is asked here.
func TestNodesNetwork(t *testing.T) {
	t.Parallel()
	must(t, newNetwork(t).Do(refuseNode))
	if _, err := os.Stat("/proc/sys/net/core/dev_weight"); err != nil {
		t.Skip("these tests run in a network of their own")
	}
	if err := refuseNode(); err == nil || !strings.Contains(err.Error(), "set hostNetwork: false") {
		t.Errorf("got %v", err)
	}
}

// TestBadRulesAreNotApplied: what is no rule never comes to the kernel.
func TestBadRulesAreNotApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	err := w.pod.Do(func() error { return Apply(t.Context(), Rules{}, ir.IPv4) })
	if err == nil || len(w.tables(t)) != 0 {
		t.Errorf("got %v and tables %v", err, w.tables(t))
	}
}

func TestExplanations(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		unix.EPERM:             "does not let this container change the pod's network, though it has NET_ADMIN",
		unix.EOPNOTSUPP:        "lacks a part of nftables",
		unix.EPROTONOSUPPORT:   "lacks a part of nftables",
		unix.EAFNOSUPPORT:      "lacks a part of nftables",
		unix.ENOBUFS:           "the kernel takes no rules; nothing was changed",
		os.ErrDeadlineExceeded: "may have changed everything or nothing; run this again",
	} {
		got := explain(fmt.Errorf("somewhere: %w", err))
		if !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
			t.Errorf("%v: got %v", err, got)
		}
	}
	if err := explain(nil); err != nil {
		t.Error(err)
	}
}
