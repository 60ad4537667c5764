package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/files"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

func newFilesCommand() *cobra.Command {
	var c files.Config
	var from agentFlags
	var signalName string
	var tokens []string
	var check bool
	cmd := &cobra.Command{
		Use:   "files",
		Short: "Keep an SVID, its key and bundles as files, for a program that speaks TLS itself",
		Long: "Keep an SVID, its key and bundles as files, for a program that speaks TLS itself. This is what the container\n" +
			"spiffe-files runs, in pods whose mode has files.\n\n" +
			"The directory has svid.pem, svid_key.pem, svid_bundle.pem and jwt_bundle.json, federated/NAME.pem and\n" +
			"federated/NAME.json of each federated trust domain, and a file for each token. All of them change at once, and\n" +
			"for the first time when all have come. Only the user that runs this can read them.\n\n" +
			"Exit codes: 0 ended by a signal, or the files are there (--check); 1 failed; 2 called wrongly.",
		Example: "  spire-injector files --workload-api unix:///run/spire/sockets/agent.sock --spiffe-id " +
			"spiffe://example.org/db --signal SIGHUP --process postgres\n" +
			"  spire-injector files --check",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if check {
				return files.Check(c.Dir, time.Now())
			}
			var err error
			if c.ID, err = from.identity("spiffe://example.org/db"); err != nil {
				return err
			}
			c.WorkloadAPI = from.address
			if c.Notice, err = noticeOf(signalName, c.Notice.Process); err != nil {
				return usageError{err}
			}
			if c.Tokens, err = tokensOf(tokens); err != nil {
				return usageError{err}
			}
			c.Log = slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), nil))
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return files.Run(ctx, c)
		},
	}
	from.add(cmd, "the identity whose files are kept")
	cmd.Flags().StringVar(&c.Dir, "dir", intent.FilesMountPath, "directory of the files")
	cmd.Flags().StringArrayVar(&tokens, "token", nil,
		"FILE=AUDIENCE: keep a JWT-SVID for the audience in the file; may be given several times")
	cmd.Flags().StringVar(&signalName, "signal", "",
		"signal for --process when certificates, key or bundles have changed: "+strings.Join(files.SignalNames(), ", "))
	cmd.Flags().StringVar(&c.Notice.Process, "process", "", "name of the processes that get the signal, as in /proc/PID/comm")
	cmd.Flags().BoolVar(&check, "check", false,
		"say whether the files are there and the certificate is valid, and do nothing else")
	return cmd
}

func noticeOf(signalName, process string) (files.Notice, error) {
	if signalName == "" && process == "" {
		return files.Notice{}, nil
	}
	sig, ok := files.Signals()[signalName]
	if !ok {
		return files.Notice{}, fmt.Errorf("--signal: expected one of %s, got %q",
			strings.Join(files.SignalNames(), ", "), signalName)
	}
	if process == "" {
		return files.Notice{}, errors.New("--process: expected the name of the processes that get the signal, got nothing")
	}
	return files.Notice{Signal: sig, Process: process}, nil
}

// tokensOf reads the values of --token.
func tokensOf(values []string) ([]files.Token, error) {
	var tokens []files.Token
	for _, v := range values {
		file, audience, found := strings.Cut(v, "=")
		if !found || audience == "" {
			return nil, fmt.Errorf("--token: expected FILE=AUDIENCE such as api.jwt=spiffe://example.org/api, got %q", v)
		}
		if err := intent.CheckTokenFile(file); err != nil {
			return nil, fmt.Errorf("--token: %w", err)
		}
		tokens = append(tokens, files.Token{File: file, Audience: audience})
	}
	return tokens, nil
}
