package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/images"
)

const (
	tokensContainer = "spiffe-jwt"
	subjectHeader   = "X-Spiffe-Jwt-Subject"
)

// tokenAPI is an API each of whose requests needs a token of one of the subjects.
func tokenAPI(namespace string, subjects ...string) workload {
	w := api(namespace, "")
	w.annotations = identified(namespace, "api", map[string]string{
		"spiffe.io/inbound": list(item{"listen": 8443, "app": 8080, "peers": []string{"/ns/" + namespace + "/*"}, "jwt": item{"subjects": subjects}}),
	})
	return w
}

// withToken gives the requests of a client tokens for the API.
func withToken(namespace string, w workload) workload {
	to := upstream(namespace, "api", 8000, 8443, "http")
	to["jwt"] = item{}
	w.annotations["spiffe.io/upstreams"] = list(to)
	w.annotations["spiffe.io/jwt-svid-ttl"] = "10s"
	return w
}

// A gateway takes one token and shows its own, so that each side sees who called it.
func TestTokensThroughGateway(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	server := tokenAPI(ns, id(ns, "gateway"))
	behind := route(ns, "/", "api")
	behind["jwt"] = item{"audience": id(ns, "api")}
	edge := gateway(ns, id(ns, "valid"), behind)
	edge.annotations["spiffe.io/inbound"] = list(
		item{"listen": 10080, "tls": "none", "jwt": item{"subjects": []string{id(ns, "valid")}}},
		item{"listen": 8443, "peers": []string{id(ns, "valid"), id(ns, "invalid")}, "jwt": item{"subjects": []string{id(ns, "valid")}, "audiences": []string{"edge"}}},
	)
	clients := []workload{client(ns, "valid"), client(ns, "invalid")}
	for _, c := range clients {
		to := upstream(ns, "gateway", 8000, 8443, "http")
		to["jwt"] = item{"audience": "edge"}
		c.annotations["spiffe.io/upstreams"] = list(to)
	}
	apply(t, edge.service(ns), edge.deployment(ns))
	deploy(t, ns, server, clients...)
	rollout(t, ns, "deployment/gateway")

	t.Run("the API sees the gateway, whatever the caller says", func(t *testing.T) {
		got := echo(t, ns, "deployment/valid", "http://127.0.0.1:8000/echo", "--header", subjectHeader+": spiffe://example.org/forged")
		if subject := strings.Join(got.Headers[subjectHeader], " and "); subject != "spiffe://example.org"+id(ns, "gateway") {
			t.Errorf("expected the gateway as the subject, got %q", subject)
		}
		if token := got.Headers["Authorization"]; len(token) > 0 {
			t.Error("the app got a token")
		}
	})
	t.Run("who is a peer and not a subject is refused, and the gateway says why", func(t *testing.T) {
		out, err := in(t, ns, "deployment/invalid", "/sample", "get", url)
		if err == nil || !strings.HasPrefix(out, "RBAC: access denied") {
			t.Errorf("expected a refusal, got %q (%v)", out, err)
		}
		awaitLog(t, ns, "deployment/gateway", "the refused subject", func(l logLine) bool {
			return l.Event == "request" && l.Status == 403 && l.Subject == "spiffe://example.org"+id(ns, "invalid") && l.Peer == l.Subject
		})
	})
	t.Run("nobody gets in at the public port without a token", func(t *testing.T) {
		for header, want := range map[string]string{"X-None: x": "Jwt is missing", "Authorization: Bearer a.b.c": "Jwt"} {
			out, err := in(t, ns, "deployment/valid", "/sample", "get", "http://gateway."+ns+".svc:10080/api", "--header", header)
			if err == nil || !strings.HasPrefix(out, want) || !strings.Contains(err.Error(), "401") {
				t.Errorf("%s: expected 401 %s, got %q (%v)", header, want, out, err)
			}
		}
	})
}

// Jobs end although tokens are fetched beside them, their init containers have tokens already, and no container of the
// user has what the sidecars share.
func TestTokensOfJobs(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	caller := withToken(ns, client(ns, "caller"))
	caller.command = []string{"/sample", "get", url}
	caller.edit = func(spec *corev1.PodSpec) {
		spec.RestartPolicy = corev1.RestartPolicyNever
		spec.InitContainers = []corev1.Container{container("before", "/sample", "get", url)}
	}
	deploy(t, ns, tokenAPI(ns, id(ns, "caller")))
	apply(t, caller.job(ns))
	eventually(t, "the end of the Job", func() error {
		var job batchv1.Job
		must(t, shared.k.Get(t.Context(), &job, "job", "caller", "--namespace", ns))
		if job.Status.Failed > 0 {
			t.Fatal("it failed")
		}
		if job.Status.Succeeded == 0 {
			return errors.New("it has not ended")
		}
		return nil
	})
	pod := podsOf(t, ns, "caller")[0]
	if statuses(pod)[tokensContainer].State.Terminated == nil {
		t.Errorf("expected %s to have ended, got %+v", tokensContainer, pod.Status)
	}
	for c := range slices.Values(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers)) {
		shares := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == tokensContainer })
		if ours := c.Name == tokensContainer || c.Name == "envoy"; shares != ours {
			t.Errorf("container %s: has the tokens %t", c.Name, shares)
		}
	}
}

// Tokens are renewed, their container is nobody's to change, and a running pod does not get one.
func TestTokensOfRunningPods(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	deploy(t, ns, tokenAPI(ns, id(ns, "valid")), withToken(ns, client(ns, "valid")), client(ns, "invalid"))
	awaitOK(t, ns, "deployment/valid")
	valid, invalid := podNames(t, ns, "valid")[0], podNames(t, ns, "invalid")[0]

	t.Run("renewal", func(t *testing.T) {
		eventually(t, "three tokens of 10 s", func() error {
			if got := strings.Count(k(t, ns, "logs", valid, "--container", tokensContainer), `"new token"`); got < 3 {
				return fmt.Errorf("got %d", got)
			}
			return nil
		})
		awaitOK(t, ns, "deployment/valid")
	})
	t.Run("a caller without token", func(t *testing.T) {
		out, err := in(t, ns, "deployment/invalid", "/sample", "get", url)
		if err == nil || !strings.HasPrefix(out, "Jwt is missing") {
			t.Errorf("expected that the token is missing, got %q (%v)", out, err)
		}
	})
	for name, args := range map[string][]string{
		"another image":         {"set", "image", "pod/" + valid, tokensContainer + "=" + images.PodTool},
		"a token, from now on":  {"annotate", "pod", invalid, "--overwrite", "spiffe.io/upstreams=" + withToken(ns, client(ns, "invalid")).annotations["spiffe.io/upstreams"]},
		"no token, from now on": {"annotate", "pod", valid, "--overwrite", "spiffe.io/upstreams=" + client(ns, "valid").annotations["spiffe.io/upstreams"]},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := shared.k.Run(t.Context(), append([]string{"--namespace", ns}, args...)...)
			if err == nil || !strings.Contains(err.Error(), "needs a new pod") {
				t.Errorf(`expected "needs a new pod", got %v`, err)
			}
		})
	}
	t.Run("a container of that name in a pod without tokens", func(t *testing.T) {
		w := client(ns, "other")
		w.edit = func(spec *corev1.PodSpec) {
			spec.Containers = append(spec.Containers, container(tokensContainer, "/podtool", "api"))
		}
		if message := refused(t, w.pod(ns)); !strings.Contains(message, "container spiffe-jwt: has the name of an injected container") {
			t.Errorf("got %s", message)
		}
	})
}
