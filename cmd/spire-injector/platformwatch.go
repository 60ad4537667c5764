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
	ctrl "sigs.k8s.io/controller-runtime"
)

// watchPlatform follows the platform file: by the ConfigMap that it is mounted from, if that is named, because the kubelet
// updates files up to two minutes later, on each node at another time, and meanwhile one replica would refuse what the other
// one injected. Otherwise by the file itself.
func watchPlatform(ctx context.Context, mgr ctrl.Manager, f serveFlags, platform *platformInForce) error {
	logger := mgr.GetLogger().WithName("platform")
	if f.configMap == "" {
		return mgr.Add(&fileWatch{file: f.config, offer: platform.offer, logger: logger})
	}
	key := filepath.Base(f.config)
	return follow(ctx, mgr, &corev1.ConfigMap{}, func(object any) {
		switch configMap, ok := object.(*corev1.ConfigMap); {
		case !ok || configMap.Name != f.configMap:
		case configMap.Data[key] == "":
			logger.Error(fmt.Errorf("expected the platform file under the key %s", key), "the old platform file stays in force", "configMap", f.configMap)
		default:
			platform.offer([]byte(configMap.Data[key]))
		}
	})
}

// platformEvents is where events about the platform file go: to the ConfigMap it is from, or else to this very pod.
func platformEvents(mgr ctrl.Manager, f serveFlags) (func(eventType, reason, note string), error) {
	about := &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: f.configMap},
	}
	if f.configMap == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, err
		}
		about.Kind, about.Name = "Pod", host
	}
	recorder := mgr.GetEventRecorder("spire-injector")
	return func(eventType, reason, note string) {
		recorder.Eventf(about, nil, eventType, reason, "Reload", "%s", shortened(note))
	}, nil
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
