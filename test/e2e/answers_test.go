package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Mistakes that look alike to a client, several in one namespace: one command names each, and what it prints as the
// remedy makes the call pass.
func TestAnswers(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	program := buildCommand(t)
	server := func(name, peers, appPort string) workload {
		return workload{name: name, command: []string{"/podtool", "api", "--listen", "127.0.0.1:8080"}, annotations: identified(ns, name, map[string]string{
			"spiffe.io/app-port": appPort, "spiffe.io/allowed-peers": peers,
		})}
	}
	callerOf := func(name, address, to string) workload {
		return workload{name: name, command: []string{"/sample", "client", "--url", url, "--every", "2s"}, annotations: identified(ns, name, map[string]string{
			"spiffe.io/upstreams": list(item{"listen": 8000, "address": address, "peers": []string{id(ns, to)}}),
		})}
	}
	caller := func(name, host, to string) workload { return callerOf(name, host+"."+ns+".svc:8443", to) }
	listed := server("listed", id(ns, "wbe"), "8080")
	around := server("around", id(ns, "*"), "8080")
	aroundService := around.service(ns)
	aroundService.Spec.Ports = []corev1.ServicePort{{Name: "plain", Port: 80, TargetPort: intstr.FromInt32(8080)}}
	deaf := server("deaf", id(ns, "*"), "8081")
	unlabelled := server("unlabelled", id(ns, "*"), "8080")
	misplaced := unlabelled.deployment(ns)
	misplaced.Labels = map[string]string{"spiffe.io/inject": "enabled"}
	delete(misplaced.Spec.Template.Labels, "spiffe.io/inject")
	apply(t, listed.service(ns), listed.deployment(ns), caller("web", "listed", "listed").deployment(ns),
		aroundService, around.deployment(ns), caller("reader", "around", "around").deployment(ns),
		deaf.service(ns), deaf.deployment(ns), unlabelled.service(ns), misplaced,
		caller("lost", "listd", "listed").deployment(ns), caller("askew", "around", "arund").deployment(ns),
		callerOf("straight", "around."+ns+".svc:80", "around").deployment(ns))
	rollout(t, ns, "deployment/listed", "deployment/web", "deployment/around", "deployment/reader", "deployment/unlabelled", "deployment/lost")

	t.Run("a caller that is not in the list", func(t *testing.T) {
		awaitAnswer(t, program, 1, "the refusal", ns, "web", "listed",
			fmt.Sprintf("fails allowed peers %s/listed lets in %s (annotation spiffe.io/allowed-peers); the caller is %s", ns, id(ns, "wbe"), id(ns, "web")),
			"by the callee: ", "the other side's identity is not in the list (SAN_match)", "by the caller: ")
		out, _ := answer(t, program, ns, "explain", "listed")
		for _, part := range []string{"ok SVID on its node, valid for ", "note refused ", "ok configuration taken by Envoy", "ok log of listed-"} {
			if !strings.Contains(out, part) {
				t.Errorf("expected %q, got %s", part, out)
			}
		}
		suggested, _ := answer(t, program, ns, "suggest", "listed")
		if want := fmt.Sprintf("write spiffe.io/allowed-peers: %s, %s", id(ns, "wbe"), id(ns, "web")); !strings.Contains(suggested, want) {
			t.Errorf("expected %q, got %s", want, suggested)
		}
		carryOut(t, out, "now: kubectl ")
		awaitAnswer(t, program, 0, "the call passes", ns, "web", "listed", "ok allowed peers", "passed, ")
	})
	t.Run("a Service without the port of mutual TLS", func(t *testing.T) {
		awaitAnswer(t, program, 1, "the port", ns, "reader", "around",
			fmt.Sprintf("fails address Service %s/around: 80 → 8080, none to 8443, where its sidecars listen", ns),
			"remedy ports of the Service: [{name: mtls, port: 8443, targetPort: 8443}]")
		k(t, ns, "patch", "service", "around", "--type", "merge", "-p",
			`{"spec":{"ports":[{"name":"plain","port":80,"targetPort":8080},{"name":"mtls","port":8443,"targetPort":8443}]}}`)
		awaitAnswer(t, program, 0, "the call passes", ns, "reader", "around", "ok port around."+ns+".svc:8443 leads to 8443")
	})
	t.Run("a host that does not exist", func(t *testing.T) {
		awaitAnswer(t, program, 1, "the host", ns, "lost", "listed",
			fmt.Sprintf("fails address no Service listd in %s; did you mean listed.%s.svc:8443?", ns, ns))
	})
	t.Run("another ID expected", func(t *testing.T) {
		awaitAnswer(t, program, 1, "the expected ID", ns, "askew", "around",
			fmt.Sprintf("fails expected ID around.%s.svc:8443 is Deployment %s/around, %s; the caller accepts %s alone",
				ns, ns, id(ns, "around"), id(ns, "arund")),
			fmt.Sprintf("remedy write peers: [%s] in annotation spiffe.io/upstreams[0].peers", id(ns, "around")))
		apply(t, caller("askew", "around", "around").deployment(ns))
		rollout(t, ns, "deployment/askew")
		awaitAnswer(t, program, 0, "the call passes", ns, "askew", "around", "ok expected ID", "passed, ")
	})
	t.Run("an upstream to the app's own port", func(t *testing.T) {
		awaitAnswer(t, program, 1, "the port", ns, "straight", "around",
			fmt.Sprintf("fails port around.%s.svc:80 leads to 8080, the app itself, past its sidecar, which listens on 8443", ns))
		apply(t, caller("straight", "around", "around").deployment(ns))
		k(t, ns, "patch", "service", "around", "--type", "merge", "-p",
			`{"spec":{"ports":[{"name":"mtls","port":8443,"targetPort":8443}]}}`)
		rollout(t, ns, "deployment/straight")
		awaitAnswer(t, program, 0, "the call passes", ns, "straight", "around", "passed, ")
	})
	t.Run("what is told when it is applied", func(t *testing.T) {
		idle := workload{name: "idle", command: []string{"/pause"}, annotations: identified(ns, "idle", nil)}
		if got, want := refused(t, idle.deployment(ns)), "the sidecar would have nothing to do"; !strings.Contains(got, want) {
			t.Errorf("a workload that neither takes calls nor makes any: expected %q, got %s", want, got)
		}
		wrong := idle.deployment(ns)
		wrong.Spec.Template.Labels["spiffe.io/inject"] = "true"
		first, _, _ := strings.Cut(refused(t, wrong), "\n")
		if want := `label spiffe.io/inject: expected "enabled" or "disabled", got "true"`; !strings.Contains(first, want) {
			t.Errorf("a value that the label does not have: expected %q in the first line, got %s", want, first)
		}
	})
	t.Run("a namespace that is excluded", func(t *testing.T) {
		const excluded = "kube-public"
		there := server(ns, "/nobody", "8080")
		pod := neverScheduled(there.pod(excluded))
		t.Cleanup(func() {
			_, err := shared.k.Run(context.Background(), "--namespace", excluded, "delete", "pod", ns, "--ignore-not-found")
			must(t, err)
		})
		apply(t, pod)
		awaitAnswer(t, program, 1, "the namespace", excluded, "pod/"+ns, "",
			"fails injected kube-public is excluded (by the webhooks' namespaceSelector); the label does nothing there remedy move it to another namespace")
	})
	t.Run("a label on the Deployment itself", func(t *testing.T) {
		awaitAnswer(t, program, 1, "the label", ns, "deploy/unlabelled", "", "fails asked neither Pod "+ns+"/unlabelled-",
			"has it on itself, where it does nothing remedy move it to spec.template.metadata.labels")
		k(t, ns, "patch", "deployment", "unlabelled", "--type", "merge", "-p",
			`{"metadata":{"labels":{"spiffe.io/inject":null}},"spec":{"template":{"metadata":{"labels":{"spiffe.io/inject":"enabled"}}}}}`)
		rollout(t, ns, "deployment/unlabelled")
		awaitAnswer(t, program, 0, "its injection", ns, "deploy/unlabelled", "", "ok injected 1 pod")
	})
	t.Run("an app on another port", func(t *testing.T) {
		awaitAnswer(t, program, 1, "the port", ns, "deaf", "",
			"fails app nothing listens on 127.0.0.1:8081 in container app (annotation spiffe.io/app-port)")
		if found := findings(t, program, ns); !strings.Contains(found, "app-listens: nothing listens on 127.0.0.1:8081 in container app") {
			t.Errorf("expected the app among %s", found)
		}
		k(t, ns, "patch", "deployment", "deaf", "--type", "merge", "-p",
			`{"spec":{"template":{"metadata":{"annotations":{"spiffe.io/app-port":"8080"}}}}}`)
		rollout(t, ns, "deployment/deaf")
		awaitAnswer(t, program, 0, "its readiness", ns, "deaf", "", "ok ready all of them")
	})
	t.Run("what is mended is found no more", func(t *testing.T) {
		eventually(t, "the host alone among the findings", func() error {
			if found := findings(t, program, ns); strings.Count(found, "\n") != 1 || !strings.Contains(found, "calls: no Service listd in") {
				return fmt.Errorf("got %q", found)
			}
			return nil
		})
	})
}

