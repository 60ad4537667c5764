package intent

// schema is what the chart's JSON schema says of a field: as much as can be said of one field alone. The zero value
// is for fields that are not among the chart's values.
type schema struct {
	Ref                  string            `json:"$ref,omitempty"`
	Description          string            `json:"description,omitempty"`
	Type                 string            `json:"type,omitempty"`
	Enum                 []string          `json:"enum,omitempty"`
	Pattern              string            `json:"pattern,omitempty"`
	MinLength            int               `json:"minLength,omitempty"`
	Minimum              int               `json:"minimum,omitempty"`
	Maximum              int               `json:"maximum,omitempty"`
	Items                *schema           `json:"items,omitempty"`
	AdditionalProperties *bool             `json:"additionalProperties,omitempty"`
	Required             []string          `json:"required,omitempty"`
	Properties           map[string]schema `json:"properties,omitempty"`
}

var (
	stringSchema    = schema{Type: "string"}
	booleanSchema   = schema{Type: "boolean"}
	notEmptySchema  = schema{Type: "string", MinLength: 1}
	durationSchema  = patternSchema("^([0-9.]+(ms|s|m|h))+$")
	portSchema      = rangeSchema(1, 65535)
	resourcesSchema = schema{Ref: "#/definitions/resources"} // of the chart's own
)

func patternSchema(pattern string) schema { return schema{Type: "string", Pattern: pattern} }

func enumSchema(values ...string) schema { return schema{Enum: values} }

func rangeSchema(least, most int) schema {
	return schema{Type: "integer", Minimum: least, Maximum: most}
}

func listSchema(items schema) schema { return schema{Type: "array", Items: &items} }

// PlatformSchema is the JSON schema of the platform file among the chart's values.
func PlatformSchema() any {
	s := sectionSchema(platformFields)
	s.Description = "The platform file. The injector looks at it more closely than this schema does."
	return s
}

func sectionSchema(fields []platformField) schema {
	s := schema{Type: "object", AdditionalProperties: new(false), Properties: map[string]schema{}}
	for _, f := range fields {
		if f.inChart() {
			s.Properties[f.name] = f.inSchema()
			if f.isRequired() {
				s.Required = append(s.Required, f.name)
			}
		}
	}
	return s
}

func (f platformField) inChart() bool {
	return f.fields != nil || f.schema.Type+f.schema.Ref != "" || f.schema.Enum != nil
}

func (f platformField) inSchema() schema {
	switch {
	case f.item != nil:
		return listSchema(sectionSchema(f.fields))
	case f.fields != nil:
		return sectionSchema(f.fields)
	}
	return f.schema
}

// isRequired says whether a section that leaves the field out is wrong.
func (f platformField) isRequired() bool {
	if f.fields == nil || f.optional || f.item != nil {
		return f.without == required
	}
	return len(sectionSchema(f.fields).Required) > 0
}
