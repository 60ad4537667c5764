package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// variant is a kind of server: how its app starts and stops.
type variant struct {
	name  string
	flags []string
	// lasting says that the app lets its TCP callers end their connections. From an app that stops at once no connection
	// can be saved that lives longer than the app, so such servers are called over new TCP connections alone.
	lasting bool
}

var variants = []variant{
	{name: "at-once", flags: []string{"--stop", "at-once"}},
	{name: "at-once-late", flags: []string{"--stop", "at-once", "--start-delay", "5s"}},
	{name: "graceful", lasting: true},
	{name: "graceful-late", flags: []string{"--start-delay", "5s"}, lasting: true},
}

// Servers of every kind are restarted, a gateway before one of them too, then their client, then the servers are scaled
// down, all under constant traffic over HTTP/1.1, gRPC and TCP, by the service's address and by its pods' addresses:
// not one request fails.
func TestRolloutsLoseNothing(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	edge := gateway(ns, id(ns, "client"), route(ns, "/", "graceful"))
	all := []workload{edge}
	plan := traffic{namespace: ns, apps: map[string]string{}}
	plan.throughGateway()
	for _, v := range variants {
		all = append(all, polyglot(ns, v.name, id(ns, "client")+" "+id(ns, "gateway"), v.flags...))
		plan.to(v)
	}
	var objects []any
	var servers []string
	for _, w := range all {
		w.replicas = 2
		d := w.deployment(ns)
		d.Spec.Template.Spec.TerminationGracePeriodSeconds = new(int64(5))
		objects = append(objects, w.service(ns), w.headless(ns), d)
		servers = append(servers, "deployment/"+w.name)
	}
	apply(t, objects...)
	rollout(t, ns, servers...)
	before := podNames(t, ns, "")
	client := workload{
		name: "client", command: plan.command(),
		annotations: identified(ns, "client", map[string]string{"spiffe.io/upstreams": list(plan.upstreams...)}),
		edit:        func(spec *corev1.PodSpec) { spec.TerminationGracePeriodSeconds = new(int64(20)) },
	}
	apply(t, client.deployment(ns))
	rollout(t, ns, "deployment/client")
	firstClient := podNames(t, ns, "client")
	loads := follow(t, ns, firstClient)
	time.Sleep(5 * time.Second) // of traffic to what is there

	start := time.Now()
	step := func(what string) {
		t.Logf("%s took %.0f s", what, time.Since(start).Seconds())
		start = time.Now()
	}
	k(t, ns, append([]string{"rollout", "restart"}, servers...)...)
	rollout(t, ns, servers...)
	awaitPodsGone(t, ns, before)
	time.Sleep(5 * time.Second) // of traffic to the new pods
	step("the rolling restart of the servers")

	k(t, ns, "rollout", "restart", "deployment/client")
	rollout(t, ns, "deployment/client")
	awaitPodsGone(t, ns, firstClient)
	loads = append(loads, follow(t, ns, podNames(t, ns, "client"))...)
	step("the rolling restart of the client")

	k(t, ns, append([]string{"scale", "--replicas=1"}, servers...)...)
	eventually(t, "one pod of each server", func() error {
		for _, w := range all {
			if got := podNames(t, ns, w.name); len(got) != 1 {
				return fmt.Errorf("%s: %v", w.name, got)
			}
		}
		return nil
	})
	time.Sleep(3 * time.Second) // of traffic to what is left
	step("the scale-down of the servers")

	var late []corev1.Pod
	for _, v := range variants {
		late = append(late, podsOf(t, ns, v.name)...)
	}
	k(t, ns, "scale", "--replicas=0", "deployment/client")
	plan.judge(t, loads, before)
	for _, pod := range late {
		readyAfterListening(t, pod)
	}
}

// traffic is the client's upstreams, and the URLs that it calls.
type traffic struct {
	namespace   string
	upstreams   []item
	kept, fresh []string          // URLs by connections that are kept, and by new ones
	apps        map[string]string // of a URL
}

// upstream adds one and returns its URL.
func (p *traffic) upstream(host, app string, port int, protocol string) string {
	listen := 20000 + len(p.upstreams)
	p.upstreams = append(p.upstreams, item{"listen": listen, "protocol": protocol,
		"address": fmt.Sprintf("%s.%s.svc:%d", host, p.namespace, port), "peers": []string{id(p.namespace, app)}})
	url := fmt.Sprintf("%s://127.0.0.1:%d", protocol, listen)
	p.apps[url] = host + " " + protocol
	return url
}

// throughGateway makes traffic to the gateway.
func (p *traffic) throughGateway() {
	for _, host := range []string{"gateway", "gateway-headless"} {
		p.kept = append(p.kept, p.upstream(host, "gateway", 8443, "http")+"/api")
	}
}

