package main

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/check"
)

func TestSettingsOf(t *testing.T) {
	t.Parallel()
	standard := check.Settings{Config: "/etc/spire-injector/config.yaml", Webhooks: "spire-injector", Lease: "spire-injector",
		MetricsPort: "8080", HealthPort: "8081", Resync: 5 * time.Minute, RolloutRate: 1}
	data, err := os.ReadFile("../../manifests/injector/base/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var shipped appsv1.Deployment // the first document of the file
	if err := yaml.Unmarshal(data, &shipped); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		arguments []string
		change    func(*check.Settings)
	}{
		{"none", []string{"serve"}, func(*check.Settings) {}},
		{"those of the manifests", shipped.Spec.Template.Spec.Containers[0].Args, func(*check.Settings) {}},
		{"all", []string{"serve", "--config=/a", "--webhook-configuration", "w", "--leader-election-lease=l", "--metrics-address", "0",
			"--health-address=127.0.0.1:1", "--resync-interval=3s", "--rollout-rate=0"}, func(s *check.Settings) {
			*s = check.Settings{Config: "/a", Webhooks: "w", Lease: "l", HealthPort: "1", Resync: 3 * time.Second}
		}},
		{"one of another version", []string{"serve", "--of-tomorrow=1", "--rollout-rate=2"}, func(s *check.Settings) { s.RolloutRate = 2 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := standard
			tt.change(&want)
			got, err := settingsOf(tt.arguments)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
	if _, err := settingsOf([]string{"serve", "--rollout-rate=fast"}); err == nil {
		t.Error("expected an error for a rate that is none")
	}
}

func TestAnswerOfCheck(t *testing.T) {
	t.Parallel()
	if err := answerOf(check.Report{OK: 1, Warnings: 2}); err != nil {
		t.Errorf("got %v of warnings", err)
	}
	if err := answerOf(check.Report{OK: 1, Errors: 1}); err == nil {
		t.Error("expected an error of errors")
	}
}
