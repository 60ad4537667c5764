package api

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// WatchCommand calls the API over one connection from the app container of a client, until a status comes.
func WatchCommand(client, until string) scene.Command {
	return inDemo(append([]string{"exec", "deploy/" + client, "-c", clientContainer, "--"}, scene.WatchArgs(URL, until)...)...)
}

// AllowCommand changes who may call the running API.
func AllowCommand(peers ...string) scene.Command {
	return inDemo("annotate", "pod", "-l", "app="+API, "--overwrite", intent.AnnotationAllowedPeers+"=/"+strings.Join(peers, ",/"))
}

// IdentityCommand shows the API's pod's UID and how often its containers were restarted.
func IdentityCommand() scene.Command {
	return inDemo("get", "pod", "-l", "app="+API, "-o", "custom-columns=POD:.metadata.name,UID:.metadata.uid,"+
		"ENVOY-RESTARTS:.status.initContainerStatuses[0].restartCount,APP-RESTARTS:.status.containerStatuses[0].restartCount")
}

// Admitted is a peer that was put on the list of the running API.
type Admitted struct {
	Before, After scene.Ran `json:"-"`
	Annotate      scene.Ran `json:"-"`
	Call          scene.Ran `json:"-"`
	// UID and Restarts of the API's pod, the same before and after.
	UID      types.UID `json:"podUID"`
	Restarts int32     `json:"restarts"`
	// Seconds from the start of kubectl annotate to the client's first 200, and how many of them kubectl itself took.
	Seconds        float64 `json:"secondsToFirst200"`
	KubectlSeconds float64 `json:"kubectlSeconds"`
}

// Admit puts the invalid client on the list, and sees it answered by the same pod, not restarted.
func (s stage) Admit(ctx context.Context) (Admitted, error) {
	var a Admitted
	before, err := s.apiPod(ctx)
	if err != nil {
		return a, err
	}
	if a.Before, err = s.Run(ctx, IdentityCommand()); err != nil {
		return a, err
	}
	w, err := s.Watch(ctx, WatchCommand(Invalid, "200"))
	if err != nil {
		return a, err
	}
	defer w.Stop()
	refused, err := w.NextIs(ctx, scene.Sighting{}, "503", refusedBody)
	if err != nil {
		return a, err
	}
	if a.Annotate, err = s.Run(ctx, AllowCommand(Valid, Invalid)); err != nil {
		return a, err
	}
	// Envoy reads whom TLS lets in and whose requests are allowed from two files, one after the other.
	answered, err := w.NextIs(ctx, refused, "200", "ok", "403")
	if err != nil {
		return a, err
	}
	a.Seconds, a.KubectlSeconds = a.Annotate.Until(answered.Arrived), a.Annotate.Until(a.Annotate.End)
	if a.Call, err = s.Allowed(ctx, Invalid); err != nil {
		return a, err
	}
	if a.After, err = s.Run(ctx, IdentityCommand()); err != nil {
		return a, err
	}
	after, err := s.apiPod(ctx)
	if err != nil {
		return a, err
	}
	a.UID, a.Restarts = after.UID, scene.Restarts(after)
	return a, scene.SamePod(before, after)
}

// Removed is a peer that was taken off the list of the running API while it had a connection open.
type Removed struct {
	Watch    scene.Command `json:"-"`
	Log      scene.Command `json:"-"`
	Annotate scene.Ran     `json:"-"`
	// Forbidden is the answer on the open connection, and Refused what came when that was gone.
	Forbidden scene.Sighting `json:"onOpenConnection"`
	Refused   scene.Sighting `json:"onNewConnection"`
	// Remote is the address of the connection that was answered with 200 and then with 403.
	Remote string `json:"openConnection"`
	// Seconds from the start of kubectl annotate to its end, to Forbidden, and to Refused.
	KubectlSeconds   float64       `json:"kubectlSeconds"`
	ForbiddenSeconds float64       `json:"secondsToForbidden"`
	RefusedSeconds   float64       `json:"secondsToRefusedHandshake"`
	Line             scene.LogLine `json:"serverLog"`
	// ValidCalls is how many calls the valid client's app has made since its first ok. Every one got ok.
	ValidCalls int `json:"validClientCalls"`

	before corev1.Pod
	w      *scene.Watch
}

