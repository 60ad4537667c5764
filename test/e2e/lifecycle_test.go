package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// A Job ends when its main container has ended, although Envoy would go on; and its init container, which is before the
// main one, has mTLS already.
func TestJobsFinish(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	caller := client(ns, "caller")
	caller.command = []string{"/sample", "get", url}
	caller.edit = func(spec *corev1.PodSpec) {
		spec.RestartPolicy = corev1.RestartPolicyNever
		spec.InitContainers = []corev1.Container{container("before", "/sample", "get", url)}
	}
	deploy(t, ns, api(ns, id(ns, "caller")))
	start := time.Now()
	apply(t, caller.job(ns), &batchv1.CronJob{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "CronJob"},
		ObjectMeta: metav1.ObjectMeta{Name: "every-minute", Namespace: ns},
		Spec:       batchv1.CronJobSpec{Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: caller.job(ns).Spec}},
	})
	var jobs batchv1.JobList
	eventually(t, "the end of the Job and of the CronJob's", func() error {
		must(t, shared.k.Get(t.Context(), &jobs, "jobs", "--namespace", ns))
		if len(jobs.Items) < 2 {
			return errors.New("the CronJob has made no Job yet")
		}
		for _, job := range jobs.Items {
			if job.Status.Failed > 0 {
				t.Fatalf("%s failed", job.Name)
			}
			if job.Status.Succeeded == 0 {
				return fmt.Errorf("%s has not ended", job.Name)
			}
		}
		return nil
	})
	t.Logf("all had ended after %.0f s", time.Since(start).Seconds())
	for _, pod := range podsOf(t, ns, "caller") {
		if pod.Status.Phase != corev1.PodSucceeded || statuses(pod)["envoy"].State.Terminated == nil {
			t.Errorf("expected the pod to have ended, and its Envoy with it, got %+v", pod.Status)
		}
		for _, container := range []string{"before", "app"} {
			if out := k(t, ns, "logs", pod.Name, "--container", container); out != "ok\n" {
				t.Errorf("%s, container %s: expected ok, got %q", pod.Name, container, out)
			}
		}
	}
}

// job is the workload as a Job.
func (w workload) job(namespace string) *batchv1.Job {
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: w.name, Namespace: namespace},
		Spec:       batchv1.JobSpec{Template: w.deployment(namespace).Spec.Template, BackoffLimit: new(int32(0))},
	}
}

// A pod that ends still calls and is called until its app has ended, at its own pace.
func TestSidecarOutlivesApp(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	patient := func(spec *corev1.PodSpec) { spec.TerminationGracePeriodSeconds = new(int64(30)) }
	server, lingering, valid := api(ns, id(ns, "lingering")+","+id(ns, "valid")), client(ns, "lingering"), client(ns, "valid")
	for _, w := range []workload{server, lingering, valid} {
		w.annotations["spiffe.io/x509-svid-ttl"] = "5m" // a request of 16 s outlives half of a shorter one
	}
	server.edit, lingering.edit = patient, patient
	lingering.command = []string{"/sample", "client", "--url", url, "--every", "100ms", "--linger", "5s"}
	deploy(t, ns, server, lingering, valid)

	awaitOK(t, ns, "deployment/lingering")
	t.Run("it calls", func(t *testing.T) {
		pod := podNames(t, ns, "lingering")[0]
		log := make(chan string)
		go func() {
			out, _ := shared.k.Run(t.Context(), "--namespace", ns, "logs", "--follow", pod, "--container", "app")
			log <- out
		}()
		deleted := time.Now() // before that the server may not have been there yet
		k(t, ns, "delete", "pod", pod, "--wait=false")
		after := 0
		for line := range strings.Lines(<-log) {
			fields := strings.Fields(line)
			at, err := time.Parse(time.RFC3339, fields[0])
			must(t, err)
			if fields[1] != "200" && at.After(deleted) {
				t.Errorf("a call failed: %s", line)
			}
			if at.After(deleted.Add(3 * time.Second)) {
				after++
			}
		}
		t.Logf("%d calls later than 3 s after the deletion", after)
		if after == 0 {
			t.Error("expected calls while the app was ending")
		}
	})
	t.Run("it is called", func(t *testing.T) {
		pod := apiPod(t, ns)
		var waiting sync.WaitGroup
		waiting.Go(func() {
			out, err := in(t, ns, "deployment/valid", "/sample", "get", url+"?delay=16s", "--timeout", "1m")
			if err != nil || out != "ok\n" {
				t.Errorf("expected the open request to be answered, got %q (%v)", out, err)
			}
		})
		time.Sleep(time.Second)
		k(t, ns, "delete", "pod", pod.Name, "--wait=false")
		waiting.Wait()
	})
}

