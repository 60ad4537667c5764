package answers

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Envoys asks running Envoys, through the API server: what their pods serve to everybody by pods/proxy, and what they
// serve on their loopback by pods/portforward. Whoever owns a pod writes the answers, which are bounded.
type Envoys struct {
	config *rest.Config
	client *http.Client
	core   coreclient.CoreV1Interface
}

// NewEnvoys calls nobody yet.
func NewEnvoys(config *rest.Config) (Envoys, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return Envoys{}, err
	}
	core, err := coreclient.NewForConfigAndClient(config, client)
	if err != nil {
		return Envoys{}, err
	}
	return Envoys{config: config, client: client, core: core}, nil
}

// Questions are what Envoys are asked.
type Questions struct {
	Readiness    bool // their own ports and the app's
	Updates      bool // how reading changed files went
	Certificates bool
	Log          bool // its end
}

const (
	answerTime = 5 * time.Second // bounds the wait for one answer
	atOnce     = 16
	mostAnswer = 1 << 20
)

// Ask asks the Envoys of pods, many at once, and keeps in the facts what they say.
func (e Envoys) Ask(ctx context.Context, f *Facts, pods []Pod, q Questions) {
	if f.Told == nil {
		f.Told = map[string]Told{}
	}
	var wait sync.WaitGroup
	var mutex sync.Mutex
	turns := make(chan struct{}, atOnce)
	for _, pod := range pods {
		turns <- struct{}{}
		mutex.Lock()
		told := f.Told[pod.key()]
		mutex.Unlock()
		wait.Go(func() {
			defer func() { <-turns }()
			told = e.ask(ctx, pod, q, told)
			mutex.Lock()
			defer mutex.Unlock()
			f.Told[pod.key()] = told
		})
	}
	wait.Wait()
}

// ask adds the answers of one to what it said before.
func (e Envoys) ask(ctx context.Context, pod Pod, q Questions, t Told) Told {
	if q.Readiness {
		var errPorts, errApps error
		t.Ports, errPorts = e.ready(ctx, pod, templates.ReadinessPath)
		t.Apps, errApps = e.ready(ctx, pod, templates.AppReadinessPath)
		t.Err = errors.Join(t.Err, errPorts, errApps)
	}
	if q.Updates {
		page, status, err := e.page(ctx, pod, ir.ReadinessPort, templates.UpdatesPath)
		if err == nil && status == http.StatusOK {
			t.Updates, err = templates.ParseUpdates(page)
		}
		t.Err = errors.Join(t.Err, err)
	}
	if q.Certificates {
		page, err := e.admin(ctx, pod, "/certs")
		if err == nil {
			t.SVID, err = parseSVID(page)
			t.AskedSVID = err == nil
		}
		t.Err = errors.Join(t.Err, err)
	}
	if q.Log {
		log, err := e.log(ctx, pod)
		t.Log, t.Err = log, errors.Join(t.Err, err)
	}
	return t
}

const (
	mostLines = 4000
	mostLog   = 8 << 20
)

// log reads the last lines of an Envoy's log.
func (e Envoys) log(ctx context.Context, pod Pod) (*Log, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	lines := int64(mostLines)
	stream, err := e.core.Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: intent.SidecarName,
		TailLines: &lines,
	}).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the log of %s: %w", pod.key(), err)
	}
	defer func() { _ = stream.Close() }()
	bounded := &io.LimitedReader{R: stream, N: mostLog}
	log, err := ReadLog(bounded)
	if err != nil {
		return nil, fmt.Errorf("reading the log of %s: %w", pod.key(), err)
	}
	log.Cut = log.Cut || bounded.N == 0
	return &log, nil
}

// ready asks for a page that is answered with 200 or 503.
func (e Envoys) ready(ctx context.Context, pod Pod, path string) (*bool, error) {
	_, status, err := e.page(ctx, pod, ir.ReadinessPort, path)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusOK:
		return new(true), nil
	case status == http.StatusServiceUnavailable:
		return new(false), nil
	}
	return nil, fmt.Errorf("asking %s for %s: expected status 200 or 503, got %d", pod.key(), path, status)
}

// page reads a page of a pod, also one that comes with an error of the pod's own.
func (e Envoys) page(ctx context.Context, pod Pod, port uint16, path string) (text []byte, status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	at := e.core.RESTClient().Get().Namespace(pod.Namespace).Resource("pods").
		Name(utilnet.JoinSchemeNamePort("http", pod.Name, fmt.Sprint(port))).SubResource("proxy").Suffix(path).URL()
	at.RawQuery = "" // the time of a kubeconfig, which would reach the pod as a part of what it is asked for
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, 0, err
	}
	response, err := e.client.Do(request)
	if err != nil {
		return nil, 0, fmt.Errorf("asking %s for %s: %w", pod.key(), path, err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err = readBounded(response.Body)
	if err != nil {
		return nil, 0, fmt.Errorf("asking %s for %s: %w", pod.key(), path, err)
	}
	// What the API server answers in the pod's place is an object of its own.
	var of metav1.Status
	if response.StatusCode != http.StatusOK && json.Unmarshal(text, &of) == nil && of.Kind == "Status" {
		return nil, 0, fmt.Errorf("asking %s for %s: %s", pod.key(), path, intent.Cut(of.Message, mostMessage))
	}
	return text, response.StatusCode, nil
}

// mostMessage bounds what is told of an answer.
const mostMessage = 300

func readBounded(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, mostAnswer+1))
	if err == nil && len(text) > mostAnswer {
		err = fmt.Errorf("expected at most %d bytes, got more", mostAnswer)
	}
	return text, err
}

// admin reads a page of Envoy's admin interface, which is on the pod's loopback alone.
func (e Envoys) admin(ctx context.Context, pod Pod, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	connection, err := e.forward(ctx, pod, ir.AdminPort)
	if err != nil {
		return nil, fmt.Errorf("asking %s for %s by portforward: %w", pod.key(), path, err)
	}
	defer func() { _ = connection.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = connection.Close() })
	defer stop()
	page, err := get(ctx, connection, path)
	if err != nil {
		if why := connection.why(); why != "" {
			err = errors.New(intent.Cut(why, mostMessage))
		}
		return nil, fmt.Errorf("asking %s for %s by portforward: %w", pod.key(), path, err)
	}
	return page, nil
}

// get asks for a page on a connection.
func get(ctx context.Context, connection io.ReadWriter, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return nil, err
	}
	request.Close = true
	if err := request.Write(connection); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("expected status 200, got %d", response.StatusCode)
	}
	return readBounded(response.Body)
}