// removals bounds how often the invalid client is taken off the list until its open connection meets the new rules.
const removals = 5

// Remove takes the invalid client off the list while it calls, and returns with its first refused answer. Close the
// result.
//
// The new rules come some ms after the new listener. A request between the two is answered, as the last of its
// connection: then there is no 403 to show. If they come before it, the 403 may be the first answer of a connection, of
// which each lives for a second or two here. In both cases everything is done again.
func (s stage) Remove(ctx context.Context) (*Removed, error) {
	for attempt := 1; ; attempt++ {
		r, err := s.remove(ctx)
		var notSeen *scene.Mismatch
		again := r.Forbidden.Status == "503" || errors.As(err, &notSeen) && r.Remote == "" && r.Forbidden.Status == "403"
		if !again || attempt == removals {
			return r, err
		}
		r.Close()
		if _, err := s.Admit(ctx); err != nil {
			return r, err
		}
	}
}

func (s stage) remove(ctx context.Context) (*Removed, error) {
	r := &Removed{Watch: WatchCommand(Invalid, "503")}
	var err error
	if r.before, err = s.apiPod(ctx); err != nil {
		return r, err
	}
	if r.w, err = s.Watch(ctx, WatchCommand(Invalid, "503")); err != nil {
		return r, err
	}
	answered, err := r.w.NextIs(ctx, scene.Sighting{}, "200", "ok")
	if err != nil {
		return r, err
	}
	if r.Annotate, err = s.Run(ctx, AllowCommand(Valid)); err != nil {
		return r, err
	}
	r.KubectlSeconds = r.Annotate.Until(r.Annotate.End)
	const denied = "RBAC: access denied"
	if r.Forbidden, err = r.w.Next(ctx, answered, "403 "+denied); err != nil || r.Forbidden.Status == "503" {
		return r, err
	}
	if r.Forbidden.Status != "403" || !strings.HasPrefix(r.Forbidden.Body, denied) {
		return r, &scene.Mismatch{What: r.Watch.String(), Expected: "403 " + denied, Got: r.Forbidden.Status + " " + r.Forbidden.Body}
	}
	r.ForbiddenSeconds = r.Annotate.Until(r.Forbidden.Arrived)
	r.Remote, err = s.openConnection(ctx, ID(Invalid), r.Annotate.Start)
	return r, err
}

// Close ends what Remove began.
func (r *Removed) Close() {
	if r.w != nil {
		r.w.Stop()
	}
}

// HandshakeRefused waits until the removed peer's connection is gone, and sees its next one refused, and the valid
// client lose nothing.
func (s stage) HandshakeRefused(ctx context.Context, r *Removed) error {
	var err error
	if r.Refused, err = r.w.NextIs(ctx, r.Forbidden, "503", refusedBody); err != nil {
		return err
	}
	r.RefusedSeconds = r.Annotate.Until(r.Refused.Arrived)
	if r.Log, r.Line, err = s.Refusal(ctx, envoyLog(), ID(Invalid), notAllowed, r.Refused.Arrived.Add(-scene.WatchEvery), r.Refused.Arrived); err != nil {
		return err
	}
	log, err := s.Run(ctx, clientLog(Valid))
	if err != nil {
		return err
	}
	count, failed := sinceFirstOK(parseCalls(log.Stdout))
	if count == 0 || len(failed) > 0 {
		got := fmt.Sprintf("%d calls", count)
		if len(failed) > 0 {
			got = fmt.Sprintf("%d of %d calls failed, first: %s", len(failed), count, failed[0].Line)
		}
		return &scene.Mismatch{What: "log of " + Valid + " since its first ok", Expected: "ok for every call", Got: got, Look: log.Command.String()}
	}
	r.ValidCalls = count
	after, err := s.apiPod(ctx)
	if err != nil {
		return err
	}
	return scene.SamePod(r.before, after)
}
