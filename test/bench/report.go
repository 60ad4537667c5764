package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// report is everything that was measured; what was not is nil.
type report struct {
	Machine    machine           `json:"machine"`
	Cluster    *softwareVersions `json:"cluster,omitempty"` // nil if none was needed
	Size       []sizeFigures     `json:"size,omitempty"`
	Answers    []answerFigures   `json:"answers,omitempty"`
	Proxy      *proxyFigures     `json:"proxy,omitempty"`
	Scale      *scaleFigures     `json:"scale,omitempty"`
	Identities []identityFigures `json:"identities,omitempty"`
	Starts     *startsFigures    `json:"starts,omitempty"`
	Replica    *replicaFigures   `json:"replica,omitempty"`
	Creations  *creationFigures  `json:"creations,omitempty"`
	FirstOK    *firstOKFigures   `json:"firstOK,omitempty"`
	Policy     *policyFigures    `json:"policy,omitempty"`
	Memory     []memoryFigures   `json:"memory,omitempty"`
	Questions  *questionFigures  `json:"questions,omitempty"`

	Quarantine   *quarantineFigures   `json:"quarantine,omitempty"`
	Registration *registrationFigures `json:"registration,omitempty"`
	Hostile      *hostileFigures      `json:"hostile,omitempty"`
}

func (r report) printJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

func (r report) printText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	r.printPlace(t)
	if r.Size != nil {
		printSize(t, r.Size)
	}
	if r.Answers != nil {
		printAnswers(t, r.Answers)
	}
	if r.Proxy != nil {
		printProxy(t, *r.Proxy)
	}
	if r.Scale != nil {
		printScale(t, *r.Scale)
	}
	if r.Identities != nil {
		printIdentities(t, r.Identities)
	}
	if r.Starts != nil {
		printStarts(t, *r.Starts)
	}
	if r.Replica != nil {
		printReplica(t, *r.Replica)
	}
	if r.Creations != nil {
		printCreations(t, *r.Creations)
	}
	if r.FirstOK != nil {
		printFirstOK(t, *r.FirstOK)
	}
	if r.Policy != nil {
		printPolicy(t, *r.Policy)
	}
	if r.Quarantine != nil {
		printQuarantine(t, *r.Quarantine)
	}
	if r.Registration != nil {
		printRegistration(t, *r.Registration)
	}
	if r.Hostile != nil {
		printHostile(t, *r.Hostile)
	}
	if r.Memory != nil {
		printMemory(t, r.Memory)
	}
	if r.Questions != nil {
		printQuestions(t, *r.Questions)
	}
	return t.Flush()
}

func (r report) printPlace(t io.Writer) {
	row(t, "CPU", fmt.Sprintf("%d × %s", r.Machine.Cores, r.Machine.CPU))
	row(t, "memory", fmt.Sprintf("%.1f GiB", float64(r.Machine.MemoryBytes)/(1<<30)))
	row(t, "kernel", r.Machine.Kernel)
	row(t, "load before", fmt.Sprintf("%.2f", r.Machine.Load))
	row(t, "Go", r.Machine.Go)
	if r.Cluster == nil {
		return
	}
	row(t, "Kubernetes", fmt.Sprintf("%s, %d nodes", r.Cluster.Kubernetes, r.Cluster.Nodes))
	row(t, "Envoy", r.Cluster.Envoy)
}

func printSize(t io.Writer, figures []sizeFigures) {
	title(t, "Bytes of generated configuration")
	row(t, "pod", "bootstrap", "listeners", "clusters", "authorization", "status", "all", "JSON patch")
	for _, f := range figures {
		if f.Refused != "" {
			row(t, f.Pod, "refused", "", "", "", "", "", "")
			continue
		}
		row(t, f.Pod, f.Bootstrap, f.Listeners, f.Clusters, f.Authorization, f.Status, f.Annotations, f.Patch)
	}
	for _, f := range figures {
		if f.Refused != "" {
			line(t, f.Pod+": "+f.Refused)
		}
	}
}

func printCreations(t io.Writer, f creationFigures) {
	title(t, fmt.Sprintf("Creation of %d pods, %d at once", f.Pods, f.AtOnce))
	row(t, "round", "webhook", "pods/s", "p50 ms", "p99 ms", "errors", "calls", "ms per call", "bytes of a pod")
	for i, round := range f.Rounds {
		for _, v := range variantsOf(f.Rounds) {
			l := round[v.name]
			row(t, i+1, v.name, fmt.Sprintf("%.1f", l.PerSecond), milliseconds(l.P50), milliseconds(l.P99), l.Errors, l.Calls, milliseconds(l.InWebhook), l.PodBytes)
		}
	}
	line(t, "ours / one that does nothing: "+f.OursToNoop.String())
	line(t, "ours / one that answers with a constant patch of the same content: "+f.OursToConstant.String())
	if f.WithoutIstio != "" {
		line(t, "without Istio: "+f.WithoutIstio)
	}
	for _, round := range f.Rounds {
		for _, v := range variantsOf(f.Rounds) {
			if e := round[v.name].FirstError; e != "" {
				line(t, v.name+": "+e)
			}
		}
	}
	printCosts(t, f)
}

