package intent

import (
	"fmt"
	"strconv"
)

// limitsFields are those of limits: how much a pod may ask for.
func limitsFields() []platformField {
	fields := make([]platformField, 0, len(bounds))
	for which, row := range bounds {
		fields = append(fields, platformField{
			name:     row.name,
			doc:      fmt.Sprintf("most %s of a pod%s; 1 to %d", row.counts, row.how, row.most),
			standard: strconv.Itoa(row.standard),
			schema:   rangeSchema(1, row.most),
			parse: one(func(p *Platform, n int) error {
				if n < 1 || n > row.most {
					return fmt.Errorf("expected 1 to %d, got %d", row.most, n)
				}
				p.Bounds[which] = n
				return nil
			}),
		})
	}
	return fields
}