// to makes traffic to a server through each of its two services.
func (p *traffic) to(v variant) {
	for _, host := range []string{v.name, v.name + "-headless"} {
		http, grpc, tcp := p.upstream(host, v.name, 8443, "http"), p.upstream(host, v.name, 8444, "grpc"), p.upstream(host, v.name, 8445, "tcp")
		p.kept = append(p.kept, http+"/api", grpc, grpc+"/count")
		p.fresh = append(p.fresh, tcp)
		if v.lasting {
			p.kept = append(p.kept, tcp)
		}
	}
}

// command sends the load. Its progress would mix with the report in the container's log.
func (p traffic) command() []string {
	args := append([]string{"/podtool", "load", "-o", "json", "--duration", "1h", "--workers", "1", "--interval", "150ms", "--progress", "1h"}, p.kept...)
	for _, url := range p.fresh {
		args = append(args, "--fresh", url)
	}
	return args
}

// judge waits for the reports and wants no failure, and for each URL answers of pods before and after the restart.
func (p traffic) judge(t *testing.T, loads []<-chan loadReport, before []string) {
	t.Helper()
	type sums struct {
		urlCounts
		old, renewed int
	}
	byURL, byApp := map[string]*sums{}, map[string]*sums{}
	total, failed := 0, 0
	for _, load := range loads {
		report := <-load
		total, failed = total+report.Total, failed+report.Failed
		for _, failure := range report.FirstFailures {
			t.Errorf("failed: %s", failure)
		}
		for url, counts := range report.ByURL {
			origin := regexp.MustCompile(`^[a-z]+://[0-9.:]+`).FindString(url)
			for sum, in := range map[string]map[string]*sums{url: byURL, p.apps[origin]: byApp} {
				if in[sum] == nil {
					in[sum] = &sums{}
				}
				in[sum].Total += counts.Total
				in[sum].Failed += counts.Failed
				in[sum].Connections += counts.Connections
				for pod, n := range counts.ByPod {
					if slices.Contains(before, pod) {
						in[sum].old += n
					} else {
						in[sum].renewed += n
					}
				}
			}
		}
	}
	for _, app := range slices.Sorted(maps.Keys(byApp)) {
		t.Logf("%s: %d requests, %d failed, %d connections", app, byApp[app].Total, byApp[app].Failed, byApp[app].Connections)
	}
	t.Logf("%d requests, %d failed", total, failed)
	if want := len(p.kept) + len(p.fresh); len(byURL) != want {
		t.Errorf("expected traffic to %d URLs, got %d", want, len(byURL))
	}
	for url, sum := range byURL {
		if sum.old < 10 || sum.renewed < 10 {
			t.Errorf("%s: expected answers of pods before and after the restart, got %d and %d", url, sum.old, sum.renewed)
		}
	}
}

// follow collects the reports that loads print when their pods end. It returns once their logs are read.
func follow(t *testing.T, namespace string, pods []string) []<-chan loadReport {
	t.Helper()
	var reports []<-chan loadReport
	for _, pod := range pods {
		cmd := shared.k.Command(t.Context(), "--namespace", namespace, "logs", "--follow", "pod/"+pod, "--container", "app")
		stdout, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		report := make(chan loadReport, 1)
		reports = append(reports, report)
		go func() {
			defer cmd.Wait() //nolint:errcheck // what counts is what it printed
			var r loadReport
			if err := json.NewDecoder(bufio.NewReader(stdout)).Decode(&r); err != nil {
				t.Errorf("the load of %s did not report: %v", pod, err)
			}
			report <- r
		}()
	}
	return reports
}

// readyAfterListening: a pod whose app listens late gets no traffic before.
func readyAfterListening(t *testing.T, pod corev1.Pod) {
	t.Helper()
	out, err := shared.k.Run(t.Context(), "--namespace", pod.Namespace, "logs", pod.Name, "--container", "app")
	must(t, err)
	for line := range strings.Lines(out) {
		var event struct {
			Time time.Time `json:"time"`
			Msg  string    `json:"msg"`
		}
		if json.Unmarshal([]byte(line), &event) == nil && event.Msg == "listening" {
			ready := readySince(t, pod).Add(time.Second) // it is told in whole seconds, rounded down
			if ready.Before(event.Time) {
				t.Errorf("pod %s was ready at %s, its app listened at %s", pod.Name, ready, event.Time)
			}
			return
		}
	}
	t.Errorf("pod %s: the app does not tell when it listened:\n%s", pod.Name, out)
}

func readySince(t *testing.T, pod corev1.Pod) time.Time {
	t.Helper()
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
			return condition.LastTransitionTime.Time
		}
	}
	t.Fatalf("pod %s is not ready", pod.Name)
	return time.Time{}
}
