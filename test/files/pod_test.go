package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/files"
)

// This program runs itself as what a pod has: its first process, and the container beside the database.
const (
	roleVariable = "FILES_ROLE"
	rolePod      = "pod"
	roleKeeper   = "keeper"

	dirVariable  = "FILES_DIR"
	treeVariable = "FILES_TREE" // with PostgreSQL's programs
	portVariable = "FILES_PORT"
)

// Users of the pod. The first has a name everywhere, which initdb wants.
const (
	nobody   = 65534
	stranger = 65533
)

// below is a path in the pod's directory.
func below(path ...string) string {
	return filepath.Join(append([]string{os.Getenv(dirVariable)}, path...)...)
}

// pod is the first process of PID and mount namespaces of its own, as in a pod whose containers share their processes.
// It runs until the database or the keeper of its files ends.
func pod(ctx context.Context) error {
	for _, mount := range []func() error{
		func() error { return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "") },
		func() error { return syscall.Mount("proc", "/proc", "proc", 0, "") },
		func() error {
			return syscall.Mount(os.Getenv(treeVariable), below("postgresql"), "", syscall.MS_BIND, "")
		},
		func() error { return syscall.Mount("tmpfs", below("volume"), "tmpfs", 0, "mode=0777,size=1m") }, // as the kubelet's
	} {
		if err := mount(); err != nil {
			return err
		}
	}
	programs, err := filepath.Glob(below("postgresql/usr/lib/postgresql/*/bin"))
	if err != nil || len(programs) != 1 {
		return errors.Join(err, fmt.Errorf("expected PostgreSQL's programs in one folder, got %q", programs))
	}
	keeper := as(ctx, nobody, below("keeper"))
	keeper.Env = append(os.Environ(), roleVariable+"="+roleKeeper)
	if err := keeper.Start(); err != nil {
		return err
	}
	initdb := as(ctx, nobody, filepath.Join(programs[0], "initdb"),
		"--no-sync", "--auth=trust", "--username=postgres", below("data"))
	if err := initdb.Run(); err != nil {
		return fmt.Errorf("initdb: %w", err)
	}
	rules := []byte("hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n")
	if err := os.WriteFile(below("data/pg_hba.conf"), rules, 0o644); err != nil {
		return err
	}
	for files.Check(below("volume"), time.Now()) != nil {
		time.Sleep(10 * time.Millisecond)
	}
	if err := strangersReadNothing(ctx); err != nil {
		return err
	}
	settings := []string{"-D", below("data")}
	for name, value := range map[string]string{
		"listen_addresses": "127.0.0.1", "port": os.Getenv(portVariable), "unix_socket_directories": "", "fsync": "off",
		"ssl": "on", "ssl_min_protocol_version": "TLSv1.3", "ssl_cert_file": below("volume/svid.pem"),
		"ssl_key_file": below("volume/svid_key.pem"), "ssl_ca_file": below("volume/svid_bundle.pem"),
	} {
		settings = append(settings, "-c", name+"="+value)
	}
	database := as(ctx, nobody, filepath.Join(programs[0], "postgres"), settings...)
	if err := database.Start(); err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- errors.Join(errors.New("the keeper of the files has ended"), keeper.Wait()) }()
	go func() { ended <- errors.Join(errors.New("the database has ended"), database.Wait()) }()
	return <-ended
}

// as is a program that a user of the pod runs.
func as(ctx context.Context, user uint32, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+below("postgresql/usr/lib/x86_64-linux-gnu")+":"+
		below("postgresql/usr/lib/aarch64-linux-gnu"), "LC_ALL=C")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	return cmd
}

// strangersReadNothing tries every file as another user of the pod.
func strangersReadNothing(ctx context.Context) error {
	for _, name := range []string{files.SVIDFile, files.KeyFile, files.BundleFile, files.JWTBundleFile} {
		var said bytes.Buffer
		cat := as(ctx, stranger, "cat", below("volume", name))
		cat.Stdout, cat.Stderr = nil, &said
		if err := cat.Run(); err == nil {
			return fmt.Errorf("%s: another user reads it", name)
		} else if !bytes.Contains(said.Bytes(), []byte("Permission denied")) {
			return fmt.Errorf("%s: expected that another user may not read it, got %w: %s", name, err, &said)
		}
	}
	return nil
}

// keeper keeps the files.
func keeper(ctx context.Context) error {
	return files.Run(ctx, files.Config{
		WorkloadAPI: "unix://" + below("agent.sock"),
		ID:          spiffeid.RequireFromPath(domain, "/db"),
		Dir:         below("volume"),
		Notice:      files.Notice{Signal: syscall.SIGHUP, Process: "postgres"},
		Log:         slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
}

// environment is what a pod's first process is told.
func environment(dir, tree string, port uint16) []string {
	return []string{
		roleVariable + "=" + rolePod, dirVariable + "=" + dir, treeVariable + "=" + tree,
		portVariable + "=" + strconv.Itoa(int(port)),
	}
}
