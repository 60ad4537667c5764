package inject

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Sealing is how replicas of two versions, or with two platform files, let each other's pods in while one takes the
// other's place: the API server may have one inject a pod and another one validate it, and each would make something
// else of the pod. A replica seals what it makes with a key that all of them share. Where the pod is not what
// injection here makes of it, a seal that holds says that a replica made it so, of this very pod, a moment ago.
//
// A seal stands for the form of a pod and not for the right to its identity: that is looked at where the pod arrives.
//
// The zero value seals nothing, and no seal holds.
type Sealing struct {
	Keys [][]byte // the newest first, which seals; all of them hold
	Now  time.Time
}

// How long a seal holds: for longer than the API server asks one webhook after another, by clocks that differ.
const (
	sealedMinutesBefore = 2
	sealedMinutesAhead  = 1
)

// sealDomain distinguishes seals from all else that the keys may be used for, and from those of other forms of a pod.
const sealDomain = "spire-injector, seal of a pod, 1"

// sealBytes is how many bytes of a MAC a seal has: 128 bits, which nobody guesses within minutes.
const sealBytes = 16

// stamp changes with what a seal would say of the same pod; zero where there are no seals.
func (s Sealing) stamp() int64 {
	if len(s.Keys) == 0 {
		return 0
	}
	return s.minute()
}

func (s Sealing) minute() int64 { return s.Now.Unix() / 60 }

// seal seals a pod that injection here just made, or would make. One whose annotations have no room for it gets none.
func (s Sealing) seal(ns intent.Namespace, pod *corev1.Pod) error {
	if len(s.Keys) == 0 {
		return nil
	}
	without, status := pod.Annotations[intent.AnnotationStatus], StatusOf(pod)
	open := openIn(pod)
	form, err := sealedForm(ns, pod, open)
	if err != nil {
		return err
	}
	mac := sealOf(s.Keys[0], s.minute(), form, open)
	status.Seal = base64.RawURLEncoding.EncodeToString(append(mac, open...))
	if err := status.writeTo(pod); err != nil {
		return err
	}
	if len(sizeMistakes(pod, 0)) > 0 {
		pod.Annotations[intent.AnnotationStatus] = without
	}
	return nil
}

// holds says whether a replica with one of the keys sealed the pod as it is, within the last minutes.
func (s Sealing) holds(ns intent.Namespace, pod *corev1.Pod) bool {
	sealed, err := base64.RawURLEncoding.DecodeString(StatusOf(pod).Seal)
	if err != nil || len(s.Keys) == 0 || len(sealed) < sealBytes {
		return false
	}
	mac, open := sealed[:sealBytes], openFields(sealed[sealBytes:])
	if len(open) != len(openIn(pod)) {
		return false
	}
	form, err := sealedForm(ns, pod, open)
	if err != nil {
		return false
	}
	for _, key := range s.Keys {
		for ago := int64(-sealedMinutesAhead); ago <= sealedMinutesBefore; ago++ {
			if hmac.Equal(mac, sealOf(key, s.minute()-ago, form, open)) {
				return true
			}
		}
	}
	return false
}

// sealOf is the MAC of a pod's form, made in a minute.
func sealOf(key []byte, minute int64, form [sha256.Size]byte, open openFields) []byte {
	mac := hmac.New(sha256.New, key)
	at := binary.BigEndian.AppendUint64(nil, uint64(minute)) //nolint:gosec // any number will do
	for _, part := range [][]byte{[]byte(sealDomain), at, form[:], open} {
		_, _ = mac.Write(part) // all but the last have one length; a hash takes everything
	}
	return mac.Sum(nil)[:sealBytes]
}

// resealed is a pod that injection here would make again, with a seal that holds: its own is of another time, or of
// what was in the pod before another webhook came.
func (s Sealing) resealed(ns intent.Namespace, pod *corev1.Pod) (*corev1.Pod, error) {
	if len(s.Keys) == 0 || s.holds(ns, pod) {
		return pod, nil
	}
	out := pod.DeepCopy()
	return out, s.seal(ns, out)
}

// openFields says for each container that is sealed as a whole, in the pod's order, which resources injection left open,
// so that the API server's own admission may set them: one bit each for limits, and three more for requests.
type openFields []byte

func openIn(pod *corev1.Pod) openFields {
	var open openFields
	for c := range intent.ContainersOf(pod) {
		if !isSealedName(c.Name) {
			continue
		}
		var bits byte
		for n, list := range []corev1.ResourceList{c.Resources.Limits, c.Resources.Requests} {
			for i, name := range measured {
				if _, set := list[name]; !set {
					bits |= 1 << (n*len(measured) + i)
				}
			}
		}
		open = append(open, bits)
	}
	return open
}

// withoutOpen is a list of resources, limits first and then requests, without those that are open.
func withoutOpen(list corev1.ResourceList, bits byte, n int) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, quantity := range list {
		if i := slices.Index(measured, name); i < 0 || bits&(1<<(n*len(measured)+i)) == 0 {
			out[name] = quantity
		}
	}
	return out
}
