package rollout

import (
	"sync"
	"time"
)

// mail is what the rollout is told between two steps.
type mail struct {
	all        bool // look at all pods
	platform   bool // the platform has changed
	namespaces map[string]bool
	changed    map[Pod]string // pods whose configuration somebody changed, and what it is, by [Config]
	gone       []Pod
	outcomes   []finished
	// since is when the first change of a namespace or the platform was told; zero: none.
	since time.Time
}

// inbox collects mail from other goroutines. The zero value is empty.
type inbox struct {
	mu   sync.Mutex
	mail mail
	bell chan struct{}
}

// ready is readable when there is mail.
func (i *inbox) ready() <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ring()
}

// ring returns the bell. It is called with the lock held.
func (i *inbox) ring() chan struct{} {
	if i.bell == nil {
		i.bell = make(chan struct{}, 1)
	}
	return i.bell
}

func (i *inbox) tell(write func(*mail)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	write(&i.mail)
	select {
	case i.ring() <- struct{}{}:
	default: // it has been rung
	}
}

// take empties the inbox, but for changes that have not settled yet, and says how long these take; 0: there are none.
func (i *inbox) take(now time.Time) (mail, time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	m := i.mail
	i.mail = mail{}
	if m.since.IsZero() || !now.Before(m.since.Add(settle)) {
		return m, 0
	}
	i.mail = mail{platform: m.platform, namespaces: m.namespaces, since: m.since}
	m.platform, m.namespaces = false, nil
	return m, m.since.Add(settle).Sub(now)
}

// tellChange is tell for changes that have to settle.
func (i *inbox) tellChange(write func(*mail)) {
	i.tell(func(m *mail) {
		if m.since.IsZero() {
			m.since = time.Now()
		}
		write(m)
	})
}

// PlatformChanged says that another platform file is in force.
func (r *Rollout) PlatformChanged() {
	r.inbox.tellChange(func(m *mail) { m.platform = true })
}

// NamespaceChanged says that something of a namespace has changed, perhaps nothing of ours.
func (r *Rollout) NamespaceChanged(name string) {
	r.inbox.tellChange(func(m *mail) {
		if m.namespaces == nil {
			m.namespaces = map[string]bool{}
		}
		m.namespaces[name] = true
	})
}

// PodChanged says that the configuration of a running pod has changed to what [Config] says of it.
func (r *Rollout) PodChanged(pod Pod, config string) {
	r.inbox.tell(func(m *mail) {
		if m.changed == nil {
			m.changed = map[Pod]string{}
		}
		m.changed[pod] = config
	})
}

// PodGone says that a pod is not there any more.
func (r *Rollout) PodGone(pod Pod) {
	r.inbox.tell(func(m *mail) { m.gone = append(m.gone, pod) })
}
