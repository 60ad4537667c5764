package intent

import "path"

// agentSocketInSidecar is the path of the agent's socket as Envoy sees it.
func AgentSocketInSidecar(p Platform) string { return path.Join(SocketMountPath, p.AgentSocket.File) }
