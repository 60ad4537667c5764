package webhook

import "path"

// agentSocketInSidecar is the path of the agent's socket as Envoy sees it.
func agentSocketInSidecar(p Platform) string { return path.Join(socketMountPath, p.AgentSocket.File) }
