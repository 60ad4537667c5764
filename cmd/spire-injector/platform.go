package main

import (
	"fmt"
	"os"

	"github.com/spire-injector/spire-injector/webhook"
)

// readPlatform reads and checks the platform file.
func readPlatform(file string) (webhook.Platform, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return webhook.Platform{}, fmt.Errorf("reading the platform file: %w; name it with --config", err)
	}
	p, err := webhook.ParsePlatform(data)
	if err != nil {
		return webhook.Platform{}, fmt.Errorf("platform file %s:\n%w", file, err)
	}
	return p, nil
}
