package registrar

import "time"

// mirror is what SPIRE was last seen to hold below the alias, and the alias. What it says of itself costs nothing to
// ask.
type mirror struct {
	cluster  Cluster
	entries  map[string]Entry
	expiring map[string]time.Time // entries of ours that are to be removed, and when
	ours     int
}

func newMirror(c Cluster) mirror {
	return mirror{cluster: c, entries: map[string]Entry{}, expiring: map[string]time.Time{}}
}

func (m *mirror) replace(entries map[string]Entry) {
	*m = newMirror(m.cluster)
	for _, e := range entries {
		m.put(e)
	}
}

func (m *mirror) put(e Entry) {
	m.remove(e.ID)
	m.entries[e.ID] = e
	if !m.cluster.Owns(e) {
		return
	}
	m.ours++
	if !e.ExpiresAt.IsZero() {
		m.expiring[e.ID] = e.ExpiresAt
	}
}

func (m *mirror) remove(id string) {
	if e, there := m.entries[id]; there && m.cluster.Owns(e) {
		m.ours--
	}
	delete(m.entries, id)
	delete(m.expiring, id)
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

// nextExpiry is when the first entry is to be removed; zero if none is.
func (m *mirror) nextExpiry() time.Time {
	var first time.Time
	for _, at := range m.expiring {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}