// Pods of all kinds call through their Envoy and are ready, by which their own ports are served.
func TestPodsThatPeopleHave(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	own := func(spec *corev1.PodSpec) *corev1.SecurityContext {
		c := &spec.Containers[0]
		c.SecurityContext = &corev1.SecurityContext{}
		return c.SecurityContext
	}
	kinds := []struct {
		name string
		edit func(*corev1.PodSpec)
	}{
		{"share-process-namespace", func(spec *corev1.PodSpec) { spec.ShareProcessNamespace = new(true) }},
		{"fs-group", func(spec *corev1.PodSpec) {
			spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: new(int64(2000)), RunAsUser: new(int64(1000))}
		}},
		{"read-only-root", func(spec *corev1.PodSpec) { own(spec).ReadOnlyRootFilesystem = new(true) }},
		{"envoys-user", func(spec *corev1.PodSpec) { own(spec).RunAsUser = new(int64(15001)) }},
		{"no-token", func(spec *corev1.PodSpec) { spec.AutomountServiceAccountToken = new(false) }},
		{"pod-resources", func(spec *corev1.PodSpec) {
			spec.Resources = &corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("60m"), corev1.ResourceMemory: resource.MustParse("160Mi")},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("320Mi")},
			}
		}},
		{"own-sidecar", func(spec *corev1.PodSpec) {
			helper := container("helper", "/sample", "client", "--url", url)
			helper.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
			spec.InitContainers = []corev1.Container{helper}
		}},
	}
	server := api(ns, "/ns/"+ns+"/*")
	objects := []any{server.service(ns), server.deployment(ns)}
	names := []string{"deployment/api"}
	for _, kind := range kinds {
		w := client(ns, kind.name)
		w.command = []string{"/podtool", "api", "--listen", "127.0.0.1:8080"}
		w.annotations["spiffe.io/app-port"], w.annotations["spiffe.io/allowed-peers"] = "8080", id(ns, "nobody")
		w.edit = kind.edit
		objects = append(objects, w.deployment(ns))
		names = append(names, "deployment/"+kind.name)
	}
	apply(t, objects...)
	rollout(t, ns, names...)
	for _, name := range names[1:] {
		awaitOK(t, ns, name)
	}
	for _, pod := range podsOf(t, ns, "envoys-user") {
		if user := *pod.Spec.InitContainers[0].SecurityContext.RunAsUser; user == 15001 {
			t.Error("Envoy runs as the app's user, which could read its key")
		}
	}
}

// Where a namespace counts resources and limits them, Envoy has its own.
func TestQuotaAndLimitRange(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	amounts := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
	meta := metav1.ObjectMeta{Name: "all", Namespace: ns}
	apply(t, &corev1.LimitRange{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "LimitRange"}, ObjectMeta: meta,
		Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
			Type: corev1.LimitTypeContainer, Default: amounts("300m", "300Mi"), DefaultRequest: amounts("20m", "20Mi"), Max: amounts("1", "1Gi"),
		}}},
	}, &corev1.ResourceQuota{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ResourceQuota"}, ObjectMeta: meta,
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
			"requests.cpu": resource.MustParse("1"), "requests.memory": resource.MustParse("1Gi"),
			"limits.cpu": resource.MustParse("2"), "limits.memory": resource.MustParse("2Gi"),
		}},
	})
	deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"))
	awaitOK(t, ns, "deployment/valid")
	pod := apiPod(t, ns)
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Cpu().IsZero() {
			t.Errorf("container %s has no share of the quota: %+v", c.Name, c.Resources)
		}
	}
}

