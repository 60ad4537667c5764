package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// noopWebhookPath is the path of spire-injector's own webhook, so that a configuration of one
// serves for the other.
const noopWebhookPath = "/mutate-pod"

type noopWebhookOptions struct {
	listen    string
	namespace string
	name      string
	hosts     []string
	caOut     string
	patch     string
}

func newNoopWebhookCommand() *cobra.Command {
	var options noopWebhookOptions
	command := &cobra.Command{
		Use:   "noop-webhook",
		Short: "Serve an admission webhook that decides nothing",
		Long: `Serve an admission webhook at /mutate-pod that allows everything and changes nothing: the floor to
compare a real webhook with, made of the same library.

With --patch its answer to every request is one and the same JSON patch: the floor to compare a webhook
with that changes what it sees, because most of what such a webhook costs is the API server's own work
of applying the patch and keeping what it adds. Register it only for the creation of objects that the
patch fits.

At the start it makes a CA and, for the Service --name in --namespace, a serving certificate. The CA,
which belongs into the webhook configuration's caBundle, goes to --ca-out, or else to stderr before all that is logged.`,
		Example: `  podtool noop-webhook --listen :9443 --namespace bench --name noop
  podtool noop-webhook --namespace bench --name noop --host 127.0.0.1 --ca-out /tmp/ca.pem
  podtool noop-webhook --namespace bench --name constant --patch /etc/bench/patch.json`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			return serveNoopWebhook(command.Context(), options, command.ErrOrStderr())
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.listen, "listen", ":9443", "address to listen on")
	flags.StringVar(&options.namespace, "namespace", "", "namespace of the webhook's Service (required)")
	flags.StringVar(&options.name, "name", "", "name of the webhook's Service (required)")
	flags.StringArrayVar(&options.hosts, "host", nil, "a further DNS name or IP address for the certificate; may be repeated")
	flags.StringVar(&options.caOut, "ca-out", "", "file to write the CA certificate to (default: stderr)")
	flags.StringVar(&options.patch, "patch", "", "file with a JSON patch (RFC 6902) to answer every request with (default: no patch)")
	return command
}

func serveNoopWebhook(ctx context.Context, options noopWebhookOptions, logs io.Writer) error {
	if options.namespace == "" || options.name == "" {
		return usagef("--namespace and --name are required: they make the certificate's DNS name NAME.NAMESPACE.svc")
	}
	host, port, err := splitListen(options.listen)
	if err != nil {
		return err
	}
	patch, err := readPatch(options.patch)
	if err != nil {
		return fmt.Errorf("--patch: %w", err)
	}
	service := options.name + "." + options.namespace + ".svc"
	authority, certificate, err := newServingCertificate(append([]string{service, service + ".cluster.local"}, options.hosts...))
	if err != nil {
		return fmt.Errorf("making the serving certificate: %w", err)
	}
	if err := publishCA(options.caOut, logs, authority); err != nil {
		return err
	}
	log.SetLogger(logr.FromSlogHandler(newEventLog(logs).Handler()))
	server := webhook.NewServer(webhook.Options{
		Host: host,
		Port: port,
		TLSOpts: []func(*tls.Config){func(config *tls.Config) {
			config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil }
		}},
	})
	server.Register(noopWebhookPath, &webhook.Admission{Handler: alwaysAnswer(patch)})
	return server.Start(ctx)
}

func splitListen(listen string) (host string, port int, err error) {
	host, service, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, usagef("--listen: %w", err)
	}
	// Port 0 would not mean a free port here: the library takes it for its default of 9443.
	port, err = strconv.Atoi(service)
	if err != nil || port < 1 || port > 65535 {
		return "", 0, usagef("--listen: expected a port from 1 to 65535, got %q", service)
	}
	return host, port, nil
}

// publishCA writes where logs go, rather than to stdout: in a pod's log lines of two streams can come in each other's
// midst.
func publishCA(file string, logs io.Writer, authority []byte) error {
	if file == "" {
		_, err := logs.Write(authority)
		return err
	}
	if err := os.WriteFile(file, authority, 0o644); err != nil { //nolint:gosec // a CA certificate is public
		return fmt.Errorf("--ca-out: %w", err)
	}
	return nil
}
