package charts

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

var update = flag.Bool("update", false, "rewrite the platform file's part of the injector's values.schema.json")

// The schema of the platform file stands between these, in the schema of the values.
const (
	platformBegin = "\n    \"platform\": "
	platformEnd   = "\n    },"
)

func TestSchemaOfThePlatformFile(t *testing.T) {
	file := fromTop(InjectorChart + "/values.schema.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, hasBegin := strings.Cut(string(text), platformBegin)
	got, after, hasEnd := strings.Cut(rest, platformEnd)
	if !hasBegin || !hasEnd {
		t.Fatalf("%s: expected a section between %q and %q", file, platformBegin, platformEnd)
	}
	indented, err := json.MarshalIndent(intent.PlatformSchema(), "    ", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want := folded(string(indented))
	if *update {
		if err := os.WriteFile(file, []byte(before+platformBegin+want+","+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got+strings.TrimSuffix(platformEnd, ",")); diff != "" {
		t.Errorf("the schema of the platform file is stale, run make golden (-want +got):\n%s", diff)
	}
}

// folded writes each object and list of indented JSON on one line that fits into it.
func folded(indented string) string {
	const width = 120
	lines := strings.Split(indented, "\n")
	var out []string
	for len(lines) > 0 {
		line, length := lines[0], 1
		if end := endOfBlock(lines); end > 0 {
			joined := line
			for _, inner := range lines[1 : end+1] {
				inner = strings.TrimLeft(inner, " ")
				if !strings.HasSuffix(joined, "{") && !strings.HasSuffix(joined, "[") && !strings.ContainsAny(inner[:1], "}]") {
					joined += " "
				}
				joined += inner
			}
			if len(joined) <= width {
				line, length = joined, end+1
			}
		}
		out, lines = append(out, line), lines[length:]
	}
	return strings.Join(out, "\n")
}

// endOfBlock is where the object or list ends that the first line begins; 0 if it begins none.
func endOfBlock(lines []string) int {
	begin := lines[0]
	if !strings.HasSuffix(begin, "{") && !strings.HasSuffix(begin, "[") {
		return 0
	}
	indentation := begin[:len(begin)-len(strings.TrimLeft(begin, " "))]
	for i, line := range lines[1:] {
		if rest, ok := strings.CutPrefix(line, indentation); ok && strings.ContainsAny(rest[:1], "}]") {
			return i + 1
		}
	}
	return 0
}
