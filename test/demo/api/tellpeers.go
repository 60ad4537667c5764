package api

import (
	"context"
)

func tellAdmit(ctx context.Context, d demo) (any, error) {
	d.Story.Say("Let the invalid client in, on the running pod. This is the pod, and this the one command:")
	done := d.Waiting("waiting for the new list to be in force")
	a, err := d.scene.Admit(ctx)
	done()
	if err != nil {
		return a, err
	}
	d.Show(a.Before)
	d.Show(a.Annotate)
	d.Story.Checked("the invalid client's first 200 came %.1f s after Enter, of which kubectl took %.1f s", a.Seconds, a.KubectlSeconds)
	d.Show(a.Call)
	d.Show(a.After)
	d.Story.Checked("the same pod, and nothing in it was restarted")
	d.Story.Say("The webhook saw the change and wrote the new configuration into the pod's annotations, the kubelet carried it into the " +
		"volume, Envoy watches the files. There is no other control plane. (A changed Deployment would roll out new pods; an " +
		"annotation of the pod lasts as long as the pod.)")
	return a, nil
}

func tellRemove(ctx context.Context, d demo) (any, error) {
	d.Story.Say("Now the invalid client keeps a connection open and calls over it every 50 ms, in another terminal, so to speak:")
	d.Story.Typed(WatchCommand(Invalid, "503").String())
	d.Story.Say("Meanwhile its name is taken off the list again:")
	done := d.Waiting("waiting for the first refused answer")
	r, err := d.scene.Remove(ctx)
	done()
	defer r.Close()
	if err != nil {
		return r, err
	}
	d.Show(r.Annotate)
	d.Story.Checked("%.2f s after Enter (kubectl took %.2f s): %s %s", r.ForbiddenSeconds, r.KubectlSeconds, r.Forbidden.Status, r.Forbidden.Body)
	d.Story.Checked("by the log of the API's Envoy that was the open connection: from %s came a 200 before", r.Remote)
	d.Story.Say("From now on a new connection is refused in the handshake, and the open one carries nothing but that until it is " +
		"closed, at the latest after 15 s:")
	done = d.Waiting("waiting for the open connection to end (at most 15 s)")
	err = d.scene.HandshakeRefused(ctx, r)
	done()
	if err != nil {
		return r, err
	}
	d.Story.Checked("%.1f s after Enter, on a new connection: %s %s", r.RefusedSeconds, r.Refused.Status, r.Refused.Body)
	d.refusal(r.Log, r.Line)
	d.Story.Checked("and the valid client lost nothing by all this: %d calls since its first ok, every one ok", r.ValidCalls)
	return r, nil
}
