package intent

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Files is what a pod asks for in mode files beside what is always there.
type Files struct {
	Containers []string // that see the files; none for all
	Signal     Signal
	Tokens     []FileToken
}

// Signal is what a program gets when its files have changed. The zero value is none.
type Signal struct{ Name, Process string }

// FileToken is a JWT-SVID in a file.
type FileToken struct{ File, Audience string }

// signals are those by which programs reload their files. Others would end them.
var signals = []string{"SIGHUP", "SIGUSR1", "SIGUSR2"}

// Files whose names are taken.
var (
	certificateFiles = []string{"svid.pem", "svid_key.pem", "svid_bundle.pem"}
	otherFiles       = []string{"jwt_bundle.json", "federated"}
)

// filesItem is the annotation as it is written.
type filesItem struct {
	Containers *[]string       `json:"containers"`
	Signal     json.RawMessage `json:"signal"`
	JWT        []fileTokenItem `json:"jwt"`
}

type signalItem struct {
	Name    string `json:"name"`
	Process string `json:"process"`
}

type fileTokenItem struct {
	File     string `json:"file"`
	Audience string `json:"audience"`
}

func (r *reader) parseFiles(v string) []problem {
	var item filesItem
	if err := r.decode(v, &item); err != nil {
		if isOver(err) {
			return whole(err)
		}
		return whole(fmt.Errorf("expected YAML such as {containers: [db], signal: {process: postgres}}: %w", err))
	}
	var f fieldErrors
	if item.Containers != nil {
		if r.Files.Containers = *item.Containers; len(r.Files.Containers) == 0 {
			f.add(".containers", errors.New("expected containers that see the files, got an empty list; leave it out for all"))
		}
	}
	if item.Signal != nil {
		r.Files.Signal = readSignal(&f, item.Signal)
	}
	if !r.count(boundPeers, len(item.JWT)) {
		return f.problems
	}
	for i, t := range item.JWT {
		at := fmt.Sprintf(".jwt[%d]", i)
		audience, err := ir.ParseAudience(r.trustDomain(), t.Audience)
		f.add(at+".audience", err)
		f.add(at+".file", CheckTokenFile(t.File))
		if slices.ContainsFunc(r.Files.Tokens, func(other FileToken) bool { return other.File == t.File }) {
			f.add(at+".file", fmt.Errorf("expected a name that no other has, got %q again", t.File))
		}
		r.Files.Tokens = append(r.Files.Tokens, FileToken{File: t.File, Audience: audience})
	}
	return f.problems
}

// processName is what the kernel keeps of a program's name, at most: it cuts off what is longer.
var processName = regexp.MustCompile(`^[!-~]([ -~]{0,13}[!-~])?$`)

func readSignal(f *fieldErrors, written json.RawMessage) Signal {
	item := signalItem{Name: signals[0]}
	if err := decodeObject(written, "{process: postgres, name: SIGHUP}", &item); err != nil {
		f.add(".signal", err)
		return Signal{}
	}
	if !slices.Contains(signals, item.Name) {
		f.add(".signal.name", fmt.Errorf("expected %s, got %q%s", strings.Join(signals, ", "), item.Name,
			afterSemicolon(didYouMean(item.Name, signals...))))
	}
	if !processName.MatchString(item.Process) {
		f.add(".signal.process", fmt.Errorf(
			"expected the name of a program as in /proc/PID/comm, such as postgres, of 1 to 15 characters, got %q", item.Process))
	}
	return Signal(item)
}

// tokenFile is a plain name of a file. None that begins with a dot: of such are those by which files change at once.
var tokenFile = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$`)

// CheckTokenFile is nil for a name that the file of a JWT-SVID may have.
func CheckTokenFile(name string) error {
	if slices.Contains(certificateFiles, name) || slices.Contains(otherFiles, name) {
		return fmt.Errorf("expected a name that no other file has, got %q", name)
	}
	if !tokenFile.MatchString(name) {
		return fmt.Errorf("expected a name such as api.jwt, of 1 to 63 letters, digits, and _, . or -, got %q", name)
	}
	return nil
}
