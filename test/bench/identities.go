package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/spire-injector/spire-injector/test/standalone"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// identityFigures are what pods cost SPIRE and its agents that one program registers, one pod of each node before them
// left out.
type identityFigures struct {
	By       string `json:"by"`
	Pods     int    `json:"pods"`
	Accounts int    `json:"accounts"` // service accounts, so identities
	Entries  int    `json:"entries"`
	// Registered is from the answer to the last pod's creation until SPIRE has all entries.
	Registered seconds `json:"registered"`
	// Calls are those that change or list entries, from the first pod's creation until then.
	Calls calls `json:"calls"`
	// Signed is how many X.509-SVIDs were signed for each agent when all have theirs, and Held how many each has then.
	Signed []int `json:"signed"`
	Held   []int `json:"held"`
	// CPU is processor time until then: of the program, of SPIRE's server, and of all agents.
	CPU map[string]seconds `json:"cpu"`
}

// creationTries is far more than a pod needs, also on a machine so busy that admissions take longer than they may.
const creationTries = 30

// measureIdentities goes on after a contender that failed, because the others take minutes.
func measureIdentities(ctx context.Context, s settings, _ *cluster, r *report) error {
	return withBareCluster(ctx, s.progress, func(b *bareCluster) error {
		var errs []error
		for _, of := range []burst{{pods: s.pods, accounts: 1}, {pods: s.pods, accounts: s.pods}} {
			for _, c := range contenders() {
				b.tell("%d pods of %d service accounts on %d nodes, by %s", of.pods, of.accounts, bareNodes, c.name)
				f, err := b.measureIdentities(ctx, c, of, s.atOnce)
				if ctx.Err() != nil {
					return errors.Join(append(errs, err)...)
				}
				if err != nil {
					errs = append(errs, fmt.Errorf("%d pods of %d service accounts, by %s: %w", of.pods, of.accounts, c.name, err))
					continue
				}
				r.Identities = append(r.Identities, f)
			}
		}
		return errors.Join(errs...)
	})
}

// measureIdentities has a contender register pods in a fresh SPIRE.
func (b *bareCluster) measureIdentities(ctx context.Context, c contender, of burst, atOnce int) (f identityFigures, err error) {
	f = identityFigures{By: c.name, Pods: of.pods, Accounts: of.accounts}
	namespace, err := b.client.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-identities-"}}, metav1.CreateOptions{})
	if err != nil {
		return f, err
	}
	defer func() {
		tidying, cancel := context.WithTimeout(context.WithoutCancel(ctx), longTidyTimeout)
		defer cancel()
		err = errors.Join(err, b.removeBound(tidying, namespace.Name))
	}()
	return f, b.withSPIRE(ctx, spireSettings{}, func(s *bareSPIRE) error {
		return c.run(ctx, b, s, namespace.Name, func(process *standalone.Process) error {
			if err := b.warmUp(ctx, s, namespace.Name); err != nil {
				return fmt.Errorf("waiting for it to be at work: %w", err)
			}
			return b.count(ctx, c, s, process, namespace.Name, atOnce, &f)
		})
	})
}

// warmUp returns when a pod of each node is registered, and the node's agent has its SVID.
func (b *bareCluster) warmUp(ctx context.Context, s *bareSPIRE, namespace string) error {
	for node := range bareNodes {
		var refusal error
		err := wait.PollUntilContextTimeout(ctx, poll, startTimeout, true, func(ctx context.Context) (bool, error) {
			_, refusal = b.client.CoreV1().Pods(namespace).Create(ctx, podOnNode(namespace, "warm-up", node), metav1.CreateOptions{})
			return refusal == nil, nil
		})
		if err != nil {
			return errors.Join(err, refusal)
		}
	}
	err := wait.PollUntilContextTimeout(ctx, poll, startTimeout, true, func(ctx context.Context) (bool, error) {
		held, err := s.held(ctx)
		return err == nil && slices.Min(held) > 0, err
	})
	if err != nil {
		return err
	}
	return s.awaitRest(ctx)
}

// podOnNode is the same pod for all contenders.
func podOnNode(namespace, account string, node int) *corev1.Pod {
	pod := boundPod(namespace, account, registrant{label: intent.LabelInject, value: intent.InjectEnabled})
	pod.Spec.NodeName = nodeName(node)
	delete(pod.Annotations, intent.AnnotationX509SVIDTTL) // so short that SVIDs would be signed again meanwhile
	return pod
}

