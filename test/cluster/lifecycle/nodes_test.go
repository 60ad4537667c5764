package lifecycle

import (
	"bufio"
	_ "embed"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"text/template"

	"github.com/spire-injector/spire-injector/test/cluster/local"
	"github.com/spire-injector/spire-injector/test/command"
)

//go:embed nodes.yaml
var onNodes string

// Two nodes are one cluster: whoever calls from one reaches what is on the other, and the API server reaches both.
func TestTwoNodes(t *testing.T) {
	o := options(t)
	before := fresh(t, o)
	o.Images = busybox(t, o)
	o.Nodes = 2
	info, err := local.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	state := inspect(t, o)
	if info.Nodes != 2 || state.Nodes != 2 {
		t.Errorf("expected 2 nodes, up says %d, status %d", info.Nodes, state.Nodes)
	}
	spaces := namespaces(t, state.PID)
	for pid, program := range inhabitants(t, name, spaces) {
		if program == "kubelet" || program == "containerd" {
			spaces = append(spaces, namespaces(t, pid)...)
		}
	}

	t.Run("another number is refused", func(t *testing.T) {
		one := o
		one.Nodes = 1
		_, err := local.Up(t.Context(), one)
		var other local.OtherShapeError
		if !errors.As(err, &other) || other.Wanted.Nodes != 1 || other.Have.Nodes != 2 {
			t.Errorf("up with one node: got error %v", err)
		}
		unsaid := o
		unsaid.Nodes = 0
		if again, err := local.Up(t.Context(), unsaid); err != nil || again.Nodes != 2 {
			t.Errorf("up without a number: got %d nodes, error %v", again.Nodes, err)
		}
		if again := inspect(t, o); again.PID != state.PID {
			t.Errorf("process 1 was %d and is %d: the cluster was started again", state.PID, again.PID)
		}
	})
	t.Run("pods", func(t *testing.T) { testNodes(t, info) })

	if err := local.Down(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	assertGone(t, o, before, spaces)
}

func testNodes(t *testing.T, info local.Info) {
	nodes := []string{"node1", "node2"}
	kubectl(t, info, "", "create", "namespace", "lifecycle")
	var manifests strings.Builder
	if err := template.Must(template.New("").Parse(onNodes)).Execute(&manifests, nodes); err != nil {
		t.Fatal(err)
	}
	kubectl(t, info, manifests.String(), "apply", "--filename=-")
	kubectl(t, info, "", "wait", "--namespace=lifecycle", "--for=condition=Ready", "--timeout=60s", "pod", "--all")

	get := func(pod, host, want string) {
		t.Helper()
		got := kubectl(t, info, "", "exec", "--namespace=lifecycle", pod, "--", "wget", "-q", "-O", "-", "http://"+host+"/name")
		if got != want+"\n" {
			t.Errorf("%s calls %s: got %q, want %q", pod, host, got, want)
		}
	}
	for _, to := range nodes {
		address := kubectl(t, info, "", "get", "pod", "web-"+to, "--namespace=lifecycle", "--output=jsonpath={.status.podIP}")
		for _, from := range nodes {
			for _, pod := range []string{"web-" + from, "on-" + from} {
				get(pod, "web-"+to+".lifecycle", to)
				get(pod, address+":8080", to)
			}
		}
		if got := kubectl(t, info, "", "exec", "--namespace=lifecycle", "on-"+to, "--", "hostname"); got != to+"\n" {
			t.Errorf("hostname of %s: got %q", to, got)
		}
		if got := kubectl(t, info, "", "logs", "--namespace=lifecycle", "web-"+to); got != "serving\n" {
			t.Errorf("log of the pod on %s: got %q", to, got)
		}
		if got := kubectl(t, info, "", "exec", "--namespace=lifecycle", "web-"+to, "--", "ls", "/data"); got != "node1\nnode2\n" {
			t.Errorf("what the pod on %s sees in the volume of both: got %q", to, got)
		}
		if got := forwarded(t, info, "web-"+to); got != to+"\n" {
			t.Errorf("the pod on %s by port-forward: got %q", to, got)
		}
	}
}

// forwarded is what a pod serves to whom kubectl lets to its port.
func forwarded(t *testing.T, info local.Info, pod string) string {
	t.Helper()
	cmd := command.NewKubectl(info.Kubectl, info.Kubeconfig).Command(t.Context(), "port-forward", "--namespace=lifecycle", "pod/"+pod, ":8080")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // the test's context has ended it
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		t.Fatalf("kubectl port-forward printed nothing: %v", lines.Err())
	}
	// Forwarding from 127.0.0.1:40123 -> 8080
	_, address, _ := strings.Cut(lines.Text(), "Forwarding from ")
	address, _, _ = strings.Cut(address, " ")
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/name", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
