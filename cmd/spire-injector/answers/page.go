package answers

import (
	_ "embed" // the page is a file of its own
	"html/template"
	"io"
	"strings"
)

//go:embed graph.html
var graphPage string

// pages are the page, and the picture in it, which is a file of its own too. What is put in is quoted by where it stands.
func pages() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{"lower": strings.ToLower}).Parse(graphPage))
}

// view is what the page shows.
type view struct {
	Picture picture
	Summary string
	Gaps    []string
	// By which it draws a part of the picture: pixels around all boxes, below each, right of a column, and from a line to
	// its label.
	Margin, Below, Between, Rise int
}

func (g Graph) view() view {
	return view{
		Picture: g.picture(),
		Summary: g.summary(),
		Gaps:    g.Gaps,
		Margin:  boxPadding,
		Below:   rowGap,
		Between: columnGap,
		Rise:    labelRise,
	}
}

// WriteSVG writes the graph as a picture.
func (g Graph) WriteSVG(w io.Writer) error { return pages().ExecuteTemplate(w, "svg", g.picture()) }

// WriteHTML writes the graph as one page that needs no server: a picture, and a table that can be searched.
func (g Graph) WriteHTML(w io.Writer) error { return pages().Execute(w, g.view()) }

// Story are the checks of the edge, in the order in which a call meets them; of others than calls the reason alone.
func (e Edge) Story() []Step {
	if len(e.story) > 0 {
		return e.story
	}
	return []Step{{Check: orDefault(e.Check, string(e.Agreement)), Status: statusOf(e), Reason: e.Reason}}
}
