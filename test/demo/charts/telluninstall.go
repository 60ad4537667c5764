package charts

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/api"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// clusterWide are the kinds without namespace that the charts make.
const clusterWide = "mutatingwebhookconfigurations,validatingwebhookconfigurations,validatingadmissionpolicies," +
	"validatingadmissionpolicybindings,clusterroles,clusterrolebindings,csidrivers"

// inNamespaces are the kinds with namespace that are looked for afterwards.
const inNamespaces = "all,configmaps,secrets,serviceaccounts,roles,rolebindings,leases,poddisruptionbudgets,persistentvolumeclaims"

func tellUninstall(ctx context.Context, d demo) (any, error) {
	_, seconds, err := d.run(ctx, "uninstall", injectorRelease, "--namespace", injectorNamespace, "--cascade", "foreground", "--wait", "--timeout", "3m")
	if err != nil {
		return nil, err
	}
	d.Story.Say("Who is asked goes first, who answers last: no pod waits for a webhook that is not there. Running pods keep their " +
		"identity, which SPIRE goes on renewing. New pods with the label get no sidecar, and start without mutual TLS.")
	call, err := d.allowed(ctx)
	d.Show(call)
	if err != nil {
		return nil, err
	}
	entries, err := d.Scene.Entries(ctx, "-spiffeID", api.ID(api.API))
	if err != nil {
		return nil, err
	}
	if len(entries) != 1 {
		return nil, &scene.Mismatch{What: "entries of the API", Expected: "one, which its running pod needs", Got: strings.Join(ids(entries), ", ")}
	}
	d.Story.Checked("the entry %s of the running pod stays in SPIRE", entries[0].ID)
	_, spireSeconds, err := d.run(ctx, "uninstall", spireRelease, "--namespace", spireNamespace, "--cascade", "foreground", "--wait", "--timeout", "3m")
	if err != nil {
		return nil, err
	}
	left, err := d.nothingIsLeft(ctx)
	return struct {
		Seconds      float64  `json:"seconds"`
		SPIRESeconds float64  `json:"spireSeconds"`
		Left         []string `json:"left"`
	}{seconds, spireSeconds, left}, err
}

// mayStay are objects that are there after uninstalling, by the beginning of their names, and why.
var mayStay = []struct{ name, why string }{
	{"persistentvolumeclaim/data-spire-server-", "SPIRE's keys and data, as of every StatefulSet; delete it to begin anew"},
	{"configmap/kube-root-ca.crt", "of Kubernetes, in every namespace"},
	{"serviceaccount/default", "of Kubernetes, in every namespace"},
	{"secret/" + upstreamSecret, "yours, made before"},
	{"lease.coordination.k8s.io/spire-injector", "who led last, made by the injector; it goes with the namespace"},
}

// nothingIsLeft looks for what the charts made, and returns what stays with good reason.
func (d demo) nothingIsLeft(ctx context.Context) (left []string, err error) {
	look := scene.Command{Args: []string{"get", clusterWide, "-l", "app.kubernetes.io/managed-by=Helm", "-o", "name"}}
	r, err := d.Scene.Run(ctx, look)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(r.Stdout) != "" {
		return nil, &scene.Mismatch{What: look.String(), Expected: "nothing", Got: r.Stdout}
	}
	d.Show(r)
	d.Story.Checked("nothing is left cluster-wide")
	for _, namespace := range []string{injectorNamespace, spireNamespace} {
		r, err := d.settled(ctx, namespace)
		if err != nil {
			return left, err
		}
		d.Show(r)
		for _, name := range names(r) {
			left = append(left, namespace+" "+name)
			d.Story.Checked("%s: %s", name, reason(name))
		}
	}
	d.Story.Say("The two namespaces take the rest along: kubectl delete namespace %s %s", injectorNamespace, spireNamespace)
	return left, nil
}

// terminating is how long pods may take to terminate after Helm has seen their workload go.
const terminating = time.Minute

// settled looks at what is left in a namespace until everything has good reason to be.
func (d demo) settled(ctx context.Context, namespace string) (scene.Ran, error) {
	var r scene.Ran
	unexplained := func(name string) bool { return reason(name) == "" }
	found, err := scene.Poll(ctx, terminating, func() (found bool, err error) {
		r, err = d.Scene.Run(ctx, scene.In(namespace, "get", inNamespaces, "-o", "name"))
		return !slices.ContainsFunc(names(r), unexplained), err
	})
	if err == nil && !found {
		err = &scene.Mismatch{What: "what is left in namespace " + namespace, Expected: "nothing of the chart's", Got: r.Stdout}
	}
	return r, err
}

// names are the objects that `kubectl get -o name` printed.
func names(r scene.Ran) []string { return strings.Fields(r.Stdout) }

// reason is why an object may stay, or "" if it may not.
func reason(name string) string {
	for _, s := range mayStay {
		if strings.HasPrefix(name, s.name) {
			return s.why
		}
	}
	return ""
}

func ids(entries []scene.Entry) (out []string) {
	for _, e := range entries {
		out = append(out, e.ID)
	}
	return out
}
