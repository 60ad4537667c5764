package migrate

import (
	"context"

	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/demo/story"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

func tellPlain(ctx context.Context, d demo) (any, error) {
	d.Story.Say("%s and %s listen on all addresses at 8080, and each has a Service from 80 to 8080. %s calls http://%s:80; %s calls both. "+
		"Each of the three streams is 20 calls a second. Nobody has heard of Envoy.", API, Web, Web, API, Batch)
	text, err := d.scene.Read(Workloads + "/" + API + ".yaml")
	if err != nil {
		return nil, err
	}
	d.Story.Came(text)
	done := d.Waiting("waiting for the pods")
	applied, err := d.scene.Apply(ctx, Workloads)
	if err == nil {
		err = d.scene.RolledOut(ctx, Namespace, API, Web, Batch, Outsider)
	}
	if err == nil {
		err = d.scene.Reachable(ctx, API, Web)
	}
	done()
	if err != nil {
		return nil, err
	}
	d.Show(applied)
	if *d.before, err = d.scene.specs(ctx); err != nil {
		return nil, err
	}
	d.traffic.start(ctx, d.scene)
	d.Story.Say("From now on every call is counted, until the end of the story. A pod that is no part of it calls, too:")
	call, err := d.scene.Served(ctx)
	d.Show(call)
	if err != nil {
		return nil, err
	}
	calls, err := d.passed(ctx)
	return struct{ Calls }{calls}, err
}

func tellCallees(ctx context.Context, d demo) (any, error) {
	d.Story.Say("First those who are called. Their ports are captured, so that app and Service stay as they are, and take mutual TLS and plain " +
		"text. Web is called and calls; to go on calling http://api:80 it names that as an upstream:")
	var changes []Change
	for _, deployment := range []string{API, Web} {
		change, err := d.inject(ctx, deployment)
		changes = append(changes, change)
		if err != nil {
			return changes, err
		}
	}
	d.Story.Say("Batch still calls in plain text, and each Envoy logs who does (%s):", eventPlain)
	arrived, err := d.scene.Arrived(ctx, Web, "requests in plain text alone", peersOf(Web), Arrived.plainAlone)
	if err != nil {
		return changes, err
	}
	d.Story.Checked("%s was called %d times in plain text within %s", Web, arrived.Plain, arrivalWindow)
	call, err := d.scene.Served(ctx)
	d.Show(call)
	if err != nil {
		return changes, err
	}
	calls, err := d.passed(ctx)
	return facts{Changes: changes, Calls: calls, Arrived: []Arrived{arrived}}, err
}

func tellCallers(ctx context.Context, d demo) (any, error) {
	d.Story.Say("Then those who call. The app's URLs stay; the names lead to its own Envoy:")
	f := facts{}
	change, err := d.inject(ctx, Batch)
	f.Changes = append(f.Changes, change)
	if err != nil {
		return f, err
	}
	for _, workload := range []string{API, Web} {
		peers := peersOf(workload)
		done := d.Waiting("waiting until nobody calls " + workload + " in plain text")
		arrived, err := d.scene.Arrived(ctx, workload, "requests of all peers, and none in plain text", peers, Arrived.allInTLS)
		done()
		f.Arrived = append(f.Arrived, arrived)
		if err != nil {
			return f, err
		}
		for _, peer := range peers {
			d.Story.Checked("%s was called %d times by %s within %s, and never in plain text", workload, arrived.Peers[peer], peer, arrivalWindow)
		}
	}
	f.Calls, err = d.passed(ctx)
	return f, err
}

func tellEnforced(ctx context.Context, d demo) (any, error) {
	d.Story.Say("Nobody needs plain text any more. Without the annotation that permits it the port takes mutual TLS alone, also on running pods:")
	enforce, err := d.scene.Run(ctx, EnforceCommand())
	if err != nil {
		return nil, err
	}
	d.Show(enforce)
	f := facts{}
	refused, seconds, err := d.scene.RefusedSince(ctx, enforce.Start)
	d.Show(refused.Call)
	if err != nil {
		return f, err
	}
	d.Story.Typed(refused.Log.String())
	d.Story.Fields(story.Known("time", refused.Line.Time.Format("15:04:05.000"), "event", refused.Line.Event, "remote", refused.Line.Remote,
		"self", refused.Line.Self, "reason", refused.Line.Reason)...)
	d.Story.Checked("plain text refused %.1f s after that; the same pods go on", seconds)
	f.Refused = &refused
	if f.Calls, err = d.passed(ctx); err != nil {
		return f, err
	}
	d.Story.Say("The templates are told the same, for the pods that come after them:")
	for _, deployment := range []string{API, Web} {
		change, err := d.change(ctx, deployment, TemplateCommand(deployment, "annotations", intent.AnnotationInbound))
		f.Changes = append(f.Changes, change)
		if err != nil {
			return f, err
		}
	}
	calls, err := d.passed(ctx)
	f.Calls.Made += calls.Made
	if err != nil {
		return f, err
	}
	if refused, err = d.scene.Refused(ctx); err != nil {
		return f, err
	}
	now, err := d.scene.specs(ctx)
	if err == nil {
		err = d.before.same(now)
	}
	if err == nil {
		d.Story.Checked("the new pods refuse plain text as well; of Services and Deployments nothing but labels and annotations has changed")
	}
	return f, err
}

func tellBack(ctx context.Context, d demo) (any, error) {
	d.Story.Say("The same steps in the opposite order. The running pods permit plain text (their templates are about to lose the label anyway):")
	permit, err := d.scene.Run(ctx, PermitCommand())
	if err != nil {
		return nil, err
	}
	d.Show(permit)
	f := facts{}
	if _, err := d.scene.First(ctx, Namespace, "an answer to plain text", OutsiderCommand(), nil); err != nil {
		return f, err
	}
	d.Story.Say("Callers lose the label before those whom they call, each when the old pods of the one before have ended: they call until then.")
	for _, deployment := range []string{Batch, Web, API} {
		change, err := d.change(ctx, deployment, TemplateCommand(deployment, "labels", intent.LabelInject))
		f.Changes = append(f.Changes, change)
		if err != nil {
			return f, err
		}
		done := d.Waiting("waiting until the old pod of " + deployment + " has ended")
		err = d.scene.Gone(ctx, deployment)
		done()
		if err != nil {
			return f, err
		}
		pod, err := d.scene.serving(ctx, deployment)
		if err == nil && injected(pod) {
			err = &scene.Mismatch{What: "pod " + pod.Name, Expected: "no container " + scene.Sidecar, Got: "one"}
		}
		if err != nil {
			return f, err
		}
	}
	call, err := d.scene.Served(ctx)
	d.Show(call)
	if err != nil {
		return f, err
	}
	if f.Calls, err = d.passed(ctx); err != nil {
		return f, err
	}
	d.traffic.end()
	since, all, err := d.traffic.take()
	if err != nil {
		return f, err
	}
	f.Calls.Made += since.Made
	f.All = &all
	d.Story.Checked("%d calls from plain text to mutual TLS and back, %d failed", all.Made, all.Failed)
	d.Story.Say("To remove the demo, SPIRE and the injector:")
	d.Story.Typed("make demo-migrate-down")
	return f, nil
}

// facts of a step.
type facts struct {
	Changes []Change  `json:"changes,omitempty"`
	Arrived []Arrived `json:"arrived,omitempty"`
	Refused *Refused  `json:"refused,omitempty"`
	Calls   Calls     `json:"calls"`
	All     *Calls    `json:"allCalls,omitempty"`
}

// inject shows a Deployment's patch, and applies it.
func (d demo) inject(ctx context.Context, deployment string) (Change, error) {
	text, err := d.scene.Read(patchFile(deployment))
	if err != nil {
		return Change{}, err
	}
	d.Story.Say("%s:", patchFile(deployment))
	d.Story.Came(text)
	return d.told(deployment, func() (Change, error) { return d.scene.Inject(ctx, deployment) })
}

// change changes a Deployment's template.
func (d demo) change(ctx context.Context, deployment string, c scene.Command) (Change, error) {
	return d.told(deployment, func() (Change, error) { return d.scene.Change(ctx, deployment, c) })
}

func (d demo) told(deployment string, change func() (Change, error)) (Change, error) {
	done := d.Waiting("waiting for the new pod of " + deployment)
	c, err := change()
	done()
	d.Show(c.Ran)
	if err == nil {
		d.Story.Checked("a new pod of %s serves after %.1f s", deployment, c.Seconds)
	}
	return c, err
}

// passed waits for calls of all streams, and tells how many there were since the last time.
func (d demo) passed(ctx context.Context) (Calls, error) {
	calls, err := d.traffic.passed(ctx)
	if err == nil {
		d.Story.Checked("%d calls meanwhile, %d failed", calls.Made, calls.Failed)
	}
	return calls, err
}
