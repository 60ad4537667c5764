package parts

import (
	"context"
	"io"
	"os"
)

// EnvoyProgram is the path of the Envoy that ENVOY names, or else of the one that the test cluster runs.
func EnvoyProgram(ctx context.Context, progress io.Writer) (string, error) {
	if path := os.Getenv("ENVOY"); path != "" {
		return path, nil
	}
	cache, err := UserCache()
	if err != nil {
		return "", err
	}
	programs, err := Ensure(ctx, cache, ForEnvoy, progress)
	return programs.Envoy, err
}
