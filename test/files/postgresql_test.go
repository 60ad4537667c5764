package files

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

var postgreSQL = app{
	process: "postgres",
	prepare: func(ctx context.Context, c podConfig) error {
		initdb := c.as(ctx, nobody, filepath.Join(filepath.Dir(c.below("packages", c.Program)), "initdb"),
			"--no-sync", "--auth=trust", "--username=postgres", c.below("data"))
		if err := initdb.Run(); err != nil {
			return fmt.Errorf("initdb: %w", err)
		}
		rules := []byte("hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n")
		return os.WriteFile(c.below("data/pg_hba.conf"), rules, 0o644)
	},
	args: func(c podConfig) []string {
		args := []string{"-D", c.below("data")}
		for name, value := range map[string]string{
			"listen_addresses": "127.0.0.1", "port": fmt.Sprint(c.Serves), "unix_socket_directories": "", "fsync": "off",
			"ssl": "on", "ssl_min_protocol_version": "TLSv1.3", "ssl_cert_file": c.file("svid.pem"),
			"ssl_key_file": c.file("svid_key.pem"), "ssl_ca_file": c.file("svid_bundle.pem"),
		} {
			args = append(args, "-c", name+"="+value)
		}
		return args
	},
}

// A database serves by certificates that are renewed. Who connects meanwhile verifies it, and presents a
// certificate that it verifies; nobody is refused, and who stays connected loses nothing.
func TestPostgreSQLThroughRotations(t *testing.T) {
	t.Parallel()
	postgres, err := parts.EnsurePostgreSQL(t.Context(), userCache(t), os.Stderr)
	must(t, err)
	pod := newPod(t, "postgresql", postgres.Tree, filepath.Join("usr/lib/postgresql", postgres.Version, "bin/postgres"))
	pod.Serves = freePort(t)
	server := startSPIRE(t, pod.Dir)
	pod.start(t)

	address := fmt.Sprintf("127.0.0.1:%d", pod.Serves)
	config := clientConfig(t, server)
	var staying *connection
	eventually(t, "the database answers", func() error {
		staying, err = connect(t.Context(), address, config)
		return err
	})
	traffic := startRotations(t, "server")
	traffic.constantly("connection", func() error {
		c, err := connect(t.Context(), address, config)
		if err != nil {
			return err
		}
		traffic.saw("server", c.tls.ConnectionState().PeerCertificates[0])
		if err := c.query("SELECT 1"); err != nil {
			return err
		}
		return c.tls.Close()
	})
	traffic.constantly("query on one that stayed", func() error {
		time.Sleep(20 * time.Millisecond)
		return staying.query("SELECT 1")
	})
	traffic.wait()
	if _, err := connect(t.Context(), address, &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("a caller without a certificate was let in")
	}
}
