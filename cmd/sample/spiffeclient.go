package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

type spiffeClientOptions struct {
	socket, fetch, audience, dump, write string
	timeout                              time.Duration
}

func newSPIFFEClientCommand() *cobra.Command {
	var options spiffeClientOptions
	command := &cobra.Command{
		Use:   "spiffe-client",
		Short: "Fetch an X.509-SVID or a JWT-SVID, to standard output or to files",
		Long: `Fetch this container's X.509-SVID or JWT-SVID from the SPIRE agent. Of an X.509-SVID it prints a summary: the
SPIFFE ID, the trust domain, and subject and issuer of each certificate, those of the trust domain's bundle last. Of a
JWT-SVID it prints the token. --dump prints a part of it instead, and --write writes the files svid.0.pem, svid.0.key and
bundle.0.pem, or jwt.0.token, into a folder. The exit code is 1, with the agent's error, when there is no SVID.`,
		Example: `  sample spiffe-client
  sample spiffe-client --dump cert
  sample spiffe-client --fetch jwt --audience myapp --dump payload
  sample spiffe-client --write /tmp`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := options.check(); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(command.Context(), options.timeout)
			defer cancel()
			parts, err := options.fetchParts(ctx)
			if err != nil {
				return fmt.Errorf("the agent at %s gave no SVID: %w", options.socket, err)
			}
			return options.print(command.OutOrStdout(), parts)
		},
	}
	flags := command.Flags()
	addSocketFlag(command, &options.socket)
	flags.StringVar(&options.fetch, "fetch", "x509", `"x509" or "jwt"`)
	flags.StringVar(&options.audience, "audience", "CI", "whom a JWT-SVID is for")
	flags.StringVar(&options.dump, "dump", "", `what to print instead: "cert", "key" or "bundle", "header" or "payload"`)
	flags.StringVar(
		&options.write,
		"write",
		"",
		"folder for the files, which must exist; nothing is printed then but their names",
	)
	flags.DurationVar(&options.timeout, "timeout", 5*time.Second, "how long to wait for the agent")
	return command
}

// dumps names the parts of an SVID of a kind; nil for what is no kind.
func dumps(fetch string) []string {
	return map[string][]string{"x509": {"cert", "key", "bundle"}, "jwt": {"header", "payload"}}[fetch]
}

func (o spiffeClientOptions) check() error {
	parts := dumps(o.fetch)
	switch {
	case parts == nil:
		return usagef("--fetch: expected x509 or jwt, got %q", o.fetch)
	case o.dump != "" && !slices.Contains(parts, o.dump):
		return usagef("--dump: expected one of %s with --fetch %s, got %q", strings.Join(parts, ", "), o.fetch, o.dump)
	case o.dump != "" && o.write != "":
		return usagef("--dump and --write: expected one of them")
	case o.fetch == "jwt" && o.audience == "":
		return usagef("--audience: expected the name of whom the JWT-SVID is for, got nothing")
	}
	return errors.Join(checkSocket(o.socket), checkPositive("timeout", o.timeout))
}

// svidParts is an SVID as text: what is printed by itself (""), by the names of --dump, and the names of its files.
type svidParts struct {
	text  map[string]string
	files map[string]string // file to the name in text
}

func (o spiffeClientOptions) fetchParts(ctx context.Context) (svidParts, error) {
	if o.fetch == "jwt" {
		svid, err := workloadapi.FetchJWTSVID(ctx, jwtsvid.Params{Audience: o.audience}, workloadapi.WithAddr(o.socket))
		if err != nil {
			return svidParts{}, err
		}
		return jwtParts(svid.Marshal())
	}
	fetched, err := workloadapi.FetchX509Context(ctx, workloadapi.WithAddr(o.socket))
	if err != nil {
		return svidParts{}, err
	}
	svid := fetched.DefaultSVID()
	bundle, err := fetched.Bundles.GetX509BundleForTrustDomain(svid.ID.TrustDomain())
	if err != nil {
		return svidParts{}, err
	}
	return x509Parts(svid, bundle.X509Authorities())
}

func x509Parts(svid *x509svid.SVID, authorities []*x509.Certificate) (svidParts, error) {
	certificates, key, err := svid.Marshal()
	if err != nil {
		return svidParts{}, err
	}
	var summary strings.Builder
	printf(&summary, "- SPIFFE ID = %s\n- TrustDomain = %s\n", svid.ID, svid.ID.TrustDomain())
	for i, c := range append(slices.Clone(svid.Certificates), authorities...) {
		printf(&summary, "- Cert[%d] Subject = %s\n- Cert[%d] Issuer = %s\n", i, c.Subject, i, c.Issuer)
	}
	return svidParts{
		text: map[string]string{
			"": summary.String(), "cert": string(certificates), "key": string(key), "bundle": encodeCertificates(authorities),
		},
		files: map[string]string{"svid.0.pem": "cert", "svid.0.key": "key", "bundle.0.pem": "bundle"},
	}, nil
}

// print prints what was asked for, or writes the files and prints their names.
func (o spiffeClientOptions) print(out io.Writer, parts svidParts) error {
	if o.write == "" {
		printf(out, "%s", parts.text[o.dump])
		return nil
	}
	for _, file := range slices.Sorted(maps.Keys(parts.files)) {
		path := filepath.Join(o.write, file)
		if err := os.WriteFile(path, []byte(parts.text[parts.files[file]]), 0o600); err != nil {
			return fmt.Errorf("--write: %w", err)
		}
		printf(out, "%s\n", path)
	}
	return nil
}
