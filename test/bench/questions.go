package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// A cluster of which is asked: pods that are objects alone, of workloads of which each calls the next, and a server with
// a client that really run and have logs.
const (
	askedWorkloads = 300
	askedPods      = 2000
	askedServers   = 10
	askedLogs      = 30 * time.Second // of calls, before anybody asks
	askedEvery     = 20 * time.Millisecond
	askedTimeout   = 10 * time.Minute // until controllers have made the pods
)

// questionFigures are how long the commands that answer questions about a cluster take, from start to end.
type questionFigures struct {
	Pods      int              `json:"pods"`
	Workloads int              `json:"workloads"`
	Running   int              `json:"running"` // pods that have logs
	Questions []questionFigure `json:"questions"`
}

type questionFigure struct {
	Command string `json:"command"`
	Took    spread `json:"took"`
	// Uncompressed is with answers that the API server does not compress: disable-compression in the kubeconfig file.
	Uncompressed spread `json:"uncompressed"`
	Says         string `json:"says"` // the first line of the answer
}

func measureQuestions(ctx context.Context, s settings, c *cluster, r *report) error {
	cache, err := parts.UserCache()
	if err != nil {
		return err
	}
	program, err := parts.BuildOwn(ctx, cache, "./cmd/spire-injector", s.progress)
	if err != nil {
		return err
	}
	return c.in(ctx, "questions", func(namespace string) error {
		if err := c.fillForQuestions(ctx, namespace); err != nil {
			return err
		}
		uncompressed, remove, err := withoutCompression(c.env.Kubeconfig)
		if err != nil {
			return err
		}
		defer remove()
		f := questionFigures{Pods: askedPods, Workloads: askedWorkloads, Running: askedServers + 1}
		defer func() { r.Questions = &f }()
		for _, args := range [][]string{
			{"list"},
			{"graph"},
			{"explain", "deployment/api", "--namespace", namespace},
			{"explain", "deployment/client", "deployment/api", "--namespace", namespace},
			{"check"},
			{"check", "--if", namespace + "=required"},
			{"suggest", "deployment/api", "--namespace", namespace},
		} {
			figure := questionFigure{Command: strings.ReplaceAll(strings.Join(args, " "), namespace, "NAMESPACE")}
			var out string
			for file, took := range map[string]*spread{c.env.Kubeconfig: &figure.Took, uncompressed: &figure.Uncompressed} {
				if out, *took, err = timeAnswers(ctx, command.NewInjector(program, file), args, s.times); err != nil {
					return err
				}
			}
			figure.Says, _, _ = strings.Cut(out, "\n")
			f.Questions = append(f.Questions, figure)
			c.tell("%s: %.2f s, uncompressed %.2f s", figure.Command, inSeconds(figure.Took.Median), inSeconds(figure.Uncompressed.Median))
		}
		return nil
	})
}

// timeAnswers runs a command some times, and returns the last answer. With findings commands end with another code, and
// have an answer all the same.
func timeAnswers(ctx context.Context, injector command.Injector, args []string, times int) (out string, took spread, err error) {
	var all []seconds
	for range times {
		start := time.Now()
		out, err = injector.Run(ctx, args...)
		if ctx.Err() != nil {
			return "", spread{}, context.Cause(ctx)
		}
		if out == "" {
			return "", spread{}, fmt.Errorf("spire-injector %s: %w", strings.Join(args, " "), err)
		}
		all = append(all, seconds(time.Since(start)))
	}
	return out, spreadOf(all), nil
}

// withoutCompression is a copy of a kubeconfig file that has the API server compress nothing.
func withoutCompression(kubeconfig string) (file string, remove func(), err error) {
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		return "", nil, err
	}
	for _, cluster := range config.Clusters {
		cluster.DisableCompression = true
	}
	folder, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return "", nil, err
	}
	file, remove = filepath.Join(folder, "kubeconfig"), func() { _ = os.RemoveAll(folder) }
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		remove()
		return "", nil, err
	}
	return file, remove, nil
}

