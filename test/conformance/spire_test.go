package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/standalone"
)

const (
	ownDomain = "example.org"
	// partnerDomain begins like our own, so that whoever compares without the slash confuses them.
	partnerDomain = "example.org.partner.test"
)

// spire is two trust domains that know each other's bundle, and an agent of the first.
type spire struct {
	own, partner *server
	agent        *standalone.Process
	socket       string            // the agent's Workload API
	envoys       map[string]string // by path of the SPIFFE ID: the program that gets that SVID, and no other
}

// identities are the paths of the IDs that Envoys have, and whether their entries federate.
var identities = map[string]bool{"/api": true, "/caller": true, "/edge": false, "/secluded": false}

// startSPIRE starts everything below dir. What it returns is to be stopped also when there is an error.
func startSPIRE(ctx context.Context, dir string, programs parts.Programs) (*spire, error) {
	s := &spire{socket: filepath.Join(dir, "agent.sock"), envoys: map[string]string{}}
	// All before the first start: a program that is being written cannot be run, and a process that begins meanwhile
	// inherits the open file for a moment.
	for path := range identities {
		s.envoys[path] = filepath.Join(dir, "envoy-"+path[1:])
		if err := linkOrCopy(programs.Envoy, s.envoys[path]); err != nil {
			return s, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var err error
	if s.own, err = startServer(ctx, filepath.Join(dir, "own"), programs.SPIREServer, ownDomain); err != nil {
		return s, err
	}
	if s.partner, err = startServer(ctx, filepath.Join(dir, "partner"), programs.SPIREServer, partnerDomain); err != nil {
		return s, err
	}
	if err := errors.Join(s.own.Wait(ctx), s.partner.Wait(ctx)); err != nil {
		return s, err
	}
	if err := s.federate(ctx); err != nil {
		return s, err
	}
	token, err := s.own.JoinToken(ctx)
	if err != nil {
		return s, err
	}
	if err := s.register(ctx, "/spire/agent/join_token/"+token); err != nil {
		return s, err
	}
	s.agent, err = standalone.StartAgent(ctx, filepath.Join(dir, "agent"), programs.SPIREAgent, s.own.Server, standalone.AgentConfig{Socket: s.socket, JoinToken: token})
	return s, err
}

// federate gives our server the partner's bundle.
func (s *spire) federate(ctx context.Context) error {
	bundle, err := bundlev1.NewBundleClient(s.partner.API).GetBundle(ctx, &bundlev1.GetBundleRequest{})
	if err != nil {
		return err
	}
	response, err := bundlev1.NewBundleClient(s.own.API).BatchSetFederatedBundle(ctx, &bundlev1.BatchSetFederatedBundleRequest{
		Bundle: []*types.Bundle{bundle},
	})
	if err != nil {
		return err
	}
	return failed("give the server the partner's bundle", response.Results[0].Status)
}

// register gives each of the Envoy programs its identity, when this user runs it on the node of the agent; and, before
// and after it in whatever order the agent has, other identities, so that an Envoy has to know which one it wants. This
// program is what runs beside the Envoys that have to do with tokens.
func (s *spire) register(ctx context.Context, agent string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if program, err = filepath.EvalSymlinks(program); err != nil {
		return err
	}
	request := &entryv1.BatchCreateEntryRequest{}
	for _, path := range []string{"/api", "/caller"} {
		request.Entries = append(request.Entries, &types.Entry{
			SpiffeId:      &types.SPIFFEID{TrustDomain: ownDomain, Path: path},
			ParentId:      &types.SPIFFEID{TrustDomain: ownDomain, Path: agent},
			Selectors:     []*types.Selector{{Type: "unix", Value: "path:" + program}},
			FederatesWith: []string{partnerDomain}, JwtSvidTtl: int32(tokenLife / time.Second),
		})
	}
	for path, federates := range identities {
		for order, id := range []string{"/a-decoy", path, "/z-decoy"} {
			entry := &types.Entry{
				Id:       fmt.Sprintf("%s.%d", path[1:], order),
				SpiffeId: &types.SPIFFEID{TrustDomain: ownDomain, Path: id},
				ParentId: &types.SPIFFEID{TrustDomain: ownDomain, Path: agent},
				Selectors: []*types.Selector{
					{Type: "unix", Value: fmt.Sprintf("uid:%d", os.Getuid())},
					{Type: "unix", Value: "path:" + s.envoys[path]},
				},
			}
			if federates && id == path {
				entry.FederatesWith = []string{partnerDomain}
			}
			request.Entries = append(request.Entries, entry)
		}
	}
	response, err := entryv1.NewEntryClient(s.own.API).BatchCreateEntry(ctx, request)
	if err != nil {
		return err
	}
	var errs []error
	for i, result := range response.Results {
		errs = append(errs, failed("register "+request.Entries[i].SpiffeId.Path, result.Status))
	}
	return errors.Join(errs...)
}

func failed(what string, status *types.Status) error {
	if codes.Code(status.Code) == codes.OK { //nolint:gosec // a gRPC code is never negative
		return nil
	}
	return fmt.Errorf("%s: %s", what, status.Message)
}

func (s *spire) stop() {
	if s.agent != nil {
		s.agent.Stop()
	}
	for _, server := range []*server{s.own, s.partner} {
		if server != nil && server.Server != nil {
			server.Stop()
		}
	}
}

// output is what SPIRE's programs have printed.
func (s *spire) output() string {
	out := ""
	for _, server := range []*server{s.own, s.partner} {
		if server != nil && server.Server != nil {
			out += fmt.Sprintf("SPIRE server of %s:\n%s\n", server.Domain, server.Out)
		}
	}
	if s.agent != nil {
		out += fmt.Sprintf("SPIRE agent:\n%s\n", s.agent.Out)
	}
	return out
}

// own is the ID, or the peers, of our domain with this path; partner is the same of the other.
func own(path string) string { return shared.own.Domain.IDString() + path }

func partner(path string) string { return shared.partner.Domain.IDString() + path }

// linkOrCopy gives a program a second name, or a copy where that lies on another file system.
func linkOrCopy(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
