package registrar

import (
	"encoding/json"
	"io"
	"maps"
	"slices"
	"time"
)

// jsonEntry has the field names of SPIRE's spire.common.RegistrationEntry, which `spire-server entry create -data`
// reads with encoding/json. Mind entryExpiry: it alone is not in snake case.
type jsonEntry struct {
	EntryID       string         `json:"entry_id"`
	SPIFFEID      string         `json:"spiffe_id"`
	ParentID      string         `json:"parent_id"`
	Selectors     []jsonSelector `json:"selectors"`
	X509SVIDTTL   int64          `json:"x509_svid_ttl,omitempty"`
	JWTSVIDTTL    int64          `json:"jwt_svid_ttl,omitempty"`
	FederatesWith []string       `json:"federates_with,omitempty"`
	DNSNames      []string       `json:"dns_names,omitempty"`
	Hint          string         `json:"hint,omitempty"`
	Downstream    bool           `json:"downstream,omitempty"`
	Admin         bool           `json:"admin,omitempty"`
	StoreSVID     bool           `json:"store_svid,omitempty"`
	EntryExpiry   int64          `json:"entryExpiry,omitempty"`
}

type jsonSelector struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// EncodeEntries writes the entries as the JSON that `spire-server entry create -data FILE` takes.
func EncodeEntries(w io.Writer, entries []Entry) error {
	file := struct {
		Entries []jsonEntry `json:"entries"`
	}{Entries: make([]jsonEntry, 0, len(entries))}
	for _, e := range entries {
		file.Entries = append(file.Entries, e.Canonical().toJSON())
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(file)
}

func (e Entry) toJSON() jsonEntry {
	j := jsonEntry{
		EntryID:     e.ID,
		SPIFFEID:    e.SPIFFEID.String(),
		ParentID:    e.ParentID.String(),
		X509SVIDTTL: int64(e.X509SVIDTTL / time.Second),
		JWTSVIDTTL:  int64(e.JWTSVIDTTL / time.Second),
		DNSNames:    e.DNSNames,
		Hint:        e.Hint,
		Downstream:  e.Downstream,
		Admin:       e.Admin,
		StoreSVID:   e.StoreSVID,
	}
	for _, s := range e.Selectors {
		j.Selectors = append(j.Selectors, jsonSelector(s))
	}
	for _, td := range e.FederatesWith {
		j.FederatesWith = append(j.FederatesWith, td.IDString())
	}
	if !e.ExpiresAt.IsZero() {
		j.EntryExpiry = e.ExpiresAt.Unix()
	}
	return j
}

// Entries returns what SPIRE has to hold for the workloads where nothing follows pods from node to node: a row of all
// nodes for each identity, then one entry for each distinct workload, each in the order of entry IDs, those that ask
// for one entry converged.
func (c Cluster) Entries(workloads []Workload) []Entry {
	rows, entries := map[string]Entry{}, map[string]Entry{}
	for _, w := range workloads {
		row, e := c.ClusterRow(IdentityHash(w.ID)), c.WorkloadEntry(w)
		if other, ok := entries[e.ID]; ok {
			e = e.Converge(other)
		}
		rows[row.ID], entries[e.ID] = row, e
	}
	var all []Entry
	for _, some := range []map[string]Entry{rows, entries} {
		for _, id := range slices.Sorted(maps.Keys(some)) {
			all = append(all, some[id])
		}
	}
	return all
}
