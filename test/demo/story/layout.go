package story

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Field is a name and its value.
type Field struct{ Name, Value string }

// Align puts fields below each other, the values in one column. A value of several lines stays in that column.
func Align(fields []Field) string {
	column := 0
	for _, f := range fields {
		column = max(column, utf8.RuneCountInString(f.Name))
	}
	var b strings.Builder
	for _, f := range fields {
		name := f.Name
		for line := range strings.SplitSeq(f.Value, "\n") {
			b.WriteString(strings.TrimRight(name+strings.Repeat(" ", column-utf8.RuneCountInString(name)+2)+line, " ") + "\n")
			name = ""
		}
	}
	return b.String()
}

// wrap breaks text into lines of at most width columns, between words. A longer word gets a line of its own.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		length := utf8.RuneCountInString(word)
		switch {
		case column == 0:
		case column+1+length > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += length
	}
	return b.String()
}

// rule is a heading as a line across the page.
func rule(title string) string {
	return "── " + title + " " + strings.Repeat("─", max(width-utf8.RuneCountInString(title)-4, 0))
}

// Known are Pairs without those that have no value.
func Known(pairs ...string) []Field {
	return slices.DeleteFunc(Pairs(pairs...), func(f Field) bool { return f.Value == "" })
}

// Pairs are fields from names and values in turn.
func Pairs(pairs ...string) []Field {
	var out []Field
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, Field{Name: pairs[i], Value: pairs[i+1]})
	}
	return out
}
