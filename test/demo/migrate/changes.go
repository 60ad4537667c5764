package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// permissive is what callees take at first, as their patches have it.
const permissive = "- {app: 8080, tls: permissive}"

// callees are the pods that are called.
const callees = "app in (" + API + ", " + Web + ")"

// patchFile is a Deployment's labels and annotations.
func patchFile(deployment string) string { return Patches + "/" + deployment + ".yaml" }

// EnforceCommand has the running callees take mutual TLS alone.
func EnforceCommand() scene.Command {
	return inShop("annotate", "pod", "-l", callees, intent.AnnotationInbound+"-")
}

// PermitCommand has them take plain text again.
func PermitCommand() scene.Command {
	return inShop("annotate", "pod", "-l", callees, intent.AnnotationInbound+"="+permissive)
}

// TemplateCommand takes a label or an annotation out of a Deployment's template.
func TemplateCommand(deployment, kind, key string) scene.Command {
	return inShop("patch", "deployment", deployment, "-p", fmt.Sprintf(`{"spec":{"template":{"metadata":{"%s":{"%s":null}}}}}`, kind, key))
}

// Change is one of a Deployment's template, and its new pods.
type Change struct {
	Ran        scene.Ran `json:"-"`
	Deployment string    `json:"deployment"`
	// Seconds until the new pod was ready, and the old one on its way out.
	Seconds float64 `json:"seconds"`
}

// Inject gives a Deployment its labels and annotations.
func (s stage) Inject(ctx context.Context, deployment string) (Change, error) {
	shown := inShop("patch", "deployment", deployment, "--patch-file", patchFile(deployment))
	c := shown
	c.Args = append(slices.Clone(c.Args[:len(c.Args)-1]), s.Path(patchFile(deployment)))
	change, err := s.Change(ctx, deployment, c)
	change.Ran.Command = shown
	return change, err
}

// Change runs a command that changes a Deployment's template, and waits for its new pods.
func (s stage) Change(ctx context.Context, deployment string, c scene.Command) (Change, error) {
	change := Change{Deployment: deployment}
	var err error
	if change.Ran, err = s.Run(ctx, c); err != nil {
		return change, err
	}
	err = s.RolledOut(ctx, Namespace, deployment)
	change.Seconds = change.Ran.Until(time.Now())
	return change, err
}

// serving is the one pod of a Deployment that is not on its way out.
func (s stage) serving(ctx context.Context, deployment string) (corev1.Pod, error) {
	pods, err := s.pods(ctx, deployment)
	pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	if err == nil && len(pods) != 1 {
		err = &scene.Mismatch{What: "pods of " + deployment + " that serve", Expected: "one", Got: names(pods)}
	}
	if err != nil {
		return corev1.Pod{}, err
	}
	return pods[0], nil
}

// Gone waits until a Deployment's old pods have ended. A caller calls until then.
func (s stage) Gone(ctx context.Context, deployment string) error {
	var pods []corev1.Pod
	found, err := scene.Poll(ctx, scene.StartLimit, func() (_ bool, err error) {
		pods, err = s.pods(ctx, deployment)
		return len(pods) == 1, err
	})
	if err == nil && !found {
		err = &scene.Mismatch{What: "pods of " + deployment, Expected: fmt.Sprintf("one within %s", scene.StartLimit), Got: names(pods)}
	}
	return err
}

func (s stage) pods(ctx context.Context, deployment string) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := s.K.Get(ctx, &list, "-n", Namespace, "pods", "-l", "app="+deployment)
	return list.Items, err
}

func names(pods []corev1.Pod) string {
	var out []string
	for _, p := range pods {
		out = append(out, p.Name)
	}
	return strings.Join(out, ", ")
}

// injected says whether a pod has an Envoy.
func injected(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == scene.Sidecar })
}
