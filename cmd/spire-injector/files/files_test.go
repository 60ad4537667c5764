package files

import (
	"bytes"
	"context"
	"crypto/x509"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/agentapi"
)

// start runs the program until the test is over, or stop is called.
func start(t *testing.T, c Config) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, c) }()
	stopped := false
	stop = func() {
		if cancel(); !stopped {
			stopped = true
			if err := <-ended; err != nil {
				t.Errorf("ended with %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Nothing is there before there is an entry, and then everything, which programs can use.
func TestRun(t *testing.T) {
	t.Parallel()
	a, dir := newAgent(t), t.TempDir()
	a.federated = map[string][]byte{"spiffe://auxiliary.org": a.root.Raw}
	start(t, Config{
		WorkloadAPI: a.serve(t), ID: db, Dir: dir, Log: silent, Tokens: []Token{{"api.jwt", "spiffe://example.org/api"}},
	})
	time.Sleep(3 * agentapi.Retry)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Fatalf("before there is an entry: %v, %v", entries, err)
	}
	a.change(func() { a.registered = true })
	eventually(t, "the files", func() bool { return Check(dir, time.Now()) == nil })

	svid, err := x509svid.Load(filepath.Join(dir, "svid.pem"), filepath.Join(dir, "svid_key.pem"))
	if err != nil || svid.ID != db {
		t.Errorf("svid.pem and svid_key.pem: %v, %v", svid, err)
	}
	for name, file := range map[string]string{"example.org": "svid_bundle.pem", "auxiliary.org": "federated/auxiliary.org.pem"} {
		bundle, err := x509bundle.Load(spiffeid.RequireTrustDomainFromString(name), filepath.Join(dir, file))
		if err != nil || !bundle.HasX509Authority(a.root) {
			t.Errorf("%s: %v, %v", file, bundle, err)
		}
	}
	bundle, err := jwtbundle.Load(domain, filepath.Join(dir, "jwt_bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	token := string(read(t, dir, "api.jwt"))
	if _, err := jwtsvid.ParseAndValidate(token, bundle, []string{"spiffe://example.org/api"}); err != nil {
		t.Errorf("api.jwt: %v", err)
	}

	// A federated trust domain may come and go while the pod runs.
	added := filepath.Join(dir, "federated", "later.org.pem")
	a.change(func() { a.federated = map[string][]byte{"spiffe://later.org": a.root.Raw} })
	eventually(t, "another federated domain", func() bool { _, err := os.Stat(added); return err == nil })
	if _, err := os.Stat(filepath.Join(dir, "federated", "auxiliary.org.pem")); !os.IsNotExist(err) {
		t.Errorf("a domain that is not federated any more: %v", err)
	}
}

// A program is signalled when what it read before has changed, and for nothing else.
func TestNotice(t *testing.T) {
	t.Parallel()
	a, dir := newAgent(t), t.TempDir()
	a.registered = true
	address := a.serve(t)
	name := "notice-" + itoa(os.Getpid()) // others may run this test too
	// Not SIGHUP, which what runs below nohup ignores.
	c := Config{WorkloadAPI: address, ID: db, Dir: dir, Log: silent, Notice: Notice{syscall.SIGUSR1, name}}
	ended := sleeper(t, name) // which the first files do not end either
	other := sleeper(t, "x"+name)
	stop := start(t, c)
	eventually(t, "the files", func() bool { return Check(dir, time.Now()) == nil })

	before, keysBefore := read(t, dir, SVIDFile), read(t, dir, JWTBundleFile)
	// What has changed is found after a restart too, and what is the same is no change.
	stop()
	a.mu.Lock()
	a.keyID = "second"
	a.mu.Unlock()
	w := newWatcher(c)
	w.set(func() {
		w.certificates = contents{SVIDFile: before, KeyFile: read(t, dir, KeyFile), BundleFile: read(t, dir, BundleFile)}
		w.keys = contents{JWTBundleFile: []byte("{}")}
	})
	v, err := openVolume(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	kept := make(chan error, 1)
	go func() { kept <- keepFiles(ctx, c, v, w) }()
	eventually(t, "other keys", func() bool { return !bytes.Equal(keysBefore, read(t, dir, JWTBundleFile)) })
	cancel()
	if err := <-kept; err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
		t.Fatal("signalled although no certificate has changed")
	case <-time.After(100 * time.Millisecond):
	}
	start(t, c) // the agent signs another certificate whenever it is asked
	select {
	case got := <-ended:
		if got != syscall.SIGUSR1 {
			t.Errorf("expected SIGUSR1, got %v", got)
		}
	case <-time.After(20 * time.Second):
		t.Error("a new certificate, and no signal")
	}
	select {
	case <-other:
		t.Error("a process of another name was signalled")
	default:
	}
}

// sleeper runs a process of a name, and tells the signal that ends it.
func sleeper(t *testing.T, name string) <-chan syscall.Signal {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(sleep, program); err != nil { // the kernel names a process after what was asked for
		t.Fatal(err)
	}
	cmd := exec.Command(program, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	ended := make(chan syscall.Signal, 1)
	go func() {
		_ = cmd.Wait()
		ended <- cmd.ProcessState.Sys().(syscall.WaitStatus).Signal()
	}()
	return ended
}

// What is wrong with this machine ends the program.
func TestRunEndsWithError(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	a.registered = true
	for name, c := range map[string]Config{
		"no address of an agent": {WorkloadAPI: "nowhere", Dir: t.TempDir()},
		"no directory":           {WorkloadAPI: a.serve(t), Dir: filepath.Join(t.TempDir(), "missing")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.ID, c.Log = db, silent
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := Run(ctx, c); err == nil || ctx.Err() != nil {
				t.Errorf("expected an error, got %v, %v", err, ctx.Err())
			}
		})
	}
}

// What is not the pod's is not written, and what is missing is waited for.
func TestCertificates(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	other := spiffeid.RequireFromPath(domain, "/other")
	svid := &x509svid.SVID{
		ID:           other,
		Certificates: []*x509.Certificate{a.sign(t, &x509.Certificate{URIs: []*url.URL{other.URL()}}, time.Hour)},
		PrivateKey:   a.key,
	}
	bundles := x509bundle.NewSet(x509bundle.FromX509Authorities(domain, []*x509.Certificate{a.root}))
	long := strings.Repeat("a", 255)
	bundles.Add(x509bundle.FromX509Authorities(spiffeid.RequireTrustDomainFromString(long), []*x509.Certificate{a.root}))
	x := contextOf(svid, bundles)
	if _, err := certificates(x, db); err == nil || !strings.Contains(err.Error(), "none of which is spiffe://example.org/db") {
		t.Errorf("another identity: got %v", err)
	}
	files, err := certificates(x, other)
	if err != nil || len(files) != 3 {
		t.Errorf("expected three files, without the one whose name is too long, got %v, %v", files, err)
	}
	bundles.Remove(domain)
	if _, err := certificates(x, other); err == nil || !strings.Contains(err.Error(), "no bundle of example.org") {
		t.Errorf("without a bundle: got %v", err)
	}
	if _, err := keys(jwtbundle.NewSet(), domain); err == nil || !strings.Contains(err.Error(), "no JWT bundle of example.org") {
		t.Errorf("without a JWT bundle: got %v", err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	a, dir := newAgent(t), t.TempDir()
	v, err := openVolume(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := func(when string, now time.Time, expected string) {
		t.Helper()
		err := Check(dir, now)
		if (err == nil) != (expected == "") || err != nil && !strings.Contains(err.Error(), expected) {
			t.Errorf("%s: expected %q, got %v", when, expected, err)
		}
	}
	want("nothing", time.Now(), "got none yet")
	svid, err := x509svid.ParseRaw(a.sign(t, &x509.Certificate{URIs: []*url.URL{db.URL()}}, time.Minute).Raw, mustPKCS8(t, a))
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := svid.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	replace := func(files contents) {
		if err := v.replace(files); err != nil {
			t.Fatal(err)
		}
	}
	replace(contents{SVIDFile: chain, KeyFile: key})
	want("now", time.Now(), "")
	want("later", time.Now().Add(2*time.Minute), "expired")
	strange, _, _ := newSVID(t, newAgent(t)).Marshal()
	replace(contents{SVIDFile: strange, KeyFile: key})
	want("a key of another", time.Now(), "svid.pem and svid_key.pem in")
	replace(contents{SVIDFile: chain})
	want("no key", time.Now(), "svid_key.pem: no such file")
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]process{
		"12 (postgres) S 1 12 12":      {12, 1, "postgres"},
		"7 (a) b (c)) R 3 0":           {7, 3, "a) b (c)"},
		"1 (pause) S 0 1":              {1, 0, "pause"},
		"":                             {},
		"x (a) S 1":                    {},
		"1 (a) S":                      {},
		"1 )a( S 1":                    {},
		"1 (a) S parent that is no ID": {},
	} {
		got, ok := parseStat(text)
		if ok != (want != process{}) || ok && got != want {
			t.Errorf("%q: expected %+v, got %+v, %t", text, want, got, ok)
		}
	}
}

// Of processes of one name the first one alone is signalled.
func TestNoticeOfTheFirstProcess(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	first, second := exec.Command("sleep", "60"), exec.Command("sleep", "60")
	var ended []<-chan error
	for _, cmd := range []*exec.Cmd{first, second} {
		cmd.Stdout = io.Discard
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		ended = append(ended, done)
	}
	stat := func(pid int, name string, parent int) {
		dir := filepath.Join(proc, itoa(pid))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		text := strings.Join([]string{itoa(pid), "(" + name + ")", "S", itoa(parent), "0"}, " ")
		if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stat(1, "pause", 0)
	stat(first.Process.Pid, "db", 0)
	stat(second.Process.Pid, "db", first.Process.Pid)
	stat(1<<22+1, "db", 1) // beyond what the kernel gives: it has ended
	sent, err := Notice{syscall.SIGUSR1, "db"}.send(proc)
	if err != nil || sent != 1 {
		t.Errorf("expected one process, got %d, %v", sent, err)
	}
	<-ended[0]
	select {
	case <-ended[1]:
		t.Error("the first one's own process was signalled too")
	case <-time.After(100 * time.Millisecond):
	}
	if names := SignalNames(); !slices.Equal(names, []string{"SIGHUP", "SIGUSR1", "SIGUSR2"}) {
		t.Errorf("got %v", names)
	}
}
