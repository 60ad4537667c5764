package intent

import (
	"strconv"

	"github.com/spire-injector/spire-injector/registrar"
)

// Prefix is shared by all labels and annotations of the injector. Annotations under it that are not in the table are
// refused; labels under it that are not ours belong to other tools.
const Prefix = "spiffe.io/"

// Labels.
const (
	LabelInject   = Prefix + "inject"       // on pods and namespaces, written by users
	LabelIdentity = registrar.IdentityLabel // on pods, written by the webhook: the registration entry selects it
)

// Values of LabelInject.
const (
	InjectEnabled  = "enabled"
	InjectDisabled = "disabled"
	InjectRequired = "required" // on namespaces only: a pod cannot opt out
)

// Annotations that users write.
const (
	AnnotationSPIFFEID         = Prefix + "spiffe-id"
	AnnotationAppPort          = Prefix + "app-port"
	AnnotationAllowedPeers     = Prefix + "allowed-peers"
	AnnotationCapture          = Prefix + "capture"
	AnnotationInbound          = Prefix + "inbound"
	AnnotationUpstreams        = Prefix + "upstreams"
	AnnotationEnforcement      = Prefix + "enforcement"
	AnnotationFederatesWith    = Prefix + "federates-with"
	AnnotationX509SVIDTTL      = Prefix + "x509-svid-ttl"
	AnnotationJWTSVIDTTL       = Prefix + "jwt-svid-ttl"
	AnnotationDNSNames         = Prefix + "dns-names"
	AnnotationMode             = Prefix + "mode"
	AnnotationFiles            = Prefix + "files"
	AnnotationDownstream       = Prefix + "downstream"
	AnnotationAdmin            = Prefix + "admin"
	AnnotationProxyImage       = Prefix + "proxy-image"
	AnnotationProxyLogLevel    = Prefix + "proxy-log-level"
	AnnotationProxyConcurrency = Prefix + "proxy-concurrency"
	AnnotationProxyResources   = Prefix + "proxy-resources"
	AnnotationPlainPorts       = Prefix + "plain-ports"
	AnnotationRefresh          = Prefix + "refresh"
)

// Annotations that the webhook writes.
const (
	AnnotationStatus        = Prefix + "status"
	AnnotationBootstrap     = Prefix + "envoy-bootstrap"
	AnnotationListeners     = Prefix + "envoy-listeners"
	AnnotationClusters      = Prefix + "envoy-clusters"
	AnnotationAuthorization = Prefix + "envoy-authorization"
	AnnotationCertificate   = Prefix + "envoy-certificate"
)

// AnnotationCA is, like those above, what a file with the CA of a Secret is made of.
func AnnotationCA(n int) string { return Prefix + "envoy-ca-" + strconv.Itoa(n) }

// Containers that injection adds and that get an identity: registration entries select them by these names.
const (
	SidecarName = registrar.ContainerName // Envoy
	JWTName     = "spiffe-jwt"            // fetches tokens and keys
	FilesName   = "spiffe-files"          // keeps SVID, key and bundles as files
)

// CaptureName is that of the init container which leads connections from outside to Envoy. It has no identity.
const CaptureName = "spiffe-capture"

// SocketMountPath is where containers see the directory of the SPIRE agent's socket.
const SocketMountPath = "/run/spire/sockets"

// FilesMountPath is where containers see SVID, key and bundles as files.
const FilesMountPath = "/var/run/secrets/spiffe.io"

const (
	defaultAccount   = "default" // the service account of a pod that names none
	defaultNamespace = "default"
)
