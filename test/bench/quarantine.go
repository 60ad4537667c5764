package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// quarantineFigures are how long after the platform file was changed the peers of an identity refuse it.
type quarantineFigures struct {
	Peers   int     `json:"peers"`
	Written seconds `json:"written"` // until the API server has what is to change in the last of them
	Refused spread  `json:"refused"` // until the last request was sent that each answered
}

const (
	platformNamespace, platformMap, platformKey = "spire-injector", "spire-injector-config", "config.yaml"
	// firstUpstream is the port at which the caller reaches the first peer.
	firstUpstream = 8000
)

func measureQuarantine(ctx context.Context, s settings, c *cluster, r *report) error {
	return c.in(ctx, "quarantine", func(namespace string) error {
		q := quarantineScene{cluster: c, namespace: namespace, peers: s.peers}
		if err := q.start(ctx); err != nil {
			return err
		}
		var err error
		r.Quarantine, err = q.measure(ctx)
		return err
	})
}

// quarantineScene is a caller and its peers: each pod of a StatefulSet, which the caller reaches by a port of its own.
type quarantineScene struct {
	*cluster
	namespace string
	peers     int
}

func (q quarantineScene) id() string { return "/ns/" + q.namespace + "/caller" }

func (q quarantineScene) start(ctx context.Context) error {
	objects, err := q.manifest()
	if err != nil {
		return err
	}
	if _, err := q.kubectl.With(ctx, objects, "apply", "-f", "-"); err != nil {
		return err
	}
	for _, workload := range []string{"statefulset/peer", "deployment/caller"} {
		timeout := fmt.Sprint(startTimeout + time.Duration(q.peers)*5*time.Second)
		if _, err := q.kubectl.Run(ctx, "--namespace", q.namespace, "rollout", "status", workload, "--timeout", timeout); err != nil {
			return err
		}
	}
	return nil
}

func (q quarantineScene) manifest() (string, error) {
	w := workloads{namespace: q.namespace, image: q.env.Images[podToolImage]}
	peerID := "/ns/" + q.namespace + "/peer"
	var upstreams []map[string]any
	for i := range q.peers {
		upstreams = append(upstreams, map[string]any{
			"listen":  firstUpstream + i,
			"address": fmt.Sprintf("peer-%d.peer.%s.svc:8443", i, q.namespace),
			"peers":   []string{peerID},
		})
	}
	list, err := json.Marshal(upstreams)
	if err != nil {
		return "", err
	}
	serve := []string{"api", "--listen", "127.0.0.1:8080"}
	caller := w.deployment("caller", serve, map[string]string{intent.AnnotationSPIFFEID: q.id(), intent.AnnotationUpstreams: string(list)})
	peer := w.deployment("peer", serve, map[string]string{
		intent.AnnotationSPIFFEID: peerID, intent.AnnotationAppPort: "8080", intent.AnnotationAllowedPeers: q.id(),
	})
	all := metav1.List{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "List"}}
	for _, o := range []runtime.Object{
		caller,
		&appsv1.StatefulSet{
			TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"},
			ObjectMeta: peer.ObjectMeta,
			Spec: appsv1.StatefulSetSpec{
				ServiceName: "peer", Replicas: new(int32(q.peers)), //nolint:gosec // a flag of people
				PodManagementPolicy: appsv1.ParallelPodManagement, Selector: peer.Spec.Selector, Template: peer.Spec.Template,
			},
		},
		&corev1.Service{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
			ObjectMeta: metav1.ObjectMeta{Name: "peer", Namespace: q.namespace},
			Spec: corev1.ServiceSpec{
				ClusterIP: corev1.ClusterIPNone, Selector: peer.Spec.Selector.MatchLabels, Ports: []corev1.ServicePort{{Port: 8443}},
			},
		},
	} {
		all.Items = append(all.Items, runtime.RawExtension{Object: o})
	}
	data, err := json.Marshal(all)
	return string(data), err
}

