package standalone

import (
	"bytes"
	"context"
	"encoding/pem"
	"os"
	"path/filepath"

	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
)

// JoinToken lets one agent join, and is the end of the path of that agent's SPIFFE ID, after /spire/agent/join_token/.
func (s *Server) JoinToken(ctx context.Context) (string, error) {
	token, err := agentv1.NewAgentClient(s.API).CreateJoinToken(ctx, &agentv1.CreateJoinTokenRequest{Ttl: 600})
	return token.GetValue(), err
}

// StartAgent starts an agent that joins a server and offers the Workload API at socket. It makes dir for what the agent
// keeps.
func StartAgent(ctx context.Context, dir, program string, s *Server, socket, token string) (*Process, error) {
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
	config, err := writeConfig(dir, Object{
		"agent": Object{
			"trust_domain": s.Domain.Name(), "server_address": "127.0.0.1", "server_port": s.Port, "socket_path": socket, "data_dir": dir,
			"trust_bundle_path": file, "join_token": token, "log_level": "INFO", "experimental": Object{"sync_interval": "1s"},
		},
		"plugins": Object{
			"KeyManager":       plugin("memory", Object{}),
			"NodeAttestor":     plugin("join_token", Object{}),
			"WorkloadAttestor": plugin("unix", Object{"discover_workload_path": true, "workload_size_limit": -1}),
		},
	})
	if err != nil {
		return nil, err
	}
	return Start(program, "run", "-config", config)
}
