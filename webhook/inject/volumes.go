package inject

// Volumes that injection adds. A user's volume of such a name is refused.
const (
	JWTVolume         = "spiffe-jwt"
	ConfigVolume      = "spiffe-envoy-config"
	SocketVolume      = "spiffe-agent-socket"
	CertificateVolume = "spiffe-certificate"
)

// maxAnnotations is how many bytes all keys and values of one object's annotations may have: the API server's limit.
const maxAnnotations = 256 * 1024
