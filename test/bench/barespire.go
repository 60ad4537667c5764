package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	debugv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/agent/debug/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/spire-injector/spire-injector/test/standalone"
)

// bareSPIRE is a SPIRE server with an agent for each node of a bare cluster. Agents sign SVIDs of all entries that they
// are authorized for, whether a workload asks or not, of 1,000 at most.
type bareSPIRE struct {
	*standalone.Server
	settings spireSettings
	dir      string
	metrics  uint16 // port
	agents   []bareAgent
}

// bareAgent attests by the token of a pod of its node.
type bareAgent struct {
	*standalone.Process
	admin *grpc.ClientConn
}

// bareClusterName is what SPIRE and those who register call a bare cluster.
const bareClusterName = "demo-cluster"

// attestation is SPIRE's plugin that knows nodes by the tokens of pods.
func attestation(settings standalone.Object) standalone.Object {
	return standalone.Plugin("k8s_psat", settings)
}

// withSPIRE runs use while a fresh SPIRE is there.
func (b *bareCluster) withSPIRE(ctx context.Context, spire spireSettings, use func(*bareSPIRE) error) (err error) {
	dir, err := os.MkdirTemp(b.dir, "spire-")
	if err != nil {
		return err
	}
	s := &bareSPIRE{dir: dir, settings: spire}
	defer s.stop()
	if err := s.start(ctx, b); err != nil {
		return err
	}
	return use(s)
}

func (s *bareSPIRE) start(ctx context.Context, b *bareCluster) error {
	port, err := b.ports.Free(ctx)
	if err != nil {
		return err
	}
	if s.metrics, err = b.ports.Free(ctx); err != nil {
		return err
	}
	s.Server, err = standalone.StartServer(filepath.Join(s.dir, "server"), b.programs.SPIREServer, standalone.ServerConfig{
		Domain:       trustDomain,
		Port:         port,
		MetricsPort:  s.metrics,
		Experimental: s.settings.server,
		NodeAttestor: attestation(standalone.Object{"clusters": standalone.Object{bareClusterName: standalone.Object{
			"service_account_allow_list": []string{spireNamespace + ":" + agentAccount},
			"kube_config_file":           b.kubeconfig(),
		}}}),
	})
	if err != nil {
		return err
	}
	if err := s.Wait(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, s.Out)
	}
	for i := range b.agents {
		if err := s.startAgent(ctx, b, i); err != nil {
			return fmt.Errorf("agent of %s: %w", nodeName(i), err)
		}
	}
	return nil
}

// startAgent returns when the agent has attested.
func (s *bareSPIRE) startAgent(ctx context.Context, b *bareCluster, node int) error {
	dir := filepath.Join(s.dir, nodeName(node))
	token, err := b.agentToken(ctx, node)
	if err != nil {
		return err
	}
	file := filepath.Join(s.dir, nodeName(node)+"-token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		return err
	}
	admin := filepath.Join(dir, "admin", "admin.sock") // not below the folder of the other socket, says the agent
	process, err := standalone.StartAgent(ctx, dir, b.programs.SPIREAgent, s.Server, standalone.AgentConfig{
		Socket:       filepath.Join(dir, "workload", "agent.sock"),
		AdminSocket:  admin,
		Delegates:    []string{delegateID},
		Experimental: s.settings.agent,
		NodeAttestor: attestation(standalone.Object{"cluster": bareClusterName, "token_path": file}),
	})
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("unix://"+admin, grpc.WithTransportCredentials(insecure.NewCredentials()))
	s.agents = append(s.agents, bareAgent{Process: process, admin: conn})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		_, err := debugv1.NewDebugClient(conn).GetInfo(ctx, &debugv1.GetInfoRequest{})
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil || !process.Running():
			return fmt.Errorf("expected it to answer on its admin socket: %w\n%s", err, process.Out)
		}
		time.Sleep(poll)
		conn.ResetConnectBackoff()
	}
}

func (s *bareSPIRE) stop() {
	for _, a := range s.agents {
		if a.admin != nil {
			_ = a.admin.Close()
		}
		a.Stop()
	}
	if s.Server != nil && s.Process != nil {
		s.Server.Stop()
	}
}

// entries is how many there are.
func (s *bareSPIRE) entries(ctx context.Context) (int, error) {
	counted, err := entryv1.NewEntryClient(s.API).CountEntries(ctx, &entryv1.CountEntriesRequest{})
	return int(counted.GetCount()), err
}

// awaitEntries returns when there are so many.
func (s *bareSPIRE) awaitEntries(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, registrationTimeout, fmt.Errorf("not after %s", registrationTimeout))
	defer cancel()
	for start := time.Now(); ; {
		got, err := s.entries(ctx)
		if err == nil && got >= want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for SPIRE to have %d entries, of which there are %d: %w", want, got, errors.Join(context.Cause(ctx), err))
		case <-time.After(max(nextLook(time.Since(start)), 10*time.Millisecond)):
		}
	}
}

// held are how many SVIDs each agent holds. An agent counts every five seconds.
func (s *bareSPIRE) held(ctx context.Context) ([]int, error) {
	var all []int
	for i, a := range s.agents {
		info, err := debugv1.NewDebugClient(a.admin).GetInfo(ctx, &debugv1.GetInfoRequest{})
		if err != nil {
			return nil, fmt.Errorf("agent of %s: %w", nodeName(i), err)
		}
		all = append(all, int(info.CachedX509SvidsCount))
	}
	return all, nil
}

// signed are how many X.509-SVIDs each agent has had signed, as it logs. The server's count has those of its own health
// checks as well.
func (s *bareSPIRE) signed() []int {
	var all []int
	for _, a := range s.agents {
		log := a.Out.String()
		all = append(all, strings.Count(log, `"Creating X509-SVID"`)+strings.Count(log, `"Renewing X509-SVID"`))
	}
	return all
}

// counts are the server's metrics.
func (s *bareSPIRE) counts(ctx context.Context) (sums, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/metrics", s.metrics), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("reading the SPIRE server's metrics: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	counted, err := parseSums(text)
	if err != nil {
		return nil, fmt.Errorf("parsing the SPIRE server's metrics: %w", err)
	}
	return counted, nil
}

// restTime is how long nothing is signed when agents have all that they will: several of their syncs, also on a busy
// machine.
const restTime = 10 * time.Second

// awaitRest returns when the agents have signed all that they will.
func (s *bareSPIRE) awaitRest(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, registrationTimeout, fmt.Errorf("agents still sign SVIDs after %s", registrationTimeout))
	defer cancel()
	var signed []int
	for since := time.Now(); time.Since(since) < restTime; {
		if now := s.signed(); !slices.Equal(now, signed) {
			signed, since = now, time.Now()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(poll):
		}
	}
	return nil
}
