// The SPIFFE CSI driver, and a registrar for it. The versions are those of test/tools/kubernetes wherever the two share a
// module, so that both share compiled packages.
module github.com/spire-injector/spire-injector/test/tools/csi

go 1.26.0

require (
	github.com/container-storage-interface/spec v1.9.0
	github.com/go-logr/logr v1.4.3
	github.com/go-logr/zapr v1.3.0
	github.com/spiffe/spiffe-csi v0.2.3
	go.uber.org/multierr v1.11.0
	go.uber.org/zap v1.27.1
	golang.org/x/net v0.49.0
	golang.org/x/sys v0.40.0
	golang.org/x/text v0.33.0
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260128011058-8636f8732409
	google.golang.org/grpc v1.79.3
	google.golang.org/protobuf v1.36.12-0.20260120151049-f2248ac996af
	k8s.io/kubelet v0.36.3
)

require github.com/golang/protobuf v1.5.4 // indirect
