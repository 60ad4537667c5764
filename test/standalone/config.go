package standalone

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// Object is one in a SPIRE program's configuration.
type Object map[string]any

// Plugin is one with its settings.
func Plugin(name string, data Object) Object { return Object{name: Object{"plugin_data": data}} }

// plugin is the only one of its kind.
func plugin(name string, data Object) []Object { return []Object{Plugin(name, data)} }

func writeConfig(dir string, content Object) (path string, err error) {
	raw, err := json.Marshal(content)
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "config.json")
	return path, os.WriteFile(path, raw, 0o600)
}