func printCosts(t io.Writer, f creationFigures) {
	title(t, fmt.Sprintf("Processor time of each operation in milliseconds, medians of %d rounds", len(f.Rounds)))
	if f.Costs == nil {
		line(t, f.Unreadable)
		return
	}
	row(t, "webhook", "creation: API server", "to none", "webhook", "status update: API server", "to none", "webhook")
	for _, v := range variantsOf(f.Rounds) {
		c := f.Costs[v.name]
		row(t, v.name, fmt.Sprintf("%.2f", c.Creation.APIServer), fmt.Sprintf("%.2f ×", c.CreationRatio.Median), fmt.Sprintf("%.2f", c.Creation.Webhook),
			fmt.Sprintf("%.2f", c.StatusUpdate.APIServer), fmt.Sprintf("%.2f ×", c.StatusUpdateRatio.Median), fmt.Sprintf("%.2f", c.StatusUpdate.Webhook))
	}
	line(t, "webhook: of all its replicas, with all that they do meanwhile; for none and not-asking, of the injector's")
}

func printFirstOK(t io.Writer, f firstOKFigures) {
	title(t, fmt.Sprintf("From kubectl apply of an API and its client to the first ok, %d times", len(f.Total.All)))
	row(t, "until", "median s", "max s")
	for _, p := range f.Parts {
		row(t, p.Until, fmt.Sprintf("+%.2f", inSeconds(p.Took.Median)), fmt.Sprintf("+%.2f", inSeconds(p.Took.Max)))
	}
	row(t, "all", fmt.Sprintf("%.2f", inSeconds(f.Total.Median)), fmt.Sprintf("%.2f", inSeconds(f.Total.Max)))
}

func printPolicy(t io.Writer, f policyFigures) {
	title(t, fmt.Sprintf("From kubectl annotate returning until it is in force, %d times", len(f.Allowed.All)))
	row(t, "", "median s", "max s")
	row(t, "a new peer gets ok", fmt.Sprintf("%.3f", inSeconds(f.Allowed.Median)), fmt.Sprintf("%.3f", inSeconds(f.Allowed.Max)))
	row(t, "a removed peer is refused", fmt.Sprintf("%.3f", inSeconds(f.Refused.Median)), fmt.Sprintf("%.3f", inSeconds(f.Refused.Max)))
}

func printRegistration(t io.Writer, f registrationFigures) {
	title(t, "From the last pod of a burst until SPIRE has the entries of all; calls, processor time and memory since the first")
	row(t, "pods", "accounts", "by", "pods/s", "p50 ms", "p99 ms", "entries", "registered s", "calls", "per pod", "CPU s", "MiB", "server's CPU s")
	for _, b := range f.Bursts {
		own, server := b.Usage[b.Registrant], b.Usage["spire-server"]
		row(t, b.Pods, b.Accounts, b.Registrant, fmt.Sprintf("%.1f", b.Creation.PerSecond), milliseconds(b.Creation.P50), milliseconds(b.Creation.P99),
			b.Entries, fmt.Sprintf("%.2f", inSeconds(b.Registered)), b.Calls.total(), fmt.Sprintf("%.3f", b.PerPod),
			fmt.Sprintf("%.1f", inSeconds(own.CPU)), mebibytes(own.Memory), fmt.Sprintf("%.1f", inSeconds(server.CPU)))
	}
	for _, o := range f.OnePod {
		title(t, fmt.Sprintf("One pod with %d entries present, %d times, by %s", o.Present, len(o.Registered.All), o.Registrant))
		row(t, "until", "median s", "max s")
		row(t, "created", fmt.Sprintf("%.3f", inSeconds(o.Creation.Median)), fmt.Sprintf("%.3f", inSeconds(o.Creation.Max)))
		row(t, "registered", fmt.Sprintf("%.3f", inSeconds(o.Registered.Median)), fmt.Sprintf("%.3f", inSeconds(o.Registered.Max)))
	}
}

func printMemory(t io.Writer, figures []memoryFigures) {
	title(t, "Memory of idle sidecars, MiB")
	row(t, "pod", "resident", "of it anonymous", "Envoy's own count")
	for _, f := range figures {
		resident, anonymous := "-", "-"
		if f.Process != nil {
			resident, anonymous = mebibytes(f.Process.Resident), mebibytes(f.Process.Anonymous)
		}
		row(t, f.Pod, resident, anonymous, mebibytes(f.Allocated))
		if f.Unreadable != "" {
			line(t, f.Pod+": "+f.Unreadable)
		}
	}
}

func title(w io.Writer, text string) { fmt.Fprintf(w, "\n%s\n", text) }

// line is text of its own width.
func line(w io.Writer, text string) { fmt.Fprintf(w, "%s\n", text) }

func row(w io.Writer, cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = fmt.Sprint(c)
	}
	fmt.Fprintln(w, strings.Join(texts, "\t"))
}

func inSeconds(s seconds) float64 { return time.Duration(s).Seconds() }

func milliseconds(s seconds) string { return fmt.Sprintf("%.1f", 1000*inSeconds(s)) }

func mebibytes(n int) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }
