package local

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/images"
)

const (
	clusterDomain = "cluster.local"
	clusterDNS    = "10.96.0.10" // addons.yaml has it too
	bridge        = "cni0"
	apiPort       = 6443
)

const (
	containerdSocket = "/run/containerd/containerd.sock"
	volumes          = "/tmp/hostpath_pv"               // where the controller manager makes those that pods claim
	flexVolumes      = "/var/lib/kubelet/volumeplugins" // the default would appear on the machine below /usr
)

// containerdConfig is for containerd 1.6 and 1.7.
func containerdConfig(l layout, n node, p parts.Programs) table {
	return table{
		"version": 2,
		"root":    "/var/lib/containerd",
		"state":   "/run/containerd",
		"grpc":    table{"address": containerdSocket},
		"plugins": table{
			"io.containerd.internal.v1.opt": table{"path": "/var/lib/containerd-opt"},
			"io.containerd.grpc.v1.cri": table{
				"sandbox_image": images.Pause,
				// Machines that withhold CAP_SYS_RESOURCE refuse the kubelet's scores, and no sandbox would start.
				"restrict_oom_score_adj": true,
				// A profile would be loaded into the machine's kernel and stay there.
				"disable_apparmor": true,
				"containerd": table{
					"snapshotter": "overlayfs",
					"runtimes":    table{"runc": table{"runtime_type": "io.containerd.runc.v2"}},
				},
				"cni": table{"bin_dir": p.CNI, "conf_dir": l.cniConfig(n)},
			},
		},
	}
}

func cniConfig(networks []network, n node) map[string]any {
	ranges, routes := make([][]any, len(networks)), make([]any, len(networks))
	for i, w := range networks {
		ranges[i] = []any{map[string]any{
			"subnet": w.podsOf(n).String(), "rangeStart": w.firstPodOf(n).String(), "gateway": w.addressOf(n).String(),
		}}
		routes[i] = map[string]any{"dst": w.any.String()}
	}
	return map[string]any{
		"cniVersion": "1.0.0",
		"name":       "pods",
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": bridge, "isGateway": true, "hairpinMode": true,
				"ipam": map[string]any{
					"type": "host-local", "dataDir": "/run/cni-addresses", "ranges": ranges, "routes": routes,
				},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]any{"portMappings": true}},
		},
	}
}

func kubeletConfig(l layout, cluster names, n node) map[string]any {
	return map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",
		"address":    "0.0.0.0",
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true},
			"x509":      map[string]any{"clientCAFile": l.pki("ca.crt")},
		},
		"authorization":            map[string]any{"mode": "Webhook"},
		"tlsCertFile":              l.pki("kubelet-server-" + n.name() + ".crt"),
		"tlsPrivateKeyFile":        l.pki("kubelet-server-" + n.name() + ".key"),
		"containerRuntimeEndpoint": "unix://" + containerdSocket,
		"clusterDomain":            clusterDomain,
		"clusterDNS":               []string{clusterDNS},
		"resolvConf":               l.etc(n, "resolv.conf"), // empty: nothing outside can be reached
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               "/" + n.cgroup(cluster),
		"failCgroupV1":             false,
		"failSwapOn":               false,
		// The machine is not the cluster's alone: nothing is reserved on it, evicted for it, or cleaned up by age.
		"enforceNodeAllocatable":      []string{},
		"evictionHard":                map[string]string{},
		"imageGCHighThresholdPercent": 100,
		"maxPods":                     250,
		"serializeImagePulls":         false,
		"volumePluginDir":             flexVolumes,
	}
}

// writeConfigs writes the configuration files of a node's daemons below l.
func writeConfigs(l layout, cluster names, networks []network, n node, p parts.Programs) error {
	containerd, err := encodeTOML(containerdConfig(l, n, p))
	if err != nil {
		return err
	}
	cni, err := json.MarshalIndent(cniConfig(networks, n), "", "  ")
	if err != nil {
		return err
	}
	kubelet, err := json.MarshalIndent(kubeletConfig(l, cluster, n), "", "  ")
	if err != nil {
		return err
	}
	for file, data := range map[string][]byte{
		l.etc(n, "containerd.toml"):                       []byte(containerd),
		filepath.Join(l.cniConfig(n), "10-pods.conflist"): cni,
		l.etc(n, "kubelet.json"):                          kubelet,
		l.etc(n, "resolv.conf"):                           nil,
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return fmt.Errorf("write a daemon's configuration: %w", err)
		}
	}
	return nil
}
