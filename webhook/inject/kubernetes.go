package inject

import (
	"fmt"
	"math"

	"k8s.io/apimachinery/pkg/util/version"
)

// KubernetesVersion is the version of a cluster's API server. The zero value stands for a current one.
type KubernetesVersion struct{ Major, Minor int }

// ParseKubernetesVersion reads versions such as v1.34.2, 1.34, and v1.34+ of some vendors.
func ParseKubernetesVersion(s string) (KubernetesVersion, error) {
	v, err := version.ParseGeneric(s)
	if err != nil {
		return KubernetesVersion{}, fmt.Errorf("expected a version of Kubernetes such as 1.34, got %q: %w", s, err)
	}
	if v.Major() > math.MaxInt32 || v.Minor() > math.MaxInt32 {
		return KubernetesVersion{}, fmt.Errorf("expected a version of Kubernetes such as 1.34, got %q", s)
	}
	return KubernetesVersion{int(v.Major()), int(v.Minor())}, nil //nolint:gosec // bounded above
}

// String is the version as people write it.
func (v KubernetesVersion) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

func (v KubernetesVersion) atLeast(major, minor int) bool {
	return v == KubernetesVersion{} || v.Major > major || v.Major == major && v.Minor >= minor
}

// hasNativeSidecars says whether init containers can have restartPolicy Always (KEP-753, on by default since 1.29).
func (v KubernetesVersion) hasNativeSidecars() bool { return v.atLeast(1, 29) }

// hasSleepHooks says whether a preStop hook can be a sleep (KEP-3960, on by default since 1.30).
func (v KubernetesVersion) hasSleepHooks() bool { return v.atLeast(1, 30) }