// measure puts the caller on the list while it calls, and takes it off again.
func (q quarantineScene) measure(ctx context.Context) (f *quarantineFigures, err error) {
	config, err := q.client.CoreV1().ConfigMaps(platformNamespace).Get(ctx, platformMap, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	before := config.Data[platformKey]
	if strings.Contains(before, "\nquarantine:") {
		return nil, errors.New("the platform file has a list quarantine already, expected none")
	}
	end, err := q.load(ctx)
	if err != nil {
		return nil, err
	}
	time.Sleep(settling)
	began := time.Now()
	defer func() {
		tidying, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
		defer cancel()
		err = errors.Join(err, q.setPlatform(tidying, before))
	}()
	if err := q.setPlatform(ctx, strings.TrimSuffix(before, "\n")+"\nquarantine: ["+q.id()+"]\n"); err != nil {
		return nil, err
	}
	if err := q.awaitMarks(ctx); err != nil {
		return nil, err
	}
	f = &quarantineFigures{Peers: q.peers, Written: seconds(time.Since(began))}
	time.Sleep(2 * settling) // until the last one has it
	last, err := end()
	if err != nil {
		return nil, err
	}
	var refused []seconds
	for url, answered := range last {
		if answered.IsZero() {
			return nil, fmt.Errorf("%s was never answered, so that nothing was measured", url)
		}
		refused = append(refused, seconds(max(0, answered.Sub(began))))
	}
	f.Refused = spreadOf(refused)
	return f, nil
}

func (q quarantineScene) setPlatform(ctx context.Context, file string) error {
	patch, err := json.Marshal(map[string]any{"data": map[string]string{platformKey: file}})
	if err != nil {
		return err
	}
	_, err = q.client.CoreV1().ConfigMaps(platformNamespace).Patch(ctx, platformMap, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// awaitMarks waits until every peer was given whom to refuse.
func (q quarantineScene) awaitMarks(ctx context.Context) error {
	return wait.PollUntilContextTimeout(ctx, 2*poll, startTimeout, true, func(ctx context.Context) (bool, error) {
		pods, err := q.client.CoreV1().Pods(q.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=peer", ResourceVersion: "0"})
		if err != nil {
			return false, err
		}
		for _, pod := range pods.Items {
			if templates.QuarantineMarks(pod.Annotations[intent.AnnotationListeners]) == "" {
				return false, nil
			}
		}
		return true, nil
	})
}

// load calls all peers until it is ended, which returns by URL when the last request began that was answered.
func (q quarantineScene) load(ctx context.Context) (end func() (map[string]time.Time, error), err error) {
	args := []string{
		"--namespace", q.namespace, "exec", "--stdin", "deployment/caller", "--container", "caller", "--",
		"/podtool", "load", "-o", "json", "--until-eof", "--duration", "1h", "--progress", "1h", "--workers", "1", "--interval", "50ms",
	}
	for i := range q.peers {
		args = append(args, fmt.Sprintf("http://127.0.0.1:%d/api", firstUpstream+i))
	}
	cmd := q.kubectl.Command(ctx, args...)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() (map[string]time.Time, error) { return ended(stdin, cmd.Wait, &stdout) }, nil
}

// ended is what a load says that is told to end. Its exit code tells that requests failed, which they should.
func ended(stdin io.Closer, wait func() error, stdout *bytes.Buffer) (map[string]time.Time, error) {
	closing, exit := stdin.Close(), wait()
	var said struct {
		ByURL map[string]struct {
			LastAnswered time.Time `json:"lastAnswered"`
		} `json:"byURL"`
	}
	if err := json.Unmarshal(stdout.Bytes(), &said); err != nil {
		return nil, fmt.Errorf("the load did not report: %w", errors.Join(err, closing, exit))
	}
	last := map[string]time.Time{}
	for url, counts := range said.ByURL {
		last[url] = counts.LastAnswered
	}
	return last, nil
}

func printQuarantine(t io.Writer, f quarantineFigures) {
	title(t, fmt.Sprintf("From the changed platform file until %d peers refuse a quarantined identity", f.Peers))
	row(t, "", "median s", "max s")
	row(t, "the peer refuses it", fmt.Sprintf("%.2f", inSeconds(f.Refused.Median)), fmt.Sprintf("%.2f", inSeconds(f.Refused.Max)))
	row(t, "the API server has it", "", fmt.Sprintf("%.2f", inSeconds(f.Written)))
}
