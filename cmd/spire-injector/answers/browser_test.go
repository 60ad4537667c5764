package answers

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/test/browser"
)

// drawn is the address of a graph's page.
func drawn(t *testing.T, g Graph) string {
	t.Helper()
	var page strings.Builder
	if err := g.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "graph.html")
	if err := os.WriteFile(file, []byte(page.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return (&url.URL{Scheme: "file", Path: file}).String()
}

// Expressions of the page.
const (
	visibleRows  = `[...document.querySelectorAll("tbody tr")].filter(row => row.checkVisibility()).map(row => row.cells[0].textContent + " → " + row.cells[1].textContent)`
	visibleBoxes = `[...document.querySelectorAll("figure .box:not(.away)")].map(box => box.dataset.node)`
	clearEdges   = `document.querySelectorAll("figure .edge:not(.away)").length`
	storyText    = `document.getElementById("story").innerText`
	middleOf     = `(edge => { const path = edge.querySelector("path"), at = path.getPointAtLength(path.getTotalLength() / 2);
		edge.scrollIntoView({block: "center", inline: "center"}); const in_ = at.matrixTransform(path.getScreenCTM()); return [in_.x, in_.y]; })`
)

// The page in a real browser, as a person uses it: search, choose an edge, read its story, send the address to somebody.
func TestHTMLInBrowser(t *testing.T) {
	t.Parallel()
	g := graphOf(t, "mistakes.txtar")
	at := slices.IndexFunc(g.Edges, func(e Edge) bool { return e.From == "Deployment m4/web" && e.To == "Deployment m4/api" })
	if at < 0 {
		t.Fatalf("expected a call of m4/web to m4/api, got %+v", g.Edges)
	}
	b := browser.Start(t)
	address := drawn(t, g)
	look := browser.Look{Width: 1400, Height: 900}
	p := b.Open(t, address, look)
	if rows := browser.Value[[]string](p, visibleRows); len(rows) != len(g.Edges) {
		t.Errorf("expected %d rows, got %v", len(g.Edges), rows)
	}
	p.Screenshot(filepath.Join(t.ArtifactDir(), "graph.png"))

	// Who opens the page writes into the search.
	p.Type("m4/web wbe")
	call := []string{"Deployment m4/web → Deployment m4/api"}
	if rows := browser.Value[[]string](p, visibleRows); !slices.Equal(rows, call) {
		t.Errorf("expected %v, got %v", call, rows)
	}
	boxes := browser.Value[[]string](p, visibleBoxes)
	slices.Sort(boxes)
	if !slices.Equal(boxes, []string{"Deployment m4/api", "Deployment m4/web"}) || browser.Value[int](p, clearEdges) != 1 {
		t.Errorf("expected the two and their edge, got %v", boxes)
	}

	// A mismatch is told from the others without its colour too, and an arrow tells its story.
	edge := `document.querySelector("figure .edge:not(.away)")`
	width := func(of string) string {
		return browser.Value[string](p, `getComputedStyle(`+of+`.querySelector("path")).strokeWidth`)
	}
	if w := width(edge); w != "3px" {
		t.Errorf("expected a mismatch to be thicker than others, got %s", w)
	}
	mark := browser.Value[string](p, `getComputedStyle([...document.querySelectorAll("tbody tr")].find(row => !row.hidden).cells[3], "::before").content`)
	if mark != `"✗ "` {
		t.Errorf("expected a mark at a mismatch, got %s", mark)
	}
	p.Click(middleOf + "(" + edge + ")")
	story := browser.Value[string](p, storyText)
	for _, part := range []string{
		"Deployment m4/web → Deployment m4/api", "mismatch, by api.m4.svc:8443", "allowed peers: fails: m4/api lets in /ns/m4/wbe", "remedy: spiffe.io/allowed-peers: ",
	} {
		if !strings.Contains(story, part) {
			t.Errorf("expected %q, got %s", part, story)
		}
	}
	p.Screenshot(filepath.Join(t.ArtifactDir(), "graph-story.png"))

	// The address brings somebody else to the same, who likes it dark.
	look.Dark = true
	other := b.Open(t, browser.Value[string](p, "location.href"), look)
	if same := browser.Value[string](other, storyText); same != story {
		t.Errorf("expected the same story, got %s", same)
	}
	if rows := browser.Value[[]string](other, visibleRows); !slices.Equal(rows, call) {
		t.Errorf("expected %v, got %v", call, rows)
	}
	if back := browser.Value[string](other, "getComputedStyle(document.body).backgroundColor"); back != "rgb(21, 23, 26)" {
		t.Errorf("expected a dark page, got %s", back)
	}
	other.Screenshot(filepath.Join(t.ArtifactDir(), "graph-dark.png"))

	// A button shows one kind alone, and Escape everything again.
	other.Press("Escape", 27)
	if rows := browser.Value[[]string](other, visibleRows); len(rows) != len(g.Edges) {
		t.Errorf("expected %d rows, got %v", len(g.Edges), rows)
	}
	other.Click(`(button => { const at = button.getBoundingClientRect(); return [at.x + at.width / 2, at.y + at.height / 2]; })(document.querySelector("#kinds button[data-kind=mismatch]"))`)
	if n := browser.Value[int](other, clearEdges); n != g.Mismatches() {
		t.Errorf("expected %d mismatches, got %d", g.Mismatches(), n)
	}
	for _, page := range []*browser.Page{p, other} {
		if requests := page.Requests(); len(requests) != 1 || !strings.HasPrefix(requests[0], address) {
			t.Errorf("expected nothing to be loaded but the page, got %v", requests)
		}
		if faults := page.Faults(); len(faults) > 0 {
			t.Errorf("expected no errors, got %v", faults)
		}
	}
}

// Hostile names stay text in a browser, and what is searched for is text too.
func TestHostileNamesInBrowser(t *testing.T) {
	t.Parallel()
	const hostile = `"><img src=x onerror=document.title="taken"><script>document.title="taken"</script>&'`
	g := Graph{
		Nodes: []Node{{ID: hostile, Namespace: hostile, Why: &Reason{Found: hostile}}},
		Edges: []Edge{{From: hostile, To: hostile, Address: hostile, Agreement: Mismatch, Check: hostile, Reason: Reason{Found: hostile, Remedy: hostile}}},
	}
	p := browser.Start(t).Open(t, drawn(t, g)+"#"+url.Values{"q": {"img"}, "from": {hostile}, "to": {hostile}}.Encode(), browser.Look{Width: 800, Height: 600})
	if story := browser.Value[string](p, storyText); !strings.Contains(story, hostile) {
		t.Errorf("expected the names as they are, got %s", story)
	}
	if title := browser.Value[string](p, "document.title"); title != "Who may call whom" || len(p.Requests()) != 1 || len(p.Faults()) > 0 {
		t.Errorf("got %s, %v, %v", title, p.Requests(), p.Faults())
	}
}
