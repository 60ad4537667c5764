package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/capture"
	"github.com/spire-injector/spire-injector/templates/ir"
)

func newCaptureCommand() *cobra.Command {
	var redirects, names, open []string
	var ipFamily string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "capture",
		Short: "Lead connections from outside a pod to its Envoy, whatever port they are for",
		Long: "Lead TCP connections from outside a pod to its Envoy, whatever port of the app they are for, and close\n" +
			"all other ports. This is for an init container. It needs the capability NET_ADMIN, and root only where the\n" +
			"program's file lacks the capability cap_net_admin=p, which it has in the injector's image.\n\n" +
			"It writes one nftables table for IPv4 and IPv6, in the place of that of an earlier run, and prints it. If\n" +
			"that fails, nothing has changed. Connections by way of loopback stay as they are, those of kubectl\n" +
			"port-forward included. So do those that the pod opens, but for names that --name leads to Envoy, and UDP.\n\n" +
			"Exit codes: 0 the rules are in force, 1 failed, 2 called wrongly.",
		Example: "  # 8080 of the app comes to Envoy's 8443, 15025 to its readiness; 15022 (probes) and 9090 (plain) stay\n" +
			"  # open.\n" +
			"  spire-injector capture --redirect 8080:8443 --redirect 15025:15021 --open 15022 --open 9090",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rules, err := captureRules(redirects, names, open)
			if err != nil {
				return usageError{err}
			}
			family, err := ir.ParseIPFamily(ipFamily)
			if err != nil {
				return usageError{fmt.Errorf("--ip-family: %w", err)}
			}
			if !dryRun {
				if err := capture.Apply(cmd.Context(), rules, family); err != nil {
					return err
				}
			}
			fmt.Fprint(cmd.OutOrStdout(), rules)
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&redirects, "redirect", nil,
		"a port, and the one on which Envoy listens in its place; may be given several times")
	cmd.Flags().StringArrayVar(&names, "name", nil, "an address of loopback that stands for a name in the pod, its port, or * for all "+
		"that have none, and the port of 127.0.0.1 on which Envoy listens in its place, such as 127.0.1.1:8080:15500; may be given several times")
	cmd.Flags().StringArrayVar(&open, "open", nil, "a further port that answers from outside; may be given several times")
	cmd.Flags().StringVar(&ipFamily, "ip-family", ir.IPv4.String(),
		"addresses on which Envoy listens: IPv4, IPv6 or DualStack; rules are for both")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the rules and change nothing")
	return cmd
}

// captureRules reads the values of the flags. They are valid.
func captureRules(redirects, names, open []string) (capture.Rules, error) {
	var rules capture.Rules
	for _, text := range redirects {
		redirect, err := capture.ParseRedirect(text)
		if err != nil {
			return rules, fmt.Errorf("--redirect: %w", err)
		}
		rules.Redirects = append(rules.Redirects, redirect)
	}
	for _, text := range names {
		name, err := capture.ParseNameRedirect(text)
		if err != nil {
			return rules, fmt.Errorf("--name: %w", err)
		}
		rules.Names = append(rules.Names, name)
	}
	for _, text := range open {
		port, err := capture.ParsePort(text)
		if err != nil {
			return rules, fmt.Errorf("--open: %w", err)
		}
		rules.Open = append(rules.Open, port)
	}
	return rules, rules.Validate()
}
