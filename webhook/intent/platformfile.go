package intent

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// The only accepted type of a platform file.
const (
	PlatformAPIVersion = "injector.spiffe.io/v1alpha1"
	PlatformKind       = "InjectorConfig"
)

// platformField is one row of the table of the platform file's fields: everything that is known of a field is known
// from here.
type platformField struct {
	name string
	doc  string // meaning, for people; empty for a section that only groups its fields
	// What a file says that leaves the field out or empty: the value, as YAML, or in words where no value says it.
	standard, without string
	schema            schema // in the chart's values

	// parse puts what is written into the platform; raw is nil if nothing is. It is nil for sections.
	parse parsePlatform
	// fields are those of a section.
	fields []platformField
	// optional is a section that means something by being there: without it, its fields are not read.
	optional bool
	// item begins the next item of a list of sections.
	item func(p *Platform)
}

// parsePlatform returns mistakes with their paths below the field.
type parsePlatform func(p *Platform, raw json.RawMessage) []problem

// required stands in the place of a default if a file is wrong without the field.
const required = "required"

// ParsePlatform decodes a platform file strictly. The error has a line for each mistake.
func ParsePlatform(data []byte) (Platform, error) {
	document, err := oneDocument(data, unbounded)
	if err != nil {
		return Platform{}, fmt.Errorf("expected YAML: %w", err)
	}
	var p Platform
	problems := checkHeader(document)
	if len(problems) == 0 {
		problems = readSection(&p, platformFields, document)
	}
	if len(problems) > 0 {
		return Platform{}, platformError(problems)
	}
	return p, nil
}

func platformError(problems []problem) error {
	var errs []error
	for _, found := range problems {
		if found.path == "" {
			errs = append(errs, found.err)
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %w", found.path, found.err))
	}
	return errors.Join(errs...)
}

// checkHeader finds what is no platform file. Misspelt names are reported as well: one may be the cause.
func checkHeader(document json.RawMessage) []problem {
	section, err := decode[map[string]json.RawMessage](document)
	if err != nil {
		return whole(err)
	}
	version, errVersion := decode[string](section["apiVersion"])
	kind, errKind := decode[string](section["kind"])
	if errVersion == nil && errKind == nil && version == PlatformAPIVersion && kind == PlatformKind {
		return nil
	}
	err = fmt.Errorf("expected apiVersion %s and kind %s, got %q and %q", PlatformAPIVersion, PlatformKind, version, kind)
	return append(unknownFields(platformFields, section), problem{err: err})
}

// readSection reads the fields of a section in their order, and reports the names that are not among them.
func readSection(p *Platform, fields []platformField, raw json.RawMessage) []problem {
	section, err := decode[map[string]json.RawMessage](raw)
	if err != nil {
		return whole(err)
	}
	problems := unknownFields(fields, section)
	for _, f := range fields {
		problems = append(problems, below(f.name, f.read(p, section[f.name]))...)
	}
	return problems
}

func unknownFields(fields []platformField, section map[string]json.RawMessage) []problem {
	var known []string
	for _, f := range fields {
		known = append(known, f.name)
	}
	var problems []problem
	for _, name := range slices.Sorted(maps.Keys(section)) {
		if !slices.Contains(known, name) {
			problems = append(problems, problem{name, withHint(errors.New("unknown field"), name, known...)})
		}
	}
	return problems
}

// below are the problems of a field, or of an item such as [0], for the section or list that it is in.
func below(field string, problems []problem) []problem {
	for i, inner := range problems {
		path := field + "." + inner.path
		if inner.path == "" || strings.HasPrefix(inner.path, "[") {
			path = field + inner.path
		}
		problems[i].path = path
	}
	return problems
}

func (f platformField) read(p *Platform, raw json.RawMessage) []problem {
	switch {
	case f.item != nil:
		items, err := decode[[]json.RawMessage](raw)
		problems := whole(err)
		for i, item := range items {
			f.item(p)
			problems = append(problems, below(fmt.Sprintf("[%d]", i), readSection(p, f.fields, item))...)
		}
		return problems
	case f.optional && isNull(raw):
		return nil
	case f.fields != nil:
		return readSection(p, f.fields, raw)
	}
	if f.standard != "" {
		standard, err := yaml.YAMLToJSON([]byte(f.standard))
		if err != nil {
			return whole(err)
		}
		if isEmpty(raw, standard) {
			raw = standard
		}
	}
	return f.parse(p, raw)
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// isEmpty says whether a field has the zero value of what is its standard.
func isEmpty(raw, standard json.RawMessage) bool {
	zero := "0"
	switch standard[0] {
	case '"':
		zero = `""`
	case '[':
		zero = "[]"
	}
	return isNull(raw) || string(raw) == zero
}

// one parses a field with one value; nothing is the zero value.
func one[T any](parse func(p *Platform, value T) error) parsePlatform {
	return func(p *Platform, raw json.RawMessage) []problem {
		value, err := decode[T](raw)
		if err == nil {
			err = parse(p, value)
		}
		return whole(err)
	}
}

// each parses a list of texts item by item.
func each(parse func(p *Platform, item string) error) parsePlatform {
	return func(p *Platform, raw json.RawMessage) []problem {
		items, problems := stringItems(raw)
		for i, item := range items {
			if err := parse(p, item); err != nil {
				problems = append(problems, problem{fmt.Sprintf("[%d]", i), err})
			}
		}
		return problems
	}
}

// stringItems reads a list of texts. It is nil if nothing is written, and when something is wrong.
func stringItems(raw json.RawMessage) ([]string, []problem) {
	items, err := decode[[]json.RawMessage](raw)
	if err != nil || items == nil {
		return nil, whole(err)
	}
	var problems []problem
	values := make([]string, len(items))
	for i, item := range items {
		if values[i], err = decode[string](item); err != nil {
			problems = append(problems, problem{fmt.Sprintf("[%d]", i), err})
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return values, nil
}
