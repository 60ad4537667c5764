package frontproxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/demo/story"
)

// certificates is where the generator writes.
const certificates = "/tmp/certs"

// inGenerator is a command in the generator's pod.
func inGenerator(args ...string) scene.Command {
	return scene.In(GeneratorNamespace, append([]string{"exec", "deploy/" + Generator, "-c", Generator, "--"}, args...)...)
}

// Fetched is what the client has from the generator.
type Fetched struct {
	Write scene.Ran
	Files []string
}

// fetch has the generator write its certificate, and takes the files to this machine.
func (s stage) fetch(ctx context.Context, to client) (Fetched, error) {
	f := Fetched{Files: []string{bundleFile, keyFile, certificateFile}}
	found, err := scene.Poll(ctx, scene.StartLimit, func() (bool, error) {
		var err error
		f.Write, err = s.Try(ctx, inGenerator("/sample", "spiffe-client", "--write", certificates))
		return !f.Write.Failed, err
	})
	if err != nil {
		return f, err
	}
	if !found {
		return f, &scene.Mismatch{What: f.Write.Command.String(), Expected: "three files", Got: f.Write.Output() + s.NotCreated(ctx, GeneratorNamespace)}
	}
	if err := os.MkdirAll(to.folder, 0o700); err != nil {
		return f, err
	}
	for _, name := range f.Files {
		r, err := s.Run(ctx, catCommand(name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to.folder, name), []byte(r.Stdout), 0o600)
		}
		if err != nil {
			return f, err
		}
	}
	_, err = tls.LoadX509KeyPair(filepath.Join(to.folder, certificateFile), filepath.Join(to.folder, keyFile))
	return f, err
}

func catCommand(name string) scene.Command {
	return inGenerator("/sample", "cat", certificates+"/"+name)
}

// Served is the first answer.
type Served struct {
	// Seconds from the start of apply to it.
	Seconds float64 `json:"secondsToFirstAnswer"`
	Answer  Answer  `json:"answer"`
	Line    line    `json:"backendLog"`
}

// awaitOK asks until the answer is 200.
func (s stage) awaitOK(ctx context.Context, c client, path string) (Answer, error) {
	var last error
	var a Answer
	found, err := scene.Poll(ctx, scene.StartLimit, func() (bool, error) {
		a, last = s.get(ctx, c, Proxy, path)
		return last == nil && a.Status == 200, nil
	})
	if err == nil && !found {
		look := scene.In(Proxy, "get", "pods,events")
		switch {
		case a.Status == http.StatusForbidden:
			look = envoyLog(Backend)
		case last == nil:
			look = envoyLog(Proxy)
		}
		err = &scene.Mismatch{
			What: "GET " + path + " at the proxy", Expected: "200",
			Got: a.said(last) + s.NotCreated(ctx, Proxy) + s.NotCreated(ctx, Backend), Look: look.String(),
		}
	}
	return a, err
}

// callers fails unless the app saw these, the client first and the proxy last.
func (a Answer) callers(want ...string) error {
	if a.Status != http.StatusOK {
		return &scene.Mismatch{What: "call of " + want[0] + " at the proxy", Expected: "200", Got: a.said(nil), Look: envoyLog(Backend).String()}
	}
	if got := forwardedURIs(a.Forwarded); !slices.Equal(got, want) {
		return &scene.Mismatch{What: "X-Forwarded-Client-Cert at the app", Expected: strings.Join(want, ", then "), Got: a.Forwarded}
	}
	return nil
}

func tellServed(ctx context.Context, d demo) (any, error) {
	applied, err := d.Scene.Apply(ctx, Workloads)
	if err != nil {
		return nil, err
	}
	d.Show(applied)
	const path = "/echo/served"
	c := client{folder: d.scene.folder()}
	fetched, answer, err := d.awaitFirst(ctx, c, path)
	if err != nil {
		return nil, err
	}
	d.Story.Say("The generator writes its certificate, its key, and the trust domain's bundle into files; a client outside the cluster takes " +
		"them along:")
	d.Show(fetched.Write)
	lines := []string{"mkdir -p -m 700 " + c.folder}
	for _, name := range fetched.Files {
		lines = append(lines, catCommand(name).String()+" > "+filepath.Join(c.folder, name))
	}
	d.Story.Typed(lines...)
	d.Story.Say("With them it calls the proxy. The port-forward stands for whatever leads to the proxy from outside:")
	d.Story.Typed(scene.In(Proxy, "port-forward", "service/"+Proxy, Local+":"+Port).String()+" &", c.curl(path))
	d.Story.Came(answer.Body)
	facts := Served{Seconds: applied.Until(answer.End), Answer: answer}
	if err := answer.callers(GeneratorID, ProxyID); err != nil {
		return facts, err
	}
	d.Story.Say("The backend's app is told both, by Envoys that have checked them. What the backend's own Envoy writes about it, laid out:")
	if facts.Line, err = d.scene.backendLine(ctx, path, 200, GeneratorID); err != nil {
		return facts, err
	}
	d.line(facts.Line)
	d.Story.Checked("first answer %.1f s after kubectl apply; the app sees %s, and that %s called for it", facts.Seconds, GeneratorID, ProxyID)
	return facts, nil
}

// awaitFirst waits for the client's certificate, and for the first answer that it gets with it.
func (d demo) awaitFirst(ctx context.Context, c client, path string) (Fetched, Answer, error) {
	defer d.Waiting("waiting for the first certificate and the first answer")()
	fetched, err := d.scene.fetch(ctx, c)
	if err != nil {
		return fetched, Answer{}, err
	}
	answer, err := d.scene.awaitOK(ctx, c, path)
	return fetched, answer, err
}

// line shows one of the backend's Envoy.
func (d demo) line(l line) {
	c := envoyLog(Backend)
	c.Pipe = "grep " + scene.Quote(l.Path)
	d.Story.Typed(c.String())
	d.Story.Fields(story.Pairs("event", l.Event, "path", l.Path, "status", fmt.Sprint(l.Status), "peer", l.Peer, "client", l.Client)...)
}
