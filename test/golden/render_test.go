package golden

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/golden/layout"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// renderer writes a result for reviewers.
type renderer struct {
	standards standards
	files     map[string]string
}

// generated is one call of templates.Generate.
type generated struct {
	proxy  ir.Proxy
	config templates.Config
}

// pod writes what has become of a pod, with the documents in its annotations in files of their own.
func (r renderer) pod(t *testing.T, before, after []byte, asked []generated) {
	t.Helper()
	was, is := asMap(t, json.RawMessage(before)), asMap(t, json.RawMessage(after))
	annotations := is["metadata"].(map[string]any)["annotations"].(map[string]any)
	if status, ok := annotations[intent.AnnotationStatus].(string); ok {
		r.layOut(t, "status.yaml", []byte(status))
		var compact bytes.Buffer
		must(t, json.Compact(&compact, []byte(status)))
		if compact.String() != status {
			t.Errorf("the status is not compact: %s", status)
		}
		annotations[intent.AnnotationStatus] = "see status.yaml"
	}
	var config templates.Config
	switch len(asked) {
	case 0:
	case 1:
		config = asked[0].config
		r.layOut(t, "proxy.yaml", []byte(describe(reflect.ValueOf(asked[0].proxy))))
	default:
		t.Fatalf("expected one call of Generate at most, got %d", len(asked))
	}
	files := map[string]string{
		intent.AnnotationBootstrap:     config.Bootstrap,
		intent.AnnotationListeners:     config.Listeners,
		intent.AnnotationClusters:      config.Clusters,
		intent.AnnotationAuthorization: config.Authorization,
		intent.AnnotationCertificate:   config.Certificate,
	}
	for n, content := range config.CAs {
		files[intent.AnnotationCA(n)] = content
	}
	for key, want := range files {
		got, ok := annotations[key].(string)
		if diff := cmp.Diff(want, got); diff != "" || ok != (want != "") {
			t.Errorf("%s is not what Generate returned for the proxy (-want +got):\n%s", key, diff)
		}
		delete(annotations, key)
	}
	for key := range annotations {
		if strings.HasPrefix(key, intent.Prefix+"envoy-") {
			t.Errorf("%s is a file of Envoy's that this test does not know", key)
		}
	}
	changes := r.standards.changes("", was, is)
	if diff := cmp.Diff(any(is), r.standards.restored("", was, changes)); diff != "" {
		t.Fatalf("the changes do not say what the pod is (-pod +restored):\n%s", diff)
	}
	r.layOut(t, "pod.yaml", []byte(namesFirst(changes)))
}

// namesFirst is JSON that tells of each item first which one it is.
func namesFirst(value any) string {
	var parts []string
	switch value := value.(type) {
	case map[string]any:
		keys := slices.Sorted(maps.Keys(value))
		slices.SortStableFunc(keys, func(a, b string) int { return first(b) - first(a) })
		for _, key := range keys {
			parts = append(parts, quote(key)+":"+namesFirst(value[key]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case []any:
		for _, item := range value {
			parts = append(parts, namesFirst(item))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case string:
		return quote(value)
	case nil:
		return "null"
	}
	return fmt.Sprint(value)
}

func first(key string) int {
	if key == "name" || key == standardKey {
		return 1
	}
	return 0
}

func (r renderer) entries(t *testing.T, entries []registrar.Entry) {
	t.Helper()
	if len(entries) == 0 {
		return
	}
	var list bytes.Buffer
	must(t, registrar.EncodeEntries(&list, entries))
	r.layOut(t, "entries.yaml", list.Bytes())
}

// layOut writes a JSON document.
func (r renderer) layOut(t *testing.T, name string, document []byte) {
	t.Helper()
	text, err := layout.YAML(document)
	must(t, err)
	r.files[name] = string(text)
}

// asMap is an object as its JSON has it.
func asMap(t *testing.T, object any) map[string]any {
	t.Helper()
	data, err := json.Marshal(object)
	must(t, err)
	var out map[string]any
	must(t, json.Unmarshal(data, &out))
	return out
}
