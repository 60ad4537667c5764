package platformfile

import (
	"fmt"
	"os"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Read reads and checks the platform file. It also returns it as it is written.
func Read(file string) (intent.Platform, []byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return intent.Platform{}, nil, fmt.Errorf("reading the platform file: %w; name it with --config", err)
	}
	p, err := intent.ParsePlatform(data)
	if err != nil {
		return intent.Platform{}, nil, fmt.Errorf("platform file %s:\n%w", file, err)
	}
	return p, data, nil
}
