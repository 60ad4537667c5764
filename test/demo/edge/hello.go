package edge

import (
	"context"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// Greeting is what the app answers.
type Greeting struct {
	Message  string `json:"message"`
	Version  string `json:"version"`
	Hostname string `json:"hostname"`
}

// parseGreeting reads the three lines of an answer.
func parseGreeting(text string) (Greeting, error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) == 3 {
		version, isVersion := strings.CutPrefix(lines[1], "Version: ")
		hostname, isHostname := strings.CutPrefix(lines[2], "Hostname: ")
		if isVersion && isHostname && lines[0] == "Hello, world!" {
			return Greeting{Message: lines[0], Version: version, Hostname: hostname}, nil
		}
	}
	return Greeting{}, &scene.Mismatch{What: "the app's answer", Expected: "Hello, world! with Version and Hostname", Got: text}
}

// Hello is the app's first answer.
type Hello struct {
	Applied scene.Ran `json:"-"`
	Pods    scene.Ran `json:"-"`
	Call    scene.Ran `json:"-"`
	// Seconds from the start of apply to it.
	Seconds  float64  `json:"secondsToFirstAnswer"`
	Greeting Greeting `json:"greeting"`
	// Forwarded is what came from outside the cluster.
	Forwarded Greeting      `json:"forwarded"`
	Log       scene.Command `json:"-"`
	// Line is what the app's Envoy wrote about the call.
	Line scene.LogLine `json:"serverLog"`
}

// CallCommand calls the edge as the visitor.
func CallCommand() scene.Command {
	return visitor("/sample", "get", "http://"+Edge+":"+Port+"/")
}

// ForwardCommand makes the edge reachable from outside the cluster.
func ForwardCommand() scene.Command { return inDemo("port-forward", "service/"+Edge, Port) }

// Hello applies the workloads and waits for the first answer.
func (s stage) Hello(ctx context.Context) (Hello, error) {
	var (
		h   Hello
		err error
	)
	if h.Applied, err = s.Apply(ctx, Workloads); err != nil {
		return h, err
	}
	if h.Call, err = s.First(ctx, Namespace, "the first answer of "+Edge, CallCommand(), nil); err != nil {
		return h, err
	}
	h.Seconds = h.Applied.Until(h.Call.End)
	if h.Greeting, err = parseGreeting(h.Call.Stdout); err != nil {
		return h, err
	}
	if h.Pods, err = s.Run(ctx, inDemo("get", "pods", "-L", "spire-discover")); err != nil {
		return h, err
	}
	if h.Log, h.Line, err = s.request(ctx, h.Call); err != nil {
		return h, err
	}
	answers, err := s.Scene.Forwarded(ctx, Namespace, "service/"+Edge, Port, "/")
	if err != nil {
		return h, err
	}
	if h.Forwarded, err = parseGreeting(string(answers[0])); err != nil {
		return h, err
	}
	app, err := s.Pod(ctx, Namespace, "app="+App)
	if err == nil && (h.Greeting.Hostname != app.Name || h.Forwarded.Hostname != app.Name) {
		err = &scene.Mismatch{What: "who answered", Expected: app.Name, Got: h.Greeting.Hostname + " and " + h.Forwarded.Hostname}
	}
	return h, err
}

// request waits for the line of the app's Envoy about a call that came by the edge.
func (s stage) request(ctx context.Context, call scene.Ran) (scene.Command, scene.LogLine, error) {
	log := envoyLog(App)
	var lines []scene.LogLine
	found, err := scene.Poll(ctx, scene.LogLimit, func() (bool, error) {
		r, err := s.Run(ctx, log)
		lines = scene.LinesOf(r.Stdout, scene.EventRequest, ID(Edge), call.Start.Add(-scene.ClockSkew), call.End.Add(scene.ClockSkew))
		return len(lines) > 0, err
	})
	if err == nil && !found {
		err = &scene.Mismatch{What: "log of the Envoy of " + App, Expected: "a request of " + ID(Edge), Look: log.String()}
	}
	shown := log
	shown.Pipe = "grep " + scene.Quote(`"`+scene.EventRequest+`"`) + " | tail -n 1"
	if err != nil {
		return shown, scene.LogLine{}, err
	}
	return shown, lines[len(lines)-1], nil
}
