package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/spire-injector/spire-injector/test/standalone"
)

// startsFigures are how long pods wait for their SVIDs.
type startsFigures struct {
	Server standalone.Object `json:"server"` // SPIRE's settings
	Agent  standalone.Object `json:"agent"`
	Starts []startFigures    `json:"starts"`
	// AtRest is processor time in a second in which nothing happens, by scope: of SPIRE's server, and of an agent.
	AtRest map[string]map[string]seconds `json:"atRest"`
}

// startFigures are of the starts of pods whose identity is known in one way, with rows of one scope. Times are from the
// call by which the pod is bound to its node.
type startFigures struct {
	By       string `json:"by"`
	Identity string `json:"identity"`
	// Row is until SPIRE has the row, SVID until the node's agent hands it out.
	Row  spread `json:"row"`
	SVID spread `json:"svid"`
}

// start is that of a pod of an identity that the pods before have made known, if any.
type start struct {
	identity string
	node     int
}

// starts come in this order, for each identity.
func starts() []start {
	return []start{{"new", 0}, {"known on another node", 1}, {"known on this node", 0}}
}

// tried are the times of one way to start, each in the order in which they were measured.
type tried struct{ row, svid []seconds }

func measureStarts(ctx context.Context, s settings, _ *cluster, r *report) error {
	spire, err := settingsOfManifests()
	if s.interval > 0 {
		spire, err = everyInterval(s.interval), nil
	}
	if err != nil {
		return err
	}
	f := startsFigures{Server: spire.server, Agent: spire.agent, AtRest: map[string]map[string]seconds{}}
	scopes := slices.DeleteFunc(contenders(), func(c contender) bool { return c.row == nil })
	all := map[string]map[string]*tried{}
	err = withBareCluster(ctx, s.progress, func(b *bareCluster) error {
		for round := range s.rounds {
			for _, c := range scopes {
				b.tell("round %d of %d, by %s", round+1, s.rounds, c.name)
				if all[c.name] == nil {
					all[c.name] = map[string]*tried{}
				}
				rest, err := b.measureStarts(ctx, c, spire, s.times, all[c.name])
				if err != nil {
					return fmt.Errorf("by %s: %w", c.name, err)
				}
				f.AtRest[c.name] = rest
			}
		}
		return nil
	})
	for _, c := range scopes {
		for _, of := range starts() {
			if t := all[c.name][of.identity]; t != nil {
				f.Starts = append(f.Starts, startFigures{
					By: c.name, Identity: of.identity, Row: spreadOf(t.row), SVID: spreadOf(t.svid),
				})
			}
		}
	}
	r.Starts = &f
	return err
}

// measureStarts has pods start so many times in each way, in a fresh SPIRE.
func (b *bareCluster) measureStarts(
	ctx context.Context, c contender, spire spireSettings, times int, into map[string]*tried,
) (rest map[string]seconds, err error) {
	namespace, err := b.client.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-starts-"}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	defer func() {
		tidying, cancel := context.WithTimeout(context.WithoutCancel(ctx), longTidyTimeout)
		defer cancel()
		err = errors.Join(err, b.removeBound(tidying, namespace.Name))
	}()
	return rest, b.withSPIRE(ctx, spire, func(s *bareSPIRE) error {
		return c.run(ctx, b, s, namespace.Name, func(*standalone.Process) error {
			if err := b.warmUp(ctx, s, namespace.Name); err != nil {
				return fmt.Errorf("waiting for it to be at work: %w", err)
			}
			if err := s.becomeDelegate(ctx); err != nil {
				return err
			}
			for i := range times {
				for _, of := range starts() {
					row, svid, err := b.start(ctx, c, s, podOnNode(namespace.Name, accountName(i), of.node), of.node)
					if err != nil {
						return fmt.Errorf("identity %d, %s: %w", i+1, of.identity, err)
					}
					if into[of.identity] == nil {
						into[of.identity] = &tried{}
					}
					into[of.identity].row = append(into[of.identity].row, row)
					into[of.identity].svid = append(into[of.identity].svid, svid)
				}
			}
			var err error
			rest, err = s.atRest(ctx)
			return err
		})
	})
}

// start creates a pod and binds it to its node, as a scheduler without anything else to do would.
func (b *bareCluster) start(
	ctx context.Context, c contender, s *bareSPIRE, pod *corev1.Pod, node int,
) (row, svid seconds, err error) {
	// All agents have what they are to have from the start before, and the next one begins at any moment of SPIRE's
	// intervals.
	slowest := s.settings.slowest
	time.Sleep(2*slowest + rand.N(slowest) + 100*time.Millisecond) //nolint:gosec // nobody guesses it
	pod.Spec.NodeName = ""
	var refusal error
	err = wait.PollUntilContextTimeout(ctx, poll, startTimeout, true, func(ctx context.Context) (bool, error) {
		var created *corev1.Pod
		created, refusal = b.client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
		if refusal == nil {
			pod = created
		}
		return refusal == nil, nil
	})
	if err != nil {
		return 0, 0, errors.Join(err, refusal)
	}
	uid, err := b.uidOf(ctx, node)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	err = b.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: nodeName(node)},
	}, metav1.CreateOptions{})
	if err != nil {
		return 0, 0, err
	}
	placed := make(chan error, 1)
	go func() {
		err := s.awaitEntry(ctx, c.row(pod, uid))
		row = seconds(time.Since(began))
		placed <- err
	}()
	err = s.awaitSVID(ctx, node, pod)
	svid = seconds(time.Since(began))
	return row, svid, errors.Join(err, <-placed)
}

func (b *bareCluster) uidOf(ctx context.Context, node int) (types.UID, error) {
	found, err := b.client.CoreV1().Nodes().Get(ctx, nodeName(node), metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return found.UID, nil
}

// awaitEntry returns when SPIRE has an entry.
func (s *bareSPIRE) awaitEntry(ctx context.Context, id string) error {
	const often = 2 * time.Millisecond
	var last error
	err := wait.PollUntilContextTimeout(ctx, often, startTimeout, true, func(ctx context.Context) (bool, error) {
		_, last = entryv1.NewEntryClient(s.API).GetEntry(ctx, &entryv1.GetEntryRequest{Id: id})
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for SPIRE to have entry %s: %w: %w", id, err, last)
	}
	return nil
}

// atRest is the processor time in a second in which nothing happens.
func (s *bareSPIRE) atRest(ctx context.Context) (map[string]seconds, error) {
	processes := map[string]*standalone.Process{"server": s.Process, "agent": s.agents[0].Process}
	look := func() (map[string]time.Duration, error) {
		used := map[string]time.Duration{}
		for name, p := range processes {
			var err error
			if used[name], err = processorTime([]string{filepath.Join("/proc", strconv.Itoa(p.PID()))}); err != nil {
				return nil, err
			}
		}
		return used, nil
	}
	before, err := look()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(restTime):
	}
	after, err := look()
	if err != nil {
		return nil, err
	}
	rest := map[string]seconds{}
	for name := range processes {
		rest[name] = seconds(float64(after[name]-before[name]) / time.Since(began).Seconds())
	}
	return rest, nil
}

func printStarts(t io.Writer, f startsFigures) {
	title(t, "From a pod's binding until SPIRE has the row, and until the node's agent hands out the SVID")
	for _, block := range []standalone.Object{f.Server, f.Agent} {
		for _, name := range slices.Sorted(maps.Keys(block)) {
			line(t, fmt.Sprintf("%s = %v", name, block[name]))
		}
	}
	row(t, "identity", "by", "times", "row: median s", "SVID: median s", "max s")
	for _, of := range starts() {
		for _, s := range f.Starts {
			if s.Identity == of.identity {
				row(t, s.Identity, s.By, len(s.SVID.All), fmt.Sprintf("%.3f", inSeconds(s.Row.Median)),
					fmt.Sprintf("%.3f", inSeconds(s.SVID.Median)), fmt.Sprintf("%.3f", inSeconds(s.SVID.Max)))
			}
		}
	}
	title(t, "Processor time of a second at rest, ms")
	row(t, "by", "SPIRE's server", "an agent")
	for _, by := range slices.Sorted(maps.Keys(f.AtRest)) {
		row(t, by, milliseconds(f.AtRest[by]["server"]), milliseconds(f.AtRest[by]["agent"]))
	}
}
