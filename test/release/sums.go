package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// fileSums is the file of checksums, which `sha256sum -c` reads.
const fileSums = "SHA256SUMS"

func writeSums(_ context.Context, stage string) error {
	entries, err := os.ReadDir(stage)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, e := range entries {
		sum, err := parts.FileSum(filepath.Join(stage, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, e.Name())
	}
	return os.WriteFile(filepath.Join(stage, fileSums), []byte(sums.String()), 0o644)
}
