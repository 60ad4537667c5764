package charts

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/install"
)

func tellUpgrade(ctx context.Context, d demo) (any, error) {
	_, seconds, err := d.run(ctx, "upgrade", injectorRelease, injectorChart, "--namespace", injectorNamespace, "--reuse-values",
		"--set", "replicas=3", "--wait", "--timeout", "3m")
	if err != nil {
		return nil, err
	}
	if err := d.replicas(ctx, 3); err != nil {
		return nil, err
	}
	d.Story.Checked("three replicas after %.1f s", seconds)
	return struct {
		Seconds float64 `json:"seconds"`
	}{seconds}, d.stillWorks(ctx)
}

func tellRollback(ctx context.Context, d demo) (any, error) {
	_, seconds, err := d.run(ctx, "rollback", injectorRelease, "1", "--namespace", injectorNamespace, "--wait", "--timeout", "3m")
	if err != nil {
		return nil, err
	}
	if err := d.replicas(ctx, 2); err != nil {
		return nil, err
	}
	d.Story.Checked("two replicas after %.1f s", seconds)
	return struct {
		Seconds float64 `json:"seconds"`
	}{seconds}, d.stillWorks(ctx)
}

// replicas checks how many the injector has, all of them ready.
func (d demo) replicas(ctx context.Context, want int32) error {
	var deployment appsv1.Deployment
	if err := d.Scene.K.Get(ctx, &deployment, "--namespace", injectorNamespace, "deployment", "spire-injector"); err != nil {
		return err
	}
	if got := deployment.Status; *deployment.Spec.Replicas != want || got.ReadyReplicas != want {
		return &scene.Mismatch{What: "replicas of the injector", Expected: fmt.Sprint(want, " ready"), Got: fmt.Sprint(got.ReadyReplicas)}
	}
	return nil
}

// stillWorks checks that the webhook has its certificate as before, and that running pods go on.
func (d demo) stillWorks(ctx context.Context) error {
	if err := install.AwaitWebhook(ctx, d.Scene.K); err != nil {
		return err
	}
	if _, err := d.allowed(ctx); err != nil {
		return err
	}
	d.Story.Checked("pods are injected as before, and those that run go on")
	return nil
}

// refusal is a change that Helm must not make.
type refusal struct {
	what    string
	release string
	chart   string
	set     string
	want    string // part of what Helm says
}

func tellRefusals(ctx context.Context, d demo) (any, error) {
	d.Story.Say("Mistakes are told before anything changes: by the schema of the values, and by what is installed already.")
	for _, r := range []refusal{
		{"an unknown value", injectorRelease, injectorChart, "replica=3", "additional properties 'replica' not allowed"},
		{"another cluster name for entries and pods that are there", injectorRelease, injectorChart, "platform.clusterName=other",
			"platform.clusterName is demo-cluster and cannot become other"},
		{"another trust domain for a SPIRE that has one", spireRelease, spireChart, "trustDomain=other.test",
			"trustDomain is example.org and cannot become other.test"},
		{"two servers on one file", spireRelease, spireChart, "server.replicas=2", "servers cannot share a file"},
	} {
		namespace := map[string]string{spireRelease: spireNamespace, injectorRelease: injectorNamespace}[r.release]
		args := []string{"upgrade", r.release, r.chart, "--namespace", namespace, "--reuse-values", "--set", r.set}
		d.Story.Typed(helmCommand(args))
		said, err := d.refused(ctx, args...)
		if err != nil {
			return nil, err
		}
		d.Story.Came(said)
		if !strings.Contains(said, r.want) {
			return nil, &scene.Mismatch{What: helmCommand(args), Expected: r.want, Got: said}
		}
		d.Story.Checked("%s", r.what)
	}
	return nil, d.replicas(ctx, 3)
}
