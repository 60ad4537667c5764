package platformfile

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Source is where a platform file is, and who takes it over.
type Source struct {
	File      string // its path
	ConfigMap string // the name of the ConfigMap that it is mounted from, if that is watched
	Offer     func(from runtime.Object, file []byte)
	Logger    logr.Logger
}

// Changed takes over what a watch says of the ConfigMap. The kubelet updates a mounted file up to two minutes later,
// on each node at another time, and meanwhile one replica would refuse what the other one injected.
func (s Source) Changed(object any) {
	key := filepath.Base(s.File)
	switch configMap, ok := object.(*corev1.ConfigMap); {
	case !ok || configMap.Name != s.ConfigMap:
	case configMap.Data[key] == "":
		s.Logger.Error(fmt.Errorf("expected the platform file under the key %s", key), "the old platform file stays in force",
			"configMap", s.ConfigMap)
	default:
		s.Offer(configMap, []byte(configMap.Data[key]))
	}
}

// Files returns what watches the file itself; events are about an object.
func (s Source) Files(about runtime.Object) *FileWatch {
	return &FileWatch{file: s.File, offer: func(file []byte) { s.Offer(about, file) }, logger: s.Logger}
}

// debounce is how long a file has to be left alone before it is read: writing it is several events.
const debounce = 200 * time.Millisecond

// FileWatch offers a file whenever it changes. Its directory is watched, because a mounted ConfigMap changes by a
// link there that is put in another one's place.
type FileWatch struct {
	file   string
	offer  func([]byte)
	logger logr.Logger
}

// NeedLeaderElection says that every replica watches.
func (w *FileWatch) NeedLeaderElection() bool { return false }

// Start implements the manager's Runnable.
func (w *FileWatch) Start(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching the platform file: %w", err)
	}
	defer func() { _ = watcher.Close() }()
	if err := watcher.Add(filepath.Dir(w.file)); err != nil {
		return fmt.Errorf("watching the directory of the platform file: %w", err)
	}
	quiet := time.NewTimer(0) // it may have changed before it was watched
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
			quiet.Reset(debounce)
		case err := <-watcher.Errors:
			w.logger.Error(err, "watching the platform file")
			quiet.Reset(debounce)
		case <-quiet.C:
			w.read()
		}
	}
}

func (w *FileWatch) read() {
	data, err := os.ReadFile(w.file)
	if err != nil {
		w.logger.Error(err, "the old platform file stays in force")
		return
	}
	w.offer(data)
}
