package intent

import (
	"fmt"
	"strconv"
)

// limitsFields are those of limits: how much a pod, and a namespace, may ask for.
func limitsFields() []platformField {
	fields := make([]platformField, 0, len(bounds)+1)
	for which, row := range bounds {
		doc := fmt.Sprintf("most %s of a pod%s; 1 to %d", row.counts, row.how, row.most)
		fields = append(fields, countField(row.name, doc, row.standard, row.most, func(p *Platform, n int) { p.Bounds[which] = n }))
	}
	return append(fields, entriesPerNamespaceField)
}

// countField is a number of at least 1.
func countField(name, doc string, standard, most int, set func(p *Platform, n int)) platformField {
	return platformField{
		name:     name,
		doc:      doc,
		standard: strconv.Itoa(standard),
		schema:   countSchema(most),
		parse: one(func(p *Platform, n int) error {
			if n < 1 || n > most {
				return fmt.Errorf("expected 1 to %d, got %d", most, n)
			}
			set(p, n)
			return nil
		}),
	}
}
