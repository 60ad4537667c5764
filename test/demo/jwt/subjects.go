package jwt

import (
	"context"
	"strconv"

	"k8s.io/apimachinery/pkg/types"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// changed is a list of subjects that was changed in a running pod.
type changed struct {
	UID types.UID `json:"podUID"`
	// Seconds from the start of kubectl annotate to the first answer and to the first refusal.
	AddedSeconds   float64 `json:"secondsToFirst200"`
	RemovedSeconds float64 `json:"secondsToFirst403"`
}

// subjects changes who may call the running pod of trustworthy on port 8080.
func subjects(list string) scene.Command {
	return in("annotate", "pod", "-l", "app="+trustworthy, "--overwrite",
		"spiffe.io/inbound=[{listen: 8080, app: 8000, peers: [/app, /stranger], jwt: {subjects: ["+list+"]}}, "+
			"{listen: 8081, app: 8000, tls: none, jwt: {subjects: [/app]}}]")
}

func tellSubjects(ctx context.Context, t play.Telling) (any, error) {
	var facts changed
	before, err := t.Scene.Pod(ctx, namespace, "app="+trustworthy)
	if err != nil {
		return facts, err
	}
	t.Story.Say("Let stranger in, and take it off the list again, while its app calls over an open connection:")
	for _, step := range []struct {
		list, body string
		status     int
		seconds    *float64
	}{{"/app, /stranger", "ok", 200, &facts.AddedSeconds}, {"/app", "RBAC: access denied", 403, &facts.RemovedSeconds}} {
		if err := change(ctx, t, step.list, step.body, step.status, step.seconds); err != nil {
			return facts, err
		}
	}
	after, err := t.Scene.Pod(ctx, namespace, "app="+trustworthy)
	if err != nil {
		return facts, err
	}
	facts.UID = after.UID
	if err := scene.SamePod(before, after); err != nil {
		return facts, err
	}
	t.Story.Checked("the same pod, and nothing in it was restarted")
	return facts, nil
}

// change writes a list and measures how long it takes until stranger, which was answered otherwise, is answered so.
func change(ctx context.Context, t play.Telling, list, body string, status int, seconds *float64) error {
	until := strconv.Itoa(status)
	watch := in(append([]string{"exec", "deploy/" + stranger, "-c", clientContainer, "--"}, scene.WatchArgs(egress+"/api", until)...)...)
	w, err := t.Scene.Watch(ctx, watch)
	if err != nil {
		return err
	}
	defer w.Stop()
	before, err := w.Next(ctx, scene.Sighting{Status: until}, "an answer other than "+until)
	if err != nil {
		return err
	}
	annotated, err := t.Scene.Run(ctx, subjects(list))
	if err != nil {
		return err
	}
	answered, err := w.NextIs(ctx, before, until, body)
	if err != nil {
		return err
	}
	t.Show(annotated)
	*seconds = annotated.Until(answered.Arrived)
	t.Story.Checked("%.2f s after Enter (kubectl took %.2f s): %s %s", *seconds, annotated.Until(annotated.End), answered.Status, answered.Body)
	return nil
}
