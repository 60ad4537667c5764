package check

import "fmt"

// Status is how serious a finding is.
type Status string

// How serious a finding can be.
const (
	OK      Status = "ok"
	Warning Status = "warning" // it works, with a risk or a cost
	Error   Status = "error"   // something does not work, or cannot be known
)

// Finding is what a check found. One that is not OK has all fields but perhaps Where.
type Finding struct {
	Check    string `json:"check"`
	Status   Status `json:"status"`
	Where    string `json:"where,omitempty"` // the object that it is about
	Found    string `json:"found"`
	Expected string `json:"expected,omitempty"`
	Remedy   string `json:"remedy,omitempty"`
}

func fine(where, format string, args ...any) Finding {
	return Finding{Status: OK, Where: where, Found: fmt.Sprintf(format, args...)}
}

// found is a finding without what is to be done about it.
func found(status Status, where, format string, args ...any) Finding {
	return Finding{Status: status, Where: where, Found: fmt.Sprintf(format, args...)}
}

func (f Finding) expected(format string, args ...any) Finding {
	f.Expected = fmt.Sprintf(format, args...)
	return f
}

func (f Finding) remedy(format string, args ...any) Finding {
	f.Remedy = fmt.Sprintf(format, args...)
	return f
}

// orFine is findings, or the one good one when there are none.
func orFine(findings []Finding, good Finding) []Finding {
	if len(findings) == 0 {
		return []Finding{good}
	}
	return findings
}
