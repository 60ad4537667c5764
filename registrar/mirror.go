package registrar

import "time"

// mirror is what SPIRE was last seen to hold of the cluster. What it says of itself costs nothing to ask.
type mirror struct {
	cluster  Cluster
	entries  map[string]Entry
	expiring deadlines            // workloads' entries that are to be removed, and when
	rows     map[string]time.Time // since when they have been seen
	onNode   counts[string]       // IDs of rows, by the UID of their node
	orphaned deadlines            // rows without owner, and since when
	ours     map[EntryKind]int
}

func newMirror(c Cluster) mirror {
	return mirror{
		cluster:  c,
		entries:  map[string]Entry{},
		expiring: newDeadlines(),
		rows:     map[string]time.Time{},
		onNode:   counts[string]{},
		orphaned: newDeadlines(),
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
		if since, is := before.orphaned.at[e.ID]; is {
			m.orphaned.set(e.ID, since)
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
			m.expiring.set(e.ID, e.ExpiresAt)
		}
	case KindRow:
		if !known {
			since = now
		}
		m.rows[e.ID] = since
		m.onNode.add(m.nodeOf(e.ID), e.ID, 1)
	case KindForeign, KindNodeAlias:
	}
}

func (m *mirror) remove(id string) {
	if e, there := m.entries[id]; there {
		m.ours[m.cluster.KindOf(e)]--
	}
	if _, isRow := m.rows[id]; isRow {
		m.onNode.add(m.nodeOf(id), id, -1)
	}
	delete(m.entries, id)
	delete(m.rows, id)
	m.expiring.remove(id)
	m.orphaned.remove(id)
}

// nodeOf is the UID of a row's node.
func (m *mirror) nodeOf(row string) string {
	_, uid, _ := m.cluster.rowOf(row)
	return uid
}

// expires says whether an entry of ours is to be removed, which SPIRE does too.
func (m *mirror) expires(id string) bool { return m.expiring.has(id) }

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
	first := m.expiring.first()
	if since := m.orphaned.first(); !since.IsZero() && (first.IsZero() || since.Add(grace).Before(first)) {
		first = since.Add(grace)
	}
	return first
}