// answer is what a command prints, with one space for many, and its exit code.
func answer(t *testing.T, program, ns, command string, names ...string) (string, int) {
	t.Helper()
	args := append([]string{command, "--kubeconfig", shared.env.Kubeconfig, "-n", ns}, names...)
	cmd := exec.CommandContext(t.Context(), program, args...)
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(out)), " "), cmd.ProcessState.ExitCode()
}

// awaitAnswer waits until one or two names are explained with all parts.
func awaitAnswer(t *testing.T, program string, code int, what, ns, from, to string, parts ...string) {
	t.Helper()
	names := []string{from}
	if to != "" {
		names = append(names, to)
	}
	eventually(t, what, func() error {
		start := time.Now()
		out, got := answer(t, program, ns, "explain", names...)
		for _, part := range parts {
			if !strings.Contains(out, part) {
				return fmt.Errorf("expected %q, got %s", part, out)
			}
		}
		if got != code {
			return fmt.Errorf("expected exit code %d, got %d and %s", code, got, out)
		}
		t.Logf("explained %s after %s", strings.Join(names, " "), time.Since(start))
		return nil
	})
}

// carryOut runs the kubectl command that stands in an answer after some words.
func carryOut(t *testing.T, answer, after string) {
	t.Helper()
	_, command, ok := strings.Cut(answer, after)
	if !ok {
		t.Fatalf("expected %q in %s", after, answer)
	}
	before, quoted, _ := strings.Cut(command, "'")
	value, _, _ := strings.Cut(quoted, "'")
	args := strings.Fields(before + "\x00")
	args[len(args)-1] = strings.TrimSuffix(args[len(args)-1], "\x00") + value
	_, err := shared.k.Run(t.Context(), args...)
	must(t, err)
}

// findings are those of check about a namespace, one a line.
func findings(t *testing.T, program, ns string) string {
	t.Helper()
	report, _ := checked(t, program)
	var out strings.Builder
	for _, f := range complaints(report) {
		if strings.Contains(f.Where, ns+"/") {
			fmt.Fprintf(&out, "%s: %s\n", f.Check, f.Found)
		}
	}
	return out.String()
}
