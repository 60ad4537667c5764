package platformfile

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// A mounted ConfigMap changes by a link that takes another one's place: the file itself is never written.
func TestFileWatchSeesConfigMapChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(version, content string) {
		t.Helper()
		for _, err := range []error{
			os.Mkdir(filepath.Join(dir, version), 0o750),
			os.WriteFile(filepath.Join(dir, version, "config.yaml"), []byte(content), 0o600),
			os.Symlink(version, filepath.Join(dir, "..data_tmp")),
			os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	put("..1", "first")
	file := filepath.Join(dir, "config.yaml")
	if err := os.Symlink("..data/config.yaml", file); err != nil {
		t.Fatal(err)
	}
	offered := make(chan string, 10)
	pod := &corev1.Pod{}
	watch := Source{File: file, Logger: logr.Discard(), Offer: func(from runtime.Object, data []byte) {
		if from != pod {
			t.Errorf("offered from %v", from)
		}
		offered <- string(data)
	}}.Files(pod)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- watch.Start(ctx) }()
	await := func(want string) {
		t.Helper()
		for deadline := time.After(20 * time.Second); ; {
			select {
			case got := <-offered:
				if got == want {
					return
				}
			case <-deadline:
				t.Fatalf("the file with %q was not offered", want)
			}
		}
	}
	await("first")
	put("..2", "second")
	await("second")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Of what a watch brings, the one ConfigMap counts that the file is from, and in it the file's own key.
func TestChangedConfigMap(t *testing.T) {
	t.Parallel()
	var offered, logged []string
	s := Source{
		File: "/etc/spire-injector/config.yaml", ConfigMap: "ours",
		Offer:  func(_ runtime.Object, file []byte) { offered = append(offered, string(file)) },
		Logger: funcr.New(func(_, line string) { logged = append(logged, line) }, funcr.Options{}),
	}
	configMap := func(name, key, text string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{key: text}}
	}
	for _, object := range []any{
		configMap("ours", "config.yaml", "first"), configMap("theirs", "config.yaml", "other"), &corev1.Secret{},
		configMap("ours", "another.yaml", "not it"), configMap("ours", "config.yaml", "second"),
	} {
		s.Changed(object)
	}
	if !slices.Equal(offered, []string{"first", "second"}) || len(logged) != 1 {
		t.Errorf("offered %q, logged %q", offered, logged)
	}
}
