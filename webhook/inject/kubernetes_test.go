package inject

import "testing"

func TestKubernetesVersion(t *testing.T) {
	tests := []struct {
		text                          string
		want                          KubernetesVersion
		nativeSidecars, sleepingHooks bool
		wantErr                       string
	}{
		{"v1.28.15", KubernetesVersion{1, 28}, false, false, ""},
		{"1.29", KubernetesVersion{1, 29}, true, false, ""},
		{"v1.30.4-gke.100", KubernetesVersion{1, 30}, true, true, ""},
		{"v1.34+", KubernetesVersion{1, 34}, true, true, ""},
		{"2.0", KubernetesVersion{2, 0}, true, true, ""},
		{"", KubernetesVersion{}, true, true, "expected a version of Kubernetes such as 1.34"},
		{"1", KubernetesVersion{}, true, true, "expected a version of Kubernetes such as 1.34"},
		{"latest", KubernetesVersion{}, true, true, "expected a version of Kubernetes such as 1.34"},
		{"v1.99999999999999999999", KubernetesVersion{}, true, true, "value out of range"},
		{"1.9999999999999999999", KubernetesVersion{}, true, true, "expected a version of Kubernetes such as 1.34"},
		{"9999999999999999999.1", KubernetesVersion{}, true, true, "expected a version of Kubernetes such as 1.34"},
	}
	for _, test := range tests {
		got, err := ParseKubernetesVersion(test.text)
		wantErrorWith(t, err, test.wantErr)
		if got != test.want || got.hasNativeSidecars() != test.nativeSidecars || got.hasSleepHooks() != test.sleepingHooks {
			t.Errorf(
				"%q: got %+v, native sidecars %t, sleeping hooks %t",
				test.text,
				got,
				got.hasNativeSidecars(),
				got.hasSleepHooks(),
			)
		}
	}
}
