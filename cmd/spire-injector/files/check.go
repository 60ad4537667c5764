package files

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Check says whether the files are there, and the certificate has not expired.
func Check(dir string, now time.Time) error {
	data, err := filepath.EvalSymlinks(filepath.Join(dir, dataLink))
	if err != nil {
		return fmt.Errorf("expected files in %s, got none yet: %w", dir, err)
	}
	var parts [][]byte
	for _, file := range []string{SVIDFile, KeyFile} {
		text, err := os.ReadFile(filepath.Join(data, file))
		if err != nil {
			return err
		}
		parts = append(parts, text)
	}
	svid, err := x509svid.Parse(parts[0], parts[1])
	if err != nil {
		return fmt.Errorf("%s and %s in %s: %w", SVIDFile, KeyFile, dir, err)
	}
	if end := svid.Certificates[0].NotAfter; !now.Before(end) {
		return fmt.Errorf("expected a certificate that is valid in %s, got one that expired at %s",
			dir, end.Format(time.RFC3339))
	}
	return nil
}
