package files

import (
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// watcher holds the last that the agent gave of each kind.
type watcher struct {
	id      spiffeid.ID
	tokens  int // that have to come
	log     *slog.Logger
	changed chan struct{} // holds one

	mu           sync.Mutex
	certificates contents
	expires      time.Time
	keys         contents
	byFile       contents // tokens
	lastWarning  string
}

func newWatcher(c Config) *watcher {
	return &watcher{
		id:      c.ID,
		tokens:  len(c.Tokens),
		log:     c.Log,
		changed: make(chan struct{}, 1),
		byFile:  contents{},
	}
}

var (
	_ workloadapi.X509ContextWatcher = (*watcher)(nil)
	_ workloadapi.JWTBundleWatcher   = (*watcher)(nil)
)

// OnX509ContextUpdate implements [workloadapi.X509ContextWatcher].
func (w *watcher) OnX509ContextUpdate(x *workloadapi.X509Context) {
	files, err := certificates(x, w.id)
	if err != nil {
		w.warn("no certificates", err)
		return
	}
	w.set(func() { w.certificates, w.expires = files, svidOf(x, w.id).Certificates[0].NotAfter })
}

// OnJWTBundlesUpdate implements [workloadapi.JWTBundleWatcher].
func (w *watcher) OnJWTBundlesUpdate(bundles *jwtbundle.Set) {
	files, err := keys(bundles, w.id.TrustDomain())
	if err != nil {
		w.warn("no JWT bundles", err)
		return
	}
	w.set(func() { w.keys = files })
}

// OnX509ContextWatchError implements [workloadapi.X509ContextWatcher].
func (w *watcher) OnX509ContextWatchError(err error) {
	w.warn("certificates cannot be watched, files that are there stay", err)
}

// OnJWTBundlesWatchError implements [workloadapi.JWTBundleWatcher].
func (w *watcher) OnJWTBundlesWatchError(err error) {
	w.warn("JWT bundles cannot be watched, files that are there stay", err)
}

func (w *watcher) setToken(file, text string) { w.set(func() { w.byFile[file] = []byte(text) }) }

func (w *watcher) set(change func()) {
	w.mu.Lock()
	change()
	w.lastWarning = ""
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default: // whoever reads it next finds all
	}
}

// warn logs what has not been logged last: the agent is asked several times a second.
func (w *watcher) warn(what string, err error) {
	if status.Code(err) == codes.Canceled {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if text := what + err.Error(); text != w.lastWarning {
		w.lastWarning = text
		w.log.Warn(what, "error", err)
	}
}

// contents are all files, nil until all have come.
func (w *watcher) contents() contents {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.certificates == nil || w.keys == nil || len(w.byFile) < w.tokens {
		return nil
	}
	return merged(w.certificates, w.keys, w.byFile)
}

func (w *watcher) expiry() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.expires
}

// sameCertificates says whether the files that a program reads when it is signalled are the same.
func sameCertificates(a, b contents) bool { return a.certificates().equal(b.certificates()) }

func (c contents) certificates() contents {
	out := contents{}
	for file, text := range c {
		if file == SVIDFile || file == KeyFile || file == BundleFile ||
			path.Dir(file) == federatedDir && strings.HasSuffix(file, ".pem") {
			out[file] = text
		}
	}
	return out
}
