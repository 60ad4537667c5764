package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// PolicyEngine enforces NetworkPolicies on the first node of a cluster. Without one they are kept, and enforced by
// nobody.
type PolicyEngine struct {
	program *exec.Cmd
	inNode  func(ctx context.Context, argv ...string) *exec.Cmd
	log     string
}

// EnforcePolicies starts the engine in the node's network, with a log beside those of the daemons. It is to be stopped.
func EnforcePolicies(ctx context.Context, o Options, engine parts.PolicyEngine) (*PolicyEngine, error) {
	state, err := Inspect(ctx, o)
	if err != nil {
		return nil, err
	}
	if !state.Ready {
		return nil, errNotUp(state.Name)
	}
	e := &PolicyEngine{
		log: state.Logs + "/network-policy.log",
		inNode: func(ctx context.Context, argv ...string) *exec.Cmd {
			enter := []string{"--target", strconv.Itoa(state.PID), "--net", "--mount", "--"}
			cmd := exec.CommandContext(ctx, "nsenter", append(enter, argv...)...)
			cmd.Env = append(os.Environ(), engine.Env...)
			return cmd
		},
	}
	log, err := os.Create(e.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	e.program = e.inNode(context.WithoutCancel(ctx), engine.Program, "--kubeconfig", state.Kubeconfig,
		"--node", controlPlane.name(), "--services", ipv4.services.String())
	e.program.Stdout, e.program.Stderr = log, log
	e.program.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := e.program.Start(); err != nil {
		return nil, fmt.Errorf("starting what enforces NetworkPolicies: %w", err)
	}
	return e, nil
}

// Rules are the rules of the node's firewall that the engine made.
func (e *PolicyEngine) Rules(ctx context.Context) ([]string, error) {
	out, err := e.inNode(ctx, "iptables-save", "--table", "filter").Output()
	if err != nil {
		return nil, fmt.Errorf("reading the node's firewall: %w", err)
	}
	var rules []string
	for line := range strings.Lines(string(out)) {
		for _, chain := range []string{"KUBE-ROUTER-", "KUBE-NWPLCY-", "KUBE-POD-FW-"} {
			if strings.Contains(line, chain) {
				rules = append(rules, strings.TrimSpace(line))
				break
			}
		}
	}
	return rules, nil
}

// Stop ends the engine, which takes its rules away.
func (e *PolicyEngine) Stop() error {
	if err := e.program.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := e.program.Wait(); err != nil {
		text, _ := os.ReadFile(e.log)
		return fmt.Errorf("what enforces NetworkPolicies: %w\n%.2000s", err, text)
	}
	return nil
}
