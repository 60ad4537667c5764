package inject

import (
	"fmt"
	"regexp"
	"strconv"
)

// KubernetesVersion is the version of a cluster's API server. The zero value stands for a current one.
type KubernetesVersion struct{ Major, Minor int }

var kubernetesVersion = regexp.MustCompile(`^v?(\d+)\.(\d+)\+?([.+-].*)?$`)

// ParseKubernetesVersion reads versions such as v1.34.2, 1.34, and v1.34+ of some vendors.
func ParseKubernetesVersion(s string) (KubernetesVersion, error) {
	parts := kubernetesVersion.FindStringSubmatch(s)
	if parts == nil {
		return KubernetesVersion{}, fmt.Errorf("expected a version of Kubernetes such as 1.34, got %q", s)
	}
	major, err := strconv.Atoi(parts[1])
	if err != nil {
		return KubernetesVersion{}, fmt.Errorf("version of Kubernetes %q: %w", s, err)
	}
	minor, err := strconv.Atoi(parts[2])
	if err != nil {
		return KubernetesVersion{}, fmt.Errorf("version of Kubernetes %q: %w", s, err)
	}
	return KubernetesVersion{major, minor}, nil
}

func (v KubernetesVersion) atLeast(major, minor int) bool {
	return v == KubernetesVersion{} || v.Major > major || v.Major == major && v.Minor >= minor
}

// hasNativeSidecars says whether init containers can have restartPolicy Always (KEP-753, on by default since 1.29).
func (v KubernetesVersion) hasNativeSidecars() bool { return v.atLeast(1, 29) }

// hasSleepHooks says whether a preStop hook can be a sleep (KEP-3960, on by default since 1.30).
func (v KubernetesVersion) hasSleepHooks() bool { return v.atLeast(1, 30) }