// What people do to running pods works, and those that call and are called notice nothing of it afterwards.
func TestRunningPods(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"))
	const debugImage = "spire-injector/busybox:1"
	image := shared.env.Images[debugImage]

	t.Run("kubectl debug", func(t *testing.T) {
		pod := apiPod(t, ns)
		k(t, ns, "debug", pod.Name, "--image", image, "--image-pull-policy=IfNotPresent", "--target=app", "--container=looker",
			"--profile=general", "--", "/bin/true")
		eventually(t, "the end of the ephemeral container", func() error {
			for _, status := range apiPod(t, ns).Status.EphemeralContainerStatuses {
				if status.State.Terminated != nil && status.State.Terminated.ExitCode == 0 {
					return nil
				}
			}
			return errors.New("it has not ended")
		})
		if after := apiPod(t, ns); after.UID != pod.UID || scene.Restarts(after) != 0 {
			t.Errorf("expected the same pod without a restart, got %+v", after.Status)
		}
		awaitOK(t, ns, "deployment/valid")
	})
	t.Run("kubectl debug --copy-to", func(t *testing.T) {
		for name, flags := range map[string][]string{"copy": nil, "annotated-copy": {"--keep-annotations"}} {
			args := append([]string{"debug", apiPod(t, ns).Name, "--copy-to", name, "--image", image, "--image-pull-policy=IfNotPresent",
				"--container=looker", "--profile=general"}, flags...)
			k(t, ns, append(args, "--", "/bin/sleep", "60")...)
			eventually(t, "the running copy "+name, func() error {
				var pod corev1.Pod
				must(t, shared.k.Get(t.Context(), &pod, "pod", name, "--namespace", ns))
				for _, status := range pod.Status.ContainerStatuses {
					if status.State.Running == nil {
						return fmt.Errorf("container %s: %+v", status.Name, status.State)
					}
				}
				if len(pod.Status.ContainerStatuses) != 2 {
					return fmt.Errorf("expected app and looker, got %+v", pod.Status)
				}
				if len(pod.Spec.InitContainers) != 0 || len(pod.Spec.Volumes) > 1 || pod.Annotations["spiffe.io/status"] != "" {
					t.Errorf("expected nothing of the sidecar in %s, got %+v", name, pod)
				}
				return nil
			})
			k(t, ns, "delete", "pod", name, "--wait=false")
		}
		awaitOK(t, ns, "deployment/valid")
	})
	t.Run("in-place image patch of the app", func(t *testing.T) {
		pod := apiPod(t, ns)
		// The same image by another name of the runtime's, which is a change to the kubelet: its full one, or that by digest.
		app := pod.Status.ContainerStatuses[0]
		name := app.Image
		if name == pod.Spec.Containers[0].Image {
			name = app.ImageID
		}
		k(t, ns, "set", "image", "pod/"+pod.Name, "app="+name)
		eventually(t, "the app's restart", func() error {
			after := apiPod(t, ns)
			if after.UID != pod.UID || after.Status.InitContainerStatuses[0].RestartCount != 0 {
				t.Fatalf("expected the same pod and the same Envoy, got %+v", after.Status)
			}
			if app := after.Status.ContainerStatuses[0]; app.RestartCount != 1 || !app.Ready {
				return fmt.Errorf("the app: %+v", app)
			}
			return nil
		})
		awaitOK(t, ns, "deployment/valid")
	})
	t.Run("scale and rollout restart", func(t *testing.T) {
		k(t, ns, "scale", "--replicas=2", "deployment/api")
		rollout(t, ns, "deployment/api")
		k(t, ns, "rollout", "restart", "deployment/api", "deployment/valid")
		rollout(t, ns, "deployment/api", "deployment/valid")
		awaitOK(t, ns, "deployment/valid")
	})
}
