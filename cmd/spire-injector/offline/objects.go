package offline

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// object is one Kubernetes object of a document: the document itself, or an item of the list that it is.
type object struct {
	where   string // for messages, such as "document 2, items[0]"
	pointer string // JSON pointer to it inside its document
	json    json.RawMessage
	header  header
}

// header is what of all Kubernetes objects takes part in injection.
type header struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        struct {
		Name         string            `json:"name"`
		GenerateName string            `json:"generateName"`
		Namespace    string            `json:"namespace"`
		Labels       map[string]string `json:"labels"`
		Annotations  map[string]string `json:"annotations"`
	} `json:"metadata"`
}

func (h header) String() string {
	name := h.Metadata.Name
	if name == "" {
		name = h.Metadata.GenerateName
	}
	return strings.TrimSpace(h.Kind + " " + name)
}

func (o object) String() string { return fmt.Sprintf("%s (%s)", o.where, o.header) }

func (o object) kind() string { return o.header.APIVersion + "/" + o.header.Kind }

const (
	namespaceKind = "v1/Namespace"
	serviceKind   = "v1/Service"
)

// objects are those of one document. The error names every one that cannot be read.
func objects(d document) ([]object, error) {
	if d.json == nil {
		return nil, nil
	}
	return flatten(object{where: fmt.Sprintf("document %d", d.number), json: d.json}, "")
}

// flatten replaces a list by its items. The items of a typed list, such as a PodList, need not say what they are:
// itemKind does.
func flatten(o object, itemKind string) ([]object, error) {
	if o.json[0] == '[' && itemKind == "" && o.pointer == "" {
		return nil, nil // of something else, as values of a chart
	}
	if o.json[0] != '{' {
		return nil, fmt.Errorf("%s: expected a Kubernetes object, with apiVersion and kind, got %.40s", o.where, o.json)
	}
	var t metav1.TypeMeta
	if err := json.Unmarshal(o.json, &t); err != nil {
		return nil, fmt.Errorf("%s: expected a Kubernetes object: %w", o.where, err)
	}
	if t == (metav1.TypeMeta{}) && itemKind != "" {
		i := strings.LastIndex(itemKind, "/")
		t = metav1.TypeMeta{APIVersion: itemKind[:i], Kind: itemKind[i+1:]}
	}
	o.header.TypeMeta = t
	switch kind, isList := strings.CutSuffix(o.kind(), "List"); {
	case o.kind() == "v1/List":
		return items(o, "")
	case isList && concerns(kind):
		return items(o, kind)
	case isList && kind == serviceKind:
		if services, err := items(o, kind); err == nil {
			return services, nil
		}
		return []object{o}, nil // passes through as it is
	case !concerns(o.kind()):
		if _, hasPod := podIn(o); hasPod || len(byTheClusterAlone(o)) > 0 {
			_ = json.Unmarshal(o.json, &o.header) // what of it can be read
			o.header.TypeMeta = t
		}
		return []object{o}, nil
	}
	if err := json.Unmarshal(o.json, &o.header); err != nil {
		o = named(o)
		if err := unquoted(o.json); err != nil {
			return nil, fmt.Errorf("%s:%s", o, mistakes(err))
		}
		return nil, fmt.Errorf("%s: expected a Kubernetes object: %w", o, err)
	}
	o.header.TypeMeta = t
	return []object{o}, nil
}

// concerns says whether objects of a kind take part in injection.
func concerns(kind string) bool {
	_, hasPod := inject.PodPointer(kind)
	return hasPod || kind == namespaceKind
}

func items(list object, itemKind string) ([]object, error) {
	var content struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(list.json, &content); err != nil {
		return nil, fmt.Errorf("%s (%s): expected a list of objects under items", list.where, list.header.Kind)
	}
	var all []object
	var errs []error
	for i, item := range content.Items {
		found, err := flatten(object{
			where:   fmt.Sprintf("%s, items[%d]", list.where, i),
			pointer: fmt.Sprintf("%s/items/%d", list.pointer, i),
			json:    item,
		}, itemKind)
		all, errs = append(all, found...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

// named gives an object whose metadata cannot be decoded as a whole its name, for a message.
func named(o object) object {
	var n struct {
		Metadata struct {
			Name any `json:"name"`
		} `json:"metadata"`
	}
	o.header.Metadata.Name = ""
	if json.Unmarshal(o.json, &n) == nil && n.Metadata.Name != nil {
		o.header.Metadata.Name = fmt.Sprint(n.Metadata.Name)
	}
	return o
}

// unquoted finds labels and annotations whose value YAML takes for something else than the string that it has to be:
// a port without quotes is a number. The error is a Refusal.
func unquoted(object []byte) error {
	var o struct {
		Metadata struct {
			Labels      map[string]json.RawMessage `json:"labels"`
			Annotations map[string]json.RawMessage `json:"annotations"`
		} `json:"metadata"`
	}
	_ = json.Unmarshal(object, &o) // what is no object is told when it is decoded as what it should be
	var found []intent.Mistake
	find := func(what string, values map[string]json.RawMessage) {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			value := string(values[key])
			hint := fmt.Sprintf("quote it: %q", value)
			switch value[0] {
			case '"', 'n': // a string, or null
				continue
			case '{', '[':
				hint = "write | behind the colon and the value on lines of its own"
			}
			if key == intent.LabelInject {
				hint = "write " + intent.InjectEnabled + " or " + intent.InjectDisabled
			}
			found = append(found, intent.Mistake{Where: what + " " + key, What: "expected a string, got " + value, Hint: hint})
		}
	}
	find("label", o.Metadata.Labels)
	find("annotation", o.Metadata.Annotations)
	if len(found) == 0 {
		return nil
	}
	return &intent.Refusal{Reason: reason.Invalid, Mistakes: found}
}