// podsOf are those that a burst takes in turn: its service accounts and the nodes take turns as well.
func (of burst) podsOf(namespace string) []*corev1.Pod {
	var pods []*corev1.Pod
	for i := range min(of.pods, max(of.accounts, bareNodes)) {
		pods = append(pods, podOnNode(namespace, accountName(i%of.accounts), i%bareNodes))
	}
	return pods
}

// count creates the pods of a burst, and fills in what follows.
func (b *bareCluster) count(
	ctx context.Context, c contender, s *bareSPIRE, process *standalone.Process, namespace string, atOnce int, f *identityFigures,
) error {
	pods := burst{pods: f.Pods, accounts: f.Accounts}.podsOf(namespace)
	before, err := s.look(ctx, process)
	if err != nil {
		return err
	}
	created, err := b.createPods(ctx, pods, f.Pods, atOnce, creationTries)
	if err != nil {
		return err
	}
	last := time.Now()
	b.tell("… %.0f pods created per second", created.PerSecond)
	if err := s.awaitEntries(ctx, before.entries+c.entries(f.Pods, f.Accounts, len(pods))); err != nil {
		return err
	}
	f.Registered = seconds(time.Since(last))
	registered, err := s.counts(ctx)
	if err != nil {
		return err
	}
	f.Calls = callsOf([]sums{registered}).since(before.calls)
	b.tell("… registered after %.2f s", inSeconds(f.Registered))
	if err := s.awaitRest(ctx); err != nil {
		return err
	}
	after, err := s.look(ctx, process)
	if err != nil {
		return err
	}
	f.Entries, f.CPU = after.entries-before.entries, map[string]seconds{}
	for i := range s.agents {
		f.Signed = append(f.Signed, after.signed[i]-before.signed[i])
		f.Held = append(f.Held, after.held[i]-before.held[i])
	}
	for name, used := range after.cpu {
		f.CPU[name] = seconds(used - before.cpu[name])
	}
	b.tell("… %v SVIDs signed for each agent, which holds %v more than before", f.Signed, f.Held)
	return nil
}

// sight is how far everything has come.
type sight struct {
	entries      int
	signed, held []int // by agent
	calls        calls
	cpu          map[string]time.Duration
}

func (s *bareSPIRE) look(ctx context.Context, process *standalone.Process) (sight, error) {
	counted, err := s.counts(ctx)
	if err != nil {
		return sight{}, err
	}
	now := sight{signed: s.signed(), calls: callsOf([]sums{counted}), cpu: map[string]time.Duration{}}
	if now.entries, err = s.entries(ctx); err != nil {
		return sight{}, err
	}
	if now.held, err = s.held(ctx); err != nil {
		return sight{}, err
	}
	for i, held := range now.held {
		if now.signed[i] < held {
			return sight{}, fmt.Errorf("the agent of %s holds %d SVIDs, expected as many lines in its log, got %d", nodeName(i), held, now.signed[i])
		}
	}
	agents := make([]*standalone.Process, len(s.agents))
	for i, a := range s.agents {
		agents[i] = a.Process
	}
	for name, of := range map[string][]*standalone.Process{"program": {process}, "server": {s.Process}, "agents": agents} {
		var folders []string
		for _, p := range of {
			folders = append(folders, filepath.Join("/proc", strconv.Itoa(p.PID())))
		}
		if now.cpu[name], err = processorTime(folders); err != nil {
			return sight{}, err
		}
	}
	return now, nil
}

func printIdentities(t io.Writer, figures []identityFigures) {
	title(t, fmt.Sprintf("What pods on %d nodes cost SPIRE and its agents; processor time until agents have all", bareNodes))
	row(t, "pods", "accounts", "by", "entries", "calls", "registered s", "signed for each agent", "held", "CPU s", "server's", "agents'")
	for _, f := range figures {
		row(t, f.Pods, f.Accounts, f.By, f.Entries, f.Calls.total(), fmt.Sprintf("%.2f", inSeconds(f.Registered)), f.Signed, f.Held,
			fmt.Sprintf("%.2f", inSeconds(f.CPU["program"])),
			fmt.Sprintf("%.2f", inSeconds(f.CPU["server"])), fmt.Sprintf("%.2f", inSeconds(f.CPU["agents"])))
	}
	title(t, "The calls by method")
	row(t, "pods", "accounts", "by", "method", "calls")
	for _, f := range figures {
		for _, method := range slices.Sorted(maps.Keys(f.Calls)) {
			row(t, f.Pods, f.Accounts, f.By, method, f.Calls[method])
		}
	}
}
