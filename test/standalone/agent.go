package standalone

import (
	"bytes"
	"context"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"

	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
)

// JoinToken lets one agent join, and is the end of the path of that agent's SPIFFE ID, after /spire/agent/join_token/.
func (s *Server) JoinToken(ctx context.Context) (string, error) {
	token, err := agentv1.NewAgentClient(s.API).CreateJoinToken(ctx, &agentv1.CreateJoinTokenRequest{Ttl: 600})
	return token.GetValue(), err
}

// AgentConfig is what differs between agents.
type AgentConfig struct {
	Socket       string // where it offers the Workload API
	AdminSocket  string // where it tells about itself; nowhere without it
	JoinToken    string // by which it joins, without a NodeAttestor
	NodeAttestor Object // that plugin, by its name
	// Delegates are the SPIFFE IDs of those who are told the SVIDs of others, on the admin socket.
	Delegates    []string
	Experimental Object // further settings of that block
}

// StartAgent starts an agent of a server. It makes dir for what the agent keeps.
func StartAgent(ctx context.Context, dir, program string, s *Server, c AgentConfig) (*Process, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	roots, err := s.Roots(ctx)
	if err != nil {
		return nil, err
	}
	var bundle bytes.Buffer
	for _, root := range roots {
		if err := pem.Encode(&bundle, &pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}); err != nil {
			return nil, err
		}
	}
	file := filepath.Join(dir, "bundle.crt")
	if err := os.WriteFile(file, bundle.Bytes(), 0o600); err != nil {
		return nil, err
	}
	config, err := writeConfig(dir, c.config(dir, file, s))
	if err != nil {
		return nil, err
	}
	return Start(program, "run", "-config", config)
}

func (c AgentConfig) config(dir, bundle string, s *Server) Object {
	experimental := Object{"sync_interval": "1s"}
	maps.Copy(experimental, c.Experimental)
	agent := Object{
		"trust_domain": s.Domain.Name(), "server_address": "127.0.0.1", "server_port": s.Port, "socket_path": c.Socket, "data_dir": dir,
		"trust_bundle_path": bundle, "log_level": "INFO", "experimental": experimental,
	}
	attestor := []Object{c.NodeAttestor}
	if c.NodeAttestor == nil {
		agent["join_token"], attestor = c.JoinToken, plugin("join_token", Object{})
	}
	if len(c.Delegates) > 0 {
		agent["authorized_delegates"] = c.Delegates
	}
	if c.AdminSocket != "" {
		agent["admin_socket_path"] = c.AdminSocket
	}
	return Object{
		"agent": agent,
		"plugins": Object{
			"KeyManager":       plugin("memory", Object{}),
			"NodeAttestor":     attestor,
			"WorkloadAttestor": plugin("unix", Object{"discover_workload_path": true, "workload_size_limit": -1}),
		},
	}
}
