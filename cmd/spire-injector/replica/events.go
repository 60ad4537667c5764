package replica

import (
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// Events make Kubernetes events of what the injector does. One about an object that has changed since is a new one;
// those about the same are counted, with the words of the first.
type Events struct {
	Recorder events.EventRecorder
	Action   string // what the injector does, in one word
}

// Event reports something about an object.
func (e Events) Event(about runtime.Object, eventType string, why reason.Reason, note string) {
	e.Related(about, nil, eventType, why, note)
}

// Related reports something about an object that another one has to do with.
func (e Events) Related(about, related runtime.Object, eventType string, why reason.Reason, note string) {
	e.Recorder.Eventf(about, related, eventType, why.String(), e.Action, "%s", shortened(note))
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

// OwnPod is the pod that this process runs in, which is called as its host.
func OwnPod(namespace string) (*corev1.Pod, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: host}}, nil
}
