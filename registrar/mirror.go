package registrar

import "time"

// mirror is what SPIRE was last seen to hold of the cluster. What it says of itself costs nothing to ask.
type mirror struct {
	cluster  Cluster
	entries  map[string]Entry
	expiring map[string]time.Time // workloads' entries that are to be removed, and when
	rows     map[string]time.Time // since when they have been seen
	orphaned map[string]time.Time // rows without owner, and since when
	ours     map[EntryKind]int
}

func newMirror(c Cluster) mirror {
	return mirror{
		cluster:  c,
		entries:  map[string]Entry{},
		expiring: map[string]time.Time{},
		rows:     map[string]time.Time{},
		orphaned: map[string]time.Time{},
		ours:     map[EntryKind]int{},
	}
}

// replace keeps what is known of rows that are still there.
func (m *mirror) replace(entries map[string]Entry, now time.Time) {
	before := *m
	*m = newMirror(m.cluster)
	for _, e := range entries {
		m.put(e, now)
		if since, known := before.rows[e.ID]; known {
			m.rows[e.ID] = since
		}
		if since, is := before.orphaned[e.ID]; is {
			m.orphaned[e.ID] = since
		}
	}
}

func (m *mirror) put(e Entry, now time.Time) {
	since, known := m.rows[e.ID]
	m.remove(e.ID)
	m.entries[e.ID] = e
	kind := m.cluster.KindOf(e)
	m.ours[kind]++
	switch kind {
	case KindWorkload:
		if !e.ExpiresAt.IsZero() {
			m.expiring[e.ID] = e.ExpiresAt
		}
	case KindRow:
		if !known {
			since = now
		}
		m.rows[e.ID] = since
	case KindForeign, KindNodeAlias:
	}
}

func (m *mirror) remove(id string) {
	if e, there := m.entries[id]; there {
		m.ours[m.cluster.KindOf(e)]--
	}
	delete(m.entries, id)
	delete(m.expiring, id)
	delete(m.rows, id)
	delete(m.orphaned, id)
}

// expires says whether an entry of ours is to be removed, which SPIRE does too.
func (m *mirror) expires(id string) bool {
	_, is := m.expiring[id]
	return is
}

// deletedIn yields the entries of ours that a newer list does not have, but for those that were to be removed.
func (m *mirror) deletedIn(newer map[string]Entry) ids {
	deleted := ids{}
	for id, e := range m.entries {
		if _, there := newer[id]; !there && m.cluster.Owns(e) && !m.expires(id) {
			deleted[id] = true
		}
	}
	return deleted
}

// nextExpiry is when the first entry is to be removed, where rows stay for a grace period; zero if none is.
func (m *mirror) nextExpiry(grace time.Duration) time.Time {
	var first time.Time
	earliest := func(at time.Time) {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	for _, at := range m.expiring {
		earliest(at)
	}
	for _, since := range m.orphaned {
		earliest(since.Add(grace))
	}
	return first
}
