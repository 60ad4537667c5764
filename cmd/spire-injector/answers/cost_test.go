package answers

import (
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// The cluster of the benchmarks has 2,000 injected pods of 300 workloads, of which each calls the next. One of them has
// as many pods as a suggestion reads logs.
const (
	costWorkloads  = 300
	costNamespaces = 20
	costPods       = 2000
	costOf         = "n7/w7"
	costTo         = "n8/w8"
)

// costManifests are those workloads with a Service each.
func costManifests() string {
	var documents []string
	for i := range costNamespaces {
		documents = append(documents, fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: n%d}", i))
	}
	for i := range costWorkloads {
		documents = append(documents, fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: w%[1]d, namespace: n%[3]d}
spec:
  template:
    metadata:
      labels: {app: w%[1]d, spiffe.io/inject: enabled}
      annotations:
        spiffe.io/spiffe-id: /ns/n%[3]d/w%[1]d
        spiffe.io/app-port: "8080"
        spiffe.io/allowed-peers: "/ns/n%[3]d/*, /ns/n%[4]d/*"
        spiffe.io/upstreams: '[{listen: 8000, address: "w%[2]d.n%[4]d.svc:8443", peers: [/ns/n%[4]d/w%[2]d]}]'
    spec: {containers: [{name: app, image: app}]}
---
apiVersion: v1
kind: Service
metadata: {name: w%[1]d, namespace: n%[3]d}
spec: {selector: {app: w%[1]d}, ports: [{port: 8443}]}`, i, (i+1)%costWorkloads, i%costNamespaces, (i+1)%costWorkloads%costNamespaces))
	}
	return strings.Join(documents, "\n---\n")
}

// costLog is as much of a log as is read of one Envoy: requests of ten callers, and a refused one now and then.
func costLog() string {
	var b strings.Builder
	for i := range mostLines {
		if i%100 == 0 {
			fmt.Fprintf(&b, `{"time":"2026-01-01T11:54:%02d.%03dZ","event":"handshake_refused","listener":"inbound_8443","peer":"spiffe://example.org/ns/shop/web",`+
				`"remote":"10.0.0.9:%d","reason":"TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:SAN_match"}`+"\n", i/100, i%1000, 1024+i)
			continue
		}
		fmt.Fprintf(&b, `{"details":"via_upstream","event":"request","flags":"-","listener":"inbound_8443","method":"GET","ms":%d,"path":"/v1/users/%d",`+
			`"peer":"spiffe://example.org/ns/n7/w%d","protocol":"HTTP/1.1","remote":"10.0.0.%d:%d","self":"spiffe://example.org/ns/n7/w7","status":200,`+
			`"time":"2026-01-01T11:54:%02d.%03dZ"}`+"\n", i%90, i, 7+i%10*20, i%10, 1024+i, i/100, i%1000)
	}
	return b.String()
}

// costCluster is what such a cluster answers: its pods in pages of protobuf, as they come, and all other facts.
func costCluster(b *testing.B) (pages [][]byte, f Facts) {
	b.Helper()
	cluster := live(b, costManifests())
	list, err := cluster.CoreV1().Pods("").List(b.Context(), metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var all []corev1.Pod
	left := costPods - costWorkloads
	replica := func(pod corev1.Pod, n int) {
		if left > 0 {
			other := *pod.DeepCopy()
			other.Name = fmt.Sprintf("%s-%d", pod.Name, n)
			all = append(all, other)
			left--
		}
	}
	for _, pod := range list.Items {
		all = append(all, pod)
		if pod.Labels["app"] == "w7" {
			for n := range mostWitnesses - 1 {
				replica(pod, n)
			}
		}
	}
	for n := 0; left > 0; n++ {
		for _, pod := range list.Items {
			if pod.Labels["app"] != "w7" {
				replica(pod, n)
			}
		}
	}
	for len(all) > 0 {
		n := min(len(all), page)
		text, err := (&corev1.PodList{Items: all[:n]}).Marshal()
		if err != nil {
			b.Fatal(err)
		}
		pages, all = append(pages, text), all[n:]
	}
	f = gathered(b, cluster)
	f.Pods = nil
	return pages, f
}

// costRead reads the pods of pages into facts, as a Gatherer does, and compares them if there is a version.
func costRead(b *testing.B, pages [][]byte, f Facts, version string) Facts {
	b.Helper()
	whole := podKinds{}
	for _, text := range pages {
		var list corev1.PodList
		if err := list.Unmarshal(text); err != nil {
			b.Fatal(err)
		}
		for i := range list.Items {
			small := NewPod(&list.Items[i])
			if version != "" {
				small.kind = kindOf(&list.Items[i])
				whole.add(small.kind, &list.Items[i])
			}
			f.Pods = append(f.Pods, small)
		}
	}
	f.compare(version, whole)
	if len(f.Pods) != costPods {
		b.Fatalf("expected %d pods, got %d", costPods, len(f.Pods))
	}
	return f
}

// BenchmarkAnswers is all that a command does itself, without the API server and the connection to it: decode its
// pages, read logs, answer, and print. "cpu-ms" is processor time, of all processors.
func BenchmarkAnswers(b *testing.B) {
	pages, facts := costCluster(b)
	log := costLog()
	asked := func(m *Mesh, pods []Pod) { // the Envoys, for their logs
		m.Told = map[string]Told{}
		for _, pod := range pods {
			l := logOf(b, log)
			m.Told[pod.key()] = Told{Log: &l}
		}
	}
	for _, command := range []struct {
		name    string
		version string // compared
		answer  func(m *Mesh) error
	}{
		{"list", "", func(m *Mesh) error { return m.List("").WriteText(io.Discard) }},
		{"graph", "", func(m *Mesh) error {
			g, err := m.Graph(Selection{})
			if err == nil && len(g.Edges) != costWorkloads {
				err = fmt.Errorf("expected %d edges, got %d", costWorkloads, len(g.Edges))
			}
			if err != nil {
				return err
			}
			return g.WriteHTML(io.Discard)
		}},
		{"explain", "", func(m *Mesh) error {
			asked(m, m.PodsOf("", costOf))
			e, err := m.Explain(costOf, "")
			if err != nil {
				return err
			}
			return e.WriteText(io.Discard)
		}},
		{"explain a call", "", func(m *Mesh) error {
			asked(m, m.PodsOf("", costOf, costTo))
			e, err := m.ExplainCall(costOf, costTo, "", Request{})
			if err != nil {
				return err
			}
			return e.WriteText(io.Discard)
		}},
		{"check", "v1.2.3", func(m *Mesh) error {
			for _, f := range m.Findings() {
				if f.Severity == Broken && f.Check != "calls" {
					return fmt.Errorf("got %+v", f)
				}
			}
			return nil
		}},
		{"check if", "v1.2.3", func(m *Mesh) error {
			found, err := m.Suppose([]Supposition{{"n7", intent.InjectRequired}, {"n8", intent.InjectDisabled}})
			if err == nil && len(found) != 2 {
				err = fmt.Errorf("expected that nothing changes, got %+v", found)
			}
			return err
		}},
		{"suggest", "", func(m *Mesh) error {
			pods, err := m.Witnesses(costOf, "")
			if err == nil && len(pods) != mostWitnesses {
				err = fmt.Errorf("expected %d logs, got %d", mostWitnesses, len(pods))
			}
			if err != nil {
				return err
			}
			asked(m, pods)
			s, err := m.Suggest(costOf, "")
			if err == nil && len(s.Callers) != 11 {
				err = fmt.Errorf("expected 11 callers, got %+v", s.Callers)
			}
			if err != nil {
				return err
			}
			return s.WriteText(io.Discard)
		}},
	} {
		b.Run(command.name, func(b *testing.B) {
			b.ReportAllocs()
			began := processorTime(b)
			for b.Loop() {
				if err := command.answer(NewMesh(costRead(b, pages, facts, command.version))); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((processorTime(b)-began).Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

// processorTime is that of this program so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
