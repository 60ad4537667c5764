package answers

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/tools/txtar"
)

// graphOf is the graph of a file in testdata.
func graphOf(t *testing.T, file string) Graph {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewMesh(gathered(t, live(t, string(archive.Files[0].Data)))).Graph(Selection{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// elements are those of a page by their names, and what it says.
func elements(t *testing.T, page string) (map[string][]map[string]string, string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]map[string]string{}
	var text strings.Builder
	for n := range root.Descendants() {
		switch n.Type {
		case html.ElementNode:
			attributes := map[string]string{}
			for _, a := range n.Attr {
				attributes[a.Key] = a.Val
			}
			found[n.Data] = append(found[n.Data], attributes)
		case html.TextNode:
			text.WriteString(n.Data + "\n")
		case html.ErrorNode, html.DocumentNode, html.CommentNode, html.DoctypeNode, html.RawNode:
		}
	}
	return found, text.String()
}

// The page has each edge as a row with its story and as an arrow, and loads nothing.
func TestHTML(t *testing.T) {
	t.Parallel()
	g := graphOf(t, "mistakes.txtar")
	var out strings.Builder
	if err := g.WriteHTML(&out); err != nil {
		t.Fatal(err)
	}
	found, text := elements(t, out.String())
	rows, arrows := 0, 0
	for _, of := range []struct {
		name string
		n    *int
	}{{"tr", &rows}, {"g", &arrows}} {
		for _, attributes := range found[of.name] {
			if attributes["data-edge"] != "" {
				*of.n++
			}
		}
	}
	if rows != len(g.Edges) || arrows != len(g.Edges) || rows == 0 {
		t.Errorf("expected %d edges, got %d rows and %d arrows", len(g.Edges), rows, arrows)
	}
	for _, part := range []string{
		"allowed peers: fails: m4/api lets in /ns/m4/wbe", "remedy: spiffe.io/allowed-peers: /ns/m4/wbe, /ns/m4/web in", "expected ID: ok: the caller accepts",
		"no Service apo in m6; did you mean api.m6.svc:8443?", "7 edges, 7 mismatch",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("expected %q", part)
		}
	}
	for name, all := range found {
		for _, attributes := range all {
			for _, key := range []string{"src", "href"} {
				if attributes[key] != "" {
					t.Errorf("expected nothing to be loaded, got <%s %s=%q>", name, key, attributes[key])
				}
			}
		}
	}
}

// What names are made of stays text in both.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	const hostile = `"><script>alert(1)</script>&'`
	g := Graph{
		Nodes: []Node{{ID: hostile, Namespace: hostile, SPIFFEIDs: []string{hostile}, Why: &Reason{Found: hostile}}},
		Edges: []Edge{{From: hostile, To: hostile, Address: hostile, Agreement: Mismatch, Check: hostile, Reason: Reason{Found: hostile, Remedy: hostile}}},
		Gaps:  []string{hostile},
	}
	var page, picture strings.Builder
	if err := errors.Join(g.WriteHTML(&page), g.WriteSVG(&picture)); err != nil {
		t.Fatal(err)
	}
	if found, _ := elements(t, page.String()); len(found["script"]) != 1 {
		t.Errorf("expected the page's own script alone, got %d", len(found["script"]))
	}
	names := svgElements(t, picture.String())
	if slices.Contains(names, "script") || !slices.Contains(names, "path") {
		t.Errorf("got %v", names)
	}
}

// svgElements are the names of a picture's elements, if it is XML.
func svgElements(t *testing.T, picture string) []string {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(picture))
	var names []string
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatalf("expected XML, got %v in\n%s", err, picture)
		}
		if start, ok := token.(xml.StartElement); ok {
			names = append(names, start.Name.Local)
		}
	}
}

// Callers are left of whom they call, boxes do not overlap, and calls in a circle end.
func TestPicture(t *testing.T) {
	t.Parallel()
	g := Graph{Edges: []Edge{{From: "a", To: "b"}, {From: "b", To: "c"}, {From: "c", To: "a"}, {From: "d", To: "c"}, {From: "a", To: "a"}}}
	for _, id := range []string{"c", "a", "d", "b"} {
		g.Nodes = append(g.Nodes, Node{ID: id})
	}
	p := g.picture()
	at := map[string]box{}
	for i, b := range p.Boxes {
		at[b.Node.ID] = b
		for _, other := range p.Boxes[:i] {
			if b.X < other.X+other.Width && other.X < b.X+b.Width && b.Y < other.Y+other.Height && other.Y < b.Y+b.Height {
				t.Errorf("%s and %s overlap", b.Node.ID, other.Node.ID)
			}
		}
		if b.X+b.Width > p.Width || b.Y+b.Height > p.Height {
			t.Errorf("%s is outside", b.Node.ID)
		}
	}
	if at["d"].X >= at["c"].X || len(p.Arrows) != len(g.Edges) {
		t.Errorf("got %+v", p)
	}
}
