package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/spire-injector/spire-injector/webhook"
)

// followPlatform keeps the injector, which was made from the platform file as it is now, at what the file becomes.
func followPlatform(ctx context.Context, mgr ctrl.Manager, f serveFlags, file []byte, socketFixed bool, injector webhook.Injector) (*platformInForce, error) {
	reloads, err := newReloadMetrics(metrics.Registry)
	if err != nil {
		return nil, err
	}
	inForce := newPlatformInForce(file, injector, socketFixed, reloads, mgr.GetLogger().WithName("platform"), eventsOf(mgr, "Reload"))
	return inForce, watchPlatform(ctx, mgr, f, inForce)
}

// watchPlatform follows the platform file: by the ConfigMap that it is mounted from, if that is named, because the kubelet
// updates files up to two minutes later, on each node at another time, and meanwhile one replica would refuse what the other
// one injected. Otherwise by the file itself.
func watchPlatform(ctx context.Context, mgr ctrl.Manager, f serveFlags, platform *platformInForce) error {
	logger := mgr.GetLogger().WithName("platform")
	if f.configMap == "" {
		pod, err := ownPod(f)
		if err != nil {
			return err
		}
		offer := func(file []byte) { platform.offer(pod, file) }
		return mgr.Add(&fileWatch{file: f.config, offer: offer, logger: logger})
	}
	key := filepath.Base(f.config)
	return follow(ctx, mgr, &corev1.ConfigMap{}, func(object any) {
		switch configMap, ok := object.(*corev1.ConfigMap); {
		case !ok || configMap.Name != f.configMap:
		case configMap.Data[key] == "":
			logger.Error(fmt.Errorf("expected the platform file under the key %s", key), "the old platform file stays in force", "configMap", f.configMap)
		default:
			platform.offer(configMap, []byte(configMap.Data[key]))
		}
	})
}

// ownPod is the pod that this process runs in, which is called as its host.
func ownPod(f serveFlags) (*corev1.Pod, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: host}}, nil
}

// eventsOf is how events come to be. One about an object that has changed since is a new one; those about the same are
// counted, with the words of the first.
//
// The action is what the injector was doing, in one word.
func eventsOf(mgr ctrl.Manager, action string) func(about runtime.Object, eventType, reason, note string) {
	recorder := mgr.GetEventRecorder("spire-injector")
	return func(about runtime.Object, eventType, reason, note string) {
		recorder.Eventf(about, nil, eventType, reason, action, "%s", shortened(note))
	}
}

// maxNote is the API server's limit for the text of an event, in bytes.
const maxNote = 1024

func shortened(note string) string {
	const more = "…"
	if len(note) <= maxNote {
		return note
	}
	end := maxNote - len(more)
	for end > 0 && note[end]&0xC0 == 0x80 { // inside a character
		end--
	}
	return note[:end] + more
}

// settle is how long a file has to be left alone before it is read: writing it is several events.
const settle = 200 * time.Millisecond

// fileWatch offers a file whenever it changes. Its directory is watched, because a mounted ConfigMap changes by a link there that
// is put in another one's place.
type fileWatch struct {
	file   string
	offer  func([]byte)
	logger logr.Logger
}

// NeedLeaderElection says that every replica watches.
func (w *fileWatch) NeedLeaderElection() bool { return false }

// Start implements the manager's Runnable.
func (w *fileWatch) Start(ctx context.Context) error {
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
			quiet.Reset(settle)
		case err := <-watcher.Errors:
			w.logger.Error(err, "watching the platform file")
			quiet.Reset(settle)
		case <-quiet.C:
			w.read()
		}
	}
}

func (w *fileWatch) read() {
	data, err := os.ReadFile(w.file)
	if err != nil {
		w.logger.Error(err, "the old platform file stays in force")
		return
	}
	w.offer(data)
}
