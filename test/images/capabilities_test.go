package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCapabilitiesArrive: another program than ours, which unpacks the layer of the injector's image as container
// runtimes do, gives the file its capability, and no other file one.
func TestCapabilitiesArrive(t *testing.T) {
	entries, err := InjectorOf("injector:1", file(t, "hello")).complete()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	archive, err := os.Create(filepath.Join(folder, "layer.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if err := writeLayer(archive, entries); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "tar", "--extract", "--xattrs", "--xattrs-include=security.capability",
		"--file", archive.Name(), "--directory", folder).CombinedOutput()
	if err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	for name, want := range map[string]string{"spire-injector": NetAdminPermitted, "tmp": ""} {
		value := make([]byte, 64)
		size, err := unix.Getxattr(filepath.Join(folder, name), "security.capability", value)
		if err == unix.ENODATA {
			size, err = 0, nil
		}
		if err != nil || string(value[:size]) != want {
			t.Errorf("%s: got %q, %v", name, value[:max(size, 0)], err)
		}
	}
	// The kernel's own view: the bit "effective" is not set.
	if NetAdminPermitted[0]&1 != 0 {
		t.Error("the program would start in no container without NET_ADMIN")
	}
}