// fillForQuestions returns when all pods are there, and there are logs.
func (c *cluster) fillForQuestions(ctx context.Context, namespace string) error {
	manifest, err := workloads{namespace: namespace, image: c.env.Images[sampleImage], every: askedEvery.String()}.manifest()
	if err != nil {
		return err
	}
	if _, err := c.kubectl.With(ctx, manifest, "apply", "-f", "-"); err != nil {
		return err
	}
	if _, err := c.kubectl.Run(ctx, "--namespace", namespace, "scale", "deployment/api", fmt.Sprintf("--replicas=%d", askedServers)); err != nil {
		return err
	}
	for i := range askedWorkloads {
		pods := askedPods / askedWorkloads
		if i < askedPods%askedWorkloads {
			pods++
		}
		d, service := callerOfNext(namespace, i, pods)
		if _, err := c.client.CoreV1().Services(namespace).Create(ctx, service, metav1.CreateOptions{}); err != nil {
			return err
		}
		if _, err := c.client.AppsV1().Deployments(namespace).Create(ctx, d, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	for _, name := range []string{"api", "client"} {
		if err := c.waitRollout(ctx, namespace, name); err != nil {
			return err
		}
	}
	// Controllers create some twenty pods a second.
	start, told := time.Now(), time.Now()
	err = wait.PollUntilContextTimeout(ctx, time.Second, askedTimeout, true, func(ctx context.Context) (bool, error) {
		// What a ReplicaSet has made is in its status, which is less to read than its pods.
		sets, err := c.client.AppsV1().ReplicaSets(namespace).List(ctx, listAll)
		if err != nil {
			return false, err
		}
		there := 0
		for _, set := range sets.Items {
			there += int(set.Status.Replicas)
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			c.tell("%d of %d pods are there, %.0f s so far", there, askedPods+askedServers+1, time.Since(start).Seconds())
		}
		return there >= askedPods+askedServers+1, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %d pods: %w", askedPods, err)
	}
	c.tell("waiting %s for logs", askedLogs)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(askedLogs):
		return nil
	}
}

// callerOfNext is a workload that lets the one before it call, and calls the next. Nobody schedules its pods.
func callerOfNext(namespace string, i, pods int) (*appsv1.Deployment, *corev1.Service) {
	name := func(i int) string { return fmt.Sprintf("w%d", (i+askedWorkloads)%askedWorkloads) }
	id := func(i int) string { return "/ns/" + namespace + "/" + name(i) }
	labels := map[string]string{"app": name(i)}
	replicas := int32(pods) //nolint:gosec // a handful
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name(i)},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels: map[string]string{"app": name(i), intent.LabelInject: intent.InjectEnabled},
					Annotations: map[string]string{
						intent.AnnotationSPIFFEID:     id(i),
						intent.AnnotationAppPort:      "8080",
						intent.AnnotationAllowedPeers: id(i - 1),
						intent.AnnotationUpstreams: fmt.Sprintf(`[{"listen": 8000, "address": "%s.%s.svc:8443", "peers": [%q]}]`,
							name(i+1), namespace, id(i+1)),
					},
				},
				Spec: corev1.PodSpec{
					SchedulerName: noScheduler,
					Containers:    []corev1.Container{{Name: "app", Image: sampleImage}},
				},
			},
		},
	}
	return d, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name(i)},
		Spec:       corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 8443}}},
	}
}

func printQuestions(t io.Writer, f questionFigures) {
	title(t, fmt.Sprintf("Answers about %d injected pods of %d workloads, and %d that run", f.Pods, f.Workloads, f.Running))
	row(t, "spire-injector", "median s", "max s", "uncompressed: median s", "max s")
	for _, q := range f.Questions {
		cells := []any{q.Command}
		for _, took := range []seconds{q.Took.Median, q.Took.Max, q.Uncompressed.Median, q.Uncompressed.Max} {
			cells = append(cells, fmt.Sprintf("%.2f", inSeconds(took)))
		}
		row(t, cells...)
	}
	for _, q := range f.Questions {
		line(t, q.Command+": "+q.Says)
	}
}
