package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

const (
	// eventPlain is that of a request in plain text where mutual TLS is possible.
	eventPlain = "plain_request"
	// arrivalWindow is how much of an Envoy's log says who calls now, and arrivalLimit how long that may take to be as
	// expected: a caller's old pod goes on for a while.
	arrivalWindow = 2 * time.Second
	arrivalLimit  = 30 * time.Second
)

// Arrived is who called a workload for some seconds, as its Envoy says.
type Arrived struct {
	Workload string         `json:"workload"`
	Peers    map[string]int `json:"requestsWithIdentity"`
	Plain    int            `json:"plainRequests"`
}

func (a Arrived) String() string {
	return fmt.Sprintf("%d requests in plain text, %v by identity", a.Plain, a.Peers)
}

// arrivedIn counts what an Envoy's log has between two points in time.
func arrivedIn(log, workload string, peers []string, from, to time.Time) Arrived {
	a := Arrived{Workload: workload, Peers: map[string]int{}, Plain: len(scene.LinesOf(log, eventPlain, "", from, to))}
	for _, peer := range peers {
		if n := len(scene.LinesOf(log, scene.EventRequest, peer, from, to)); n > 0 {
			a.Peers[peer] = n
		}
	}
	return a
}

// allInTLS is whether all peers call, and nobody in plain text.
func (a Arrived) allInTLS(peers []string) bool {
	return a.Plain == 0 && !slices.ContainsFunc(peers, func(p string) bool { return a.Peers[p] == 0 })
}

// plainAlone is whether every caller comes in plain text.
func (a Arrived) plainAlone([]string) bool { return a.Plain > 0 && len(a.Peers) == 0 }

// peersOf are the IDs of those who call a workload.
func peersOf(workload string) (ids []string) {
	for _, s := range streams() {
		if s.callee == workload {
			ids = append(ids, ID(s.caller))
		}
	}
	return ids
}

// Arrived waits until those who call a workload are as expected. The peers are callers.
func (s stage) Arrived(ctx context.Context, workload, expected string, peers []string, as func(Arrived, []string) bool) (Arrived, error) {
	pod, err := s.serving(ctx, workload)
	if err != nil {
		return Arrived{}, err
	}
	log := envoyLog(pod.Name)
	recent := log
	recent.Args = append(slices.Clone(log.Args), "--since=5s")
	var a Arrived
	found, err := scene.Poll(ctx, arrivalLimit, func() (bool, error) {
		r, err := s.Run(ctx, recent)
		now := time.Now()
		a = arrivedIn(r.Stdout, workload, peers, now.Add(-arrivalWindow), now)
		return as(a, peers), err
	})
	if err == nil && !found {
		err = &scene.Mismatch{What: "callers of " + workload, Expected: expected, Got: a.String(), Look: log.String()}
	}
	return a, err
}

// envoyLog is the log of a pod's Envoy.
func envoyLog(pod string) scene.Command { return inShop("logs", pod, "-c", scene.Sidecar) }

// OutsiderCommand calls the API from the pod without an identity.
func OutsiderCommand() scene.Command { return outsiderCalls(API) }

func outsiderCalls(service string) scene.Command {
	return inShop("exec", "deploy/"+Outsider, "--", "/sample", "get", "http://"+service+"/api")
}

// Reachable waits until the node leads to Services whose pods are ready, which is somewhat later than that.
func (s stage) Reachable(ctx context.Context, services ...string) error {
	for _, service := range services {
		if _, err := s.First(ctx, Namespace, "an answer of "+service, outsiderCalls(service), nil); err != nil {
			return err
		}
	}
	return nil
}

// Served calls in plain text, and has to be answered.
func (s stage) Served(ctx context.Context) (scene.Ran, error) {
	r, err := s.Try(ctx, OutsiderCommand())
	if err == nil && (r.Failed || strings.TrimSpace(r.Stdout) != "ok") {
		err = &scene.Mismatch{What: "call of " + Outsider, Expected: "ok", Got: r.Output(), Look: r.Command.String()}
	}
	return r, err
}

// Refused is a call in plain text that was refused, as both sides saw it.
type Refused struct {
	Call scene.Ran     `json:"-"`
	Log  scene.Command `json:"-"`
	Line scene.LogLine `json:"serverLog"`
}

// Refused calls in plain text, and has to be refused, for the reason that Envoy gives for HTTP where TLS has to begin.
func (s stage) Refused(ctx context.Context) (Refused, error) {
	pod, err := s.serving(ctx, API)
	if err != nil {
		return Refused{}, err
	}
	call, err := s.Try(ctx, OutsiderCommand())
	r := Refused{Call: call}
	if err != nil {
		return r, err
	}
	if !call.Failed || call.Stdout != "" {
		return r, &scene.Mismatch{What: "call of " + Outsider, Expected: "no answer", Got: call.Output(), Look: envoyLog(pod.Name).String()}
	}
	r.Log, r.Line, err = s.Refusal(ctx, envoyLog(pod.Name), "", "HTTP_REQUEST", call.Start, call.End)
	return r, err
}

// RefusedSince is the first call in plain text that is refused after a change, and how many seconds that was later.
func (s stage) RefusedSince(ctx context.Context, change time.Time) (Refused, float64, error) {
	_, err := scene.Poll(ctx, scene.LogLimit, func() (bool, error) {
		r, err := s.Try(ctx, OutsiderCommand())
		return r.Failed, err
	})
	seconds := scene.Seconds(time.Since(change))
	if err != nil {
		return Refused{}, seconds, err
	}
	r, err := s.Refused(ctx)
	return r, seconds, err
}
