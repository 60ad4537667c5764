package scene

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/install"
)

// startLimit is how long the workloads may take to their first ok.
const startLimit = 2 * time.Minute

// Clear removes what an earlier run left, so that pods start anew; cleared is whether there was anything.
func (s Scene) Clear(ctx context.Context) (cleared bool, err error) {
	// First the pods: a namespace that still has some is looked at again only after half of their grace period.
	pods := inDemo("delete", "deployments", "--all", "--cascade=foreground", "--timeout=120s")
	if _, err := s.run(ctx, pods); err != nil {
		return false, err
	}
	c := Command{Args: []string{"delete", "namespace", Namespace, "--ignore-not-found", "--timeout=120s"}}
	r, err := s.run(ctx, c)
	return strings.Contains(r.Stdout, "deleted"), err
}

// RemovePlatform removes SPIRE and the injector; removed is whether there was anything.
func (s Scene) RemovePlatform(ctx context.Context) (removed bool, err error) {
	c := Command{Args: []string{"delete", "-k", filepath.Join(s.root, filepath.FromSlash(Platform)), "--ignore-not-found", "--timeout=180s"}}
	r, err := s.run(ctx, c)
	return strings.Contains(r.Stdout, "deleted"), err
}

// Applied is what came of applying the workloads.
type Applied struct {
	Ran Ran `json:"-"`
	// Registered is whether SPIRE had the identity of the API already, from an earlier run: then its SVID comes sooner.
	Registered bool `json:"registeredBefore"`
	// FirstOK is what the valid client's app logged first that was a success.
	FirstOK string `json:"firstOK"`
	// Seconds from the start of apply to that.
	Seconds float64 `json:"secondsToFirstOK"`
}

// ApplyCommand is how a reader would apply the workloads.
func ApplyCommand() Command { return Command{Args: []string{"apply", "-k", Workloads}} }

// Apply applies the workloads, with the images as the cluster has them.
func (s Scene) Apply(ctx context.Context) (Applied, error) {
	entries, err := s.entries(ctx, "-spiffeID", ID(API))
	if err != nil {
		return Applied{}, err
	}
	manifests, err := s.run(ctx, Command{Args: []string{"kustomize", filepath.Join(s.root, filepath.FromSlash(Workloads))}})
	if err != nil {
		return Applied{}, err
	}
	r := Ran{Command: ApplyCommand(), Start: time.Now()}
	r.Stdout, err = s.k.With(ctx, install.WithImages(s.env, manifests.Stdout), "apply", "-f", "-")
	r.End = time.Now()
	return Applied{Ran: r, Registered: len(entries) > 0}, err
}

// FirstOK waits for the valid client's first success and adds it to what is known of the apply.
func (s Scene) FirstOK(ctx context.Context, a Applied) (Applied, error) {
	logs := clientLog(Valid)
	last := ""
	found, err := poll(ctx, startLimit, func() (bool, error) {
		r, err := s.try(ctx, logs)
		if err != nil || r.Failed { // no pod yet, or not started yet
			last = r.Stderr
			return false, err
		}
		for _, call := range parseCalls(r.Stdout) {
			last = call.Line
			if call.OK() {
				a.FirstOK, a.Seconds = call.Line, seconds(time.Since(a.Ran.Start))
				return true, nil
			}
		}
		return false, nil
	})
	if err == nil && !found {
		err = &Mismatch{
			What: "the first ok of " + Valid, Expected: fmt.Sprintf("one within %s of kubectl apply", startLimit),
			Got: last + s.notCreated(ctx), Look: inDemo("get", "pods,events").String(),
		}
	}
	return a, err
}

// notCreated is why the API server refused pods of the demo, if it did.
func (s Scene) notCreated(ctx context.Context) string {
	var list appsv1.DeploymentList
	if err := s.k.Get(ctx, &list, "-n", Namespace, "deployments"); err != nil {
		return ""
	}
	var b strings.Builder
	for _, d := range list.Items {
		for _, c := range d.Status.Conditions {
			if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
				fmt.Fprintf(&b, "; %s: %s", d.Name, c.Message)
			}
		}
	}
	return b.String()
}

// Pods lists the demo's pods, for the reader.
func (s Scene) Pods(ctx context.Context) (Ran, error) {
	return s.run(ctx, inDemo("get", "pods"))
}

func clientLog(client string) Command {
	return inDemo("logs", "deploy/"+client, "-c", clientContainer)
}

// seconds of d, to the hundredth: kubectl itself takes tens of milliseconds.
func seconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Millisecond).Milliseconds()) / 1000
}

// FollowCommand follows the log of a client's app.
func FollowCommand(client string) Command {
	return inDemo("logs", "-f", "deploy/"+client, "-c", clientContainer)
}
