package main

import (
	"context"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/spire-injector/spire-injector/registrar/entries"
	"github.com/spire-injector/spire-injector/test/bench/scale"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/rollout"
)

// scaleFigures are of simulated clusters, in the order of the flag.
type scaleFigures struct {
	Registrar []scale.RegistrarFigures `json:"registrar"`
	Rollout   []scale.RolloutFigures   `json:"rollout"`
	Kept      []scale.KeptFigures      `json:"kept"`
}

func measureScale(ctx context.Context, s settings, _ *cluster, r *report) error {
	r.Scale = &scaleFigures{}
	for _, n := range s.nodes {
		size := scale.Of(n)
		of, err := scale.Registrar(ctx, size)
		if err != nil {
			return fmt.Errorf("registrar of %d nodes: %w", size.Nodes, err)
		}
		plan, err := scale.Rollout(size)
		if err != nil {
			return fmt.Errorf("rollout to %d nodes: %w", size.Nodes, err)
		}
		kept, err := keptOf(size)
		if err != nil {
			return fmt.Errorf("pods of %d nodes in memory: %w", size.Nodes, err)
		}
		r.Scale.Registrar = append(r.Scale.Registrar, of)
		r.Scale.Rollout = append(r.Scale.Rollout, plan)
		r.Scale.Kept = append(r.Scale.Kept, kept)
	}
	return nil
}

// keptOf measures what a replica keeps of pods that are injected as the demo's server.
func keptOf(size scale.Size) (scale.KeptFigures, error) {
	root, err := parts.Root()
	if err != nil {
		return scale.KeptFigures{}, err
	}
	injector, err := demoInjector(root)
	if err != nil {
		return scale.KeptFigures{}, err
	}
	pod, err := demoPod(root, "api")
	if err != nil {
		return scale.KeptFigures{}, err
	}
	transform, err := podTransform()
	if err != nil {
		return scale.KeptFigures{}, err
	}
	injected := func(workload int) (*corev1.Pod, error) {
		one := pod.DeepCopy()
		one.Namespace = "demo"
		one.Annotations[intent.AnnotationSPIFFEID] = fmt.Sprintf("/ns/demo/workload-%d", workload)
		one.Labels["pod-template-hash"] = fmt.Sprint(workload)
		result, err := injector.Inject(intent.Namespace{Name: one.Namespace}, one)
		if err != nil {
			return nil, err
		}
		return result.Pod, nil
	}
	return scale.Kept(size.Pods, size.Workloads, injected, transform)
}

// podTransform is that of a replica's cache.
func podTransform() (toolscache.TransformFunc, error) {
	watched, err := entries.Watched(inject.Trim)
	if err != nil {
		return nil, err
	}
	for object, by := range watched {
		if _, isPod := object.(*corev1.Pod); isPod {
			return entries.Share(rollout.KeepConfig(by.Transform)), nil
		}
	}
	return nil, fmt.Errorf("expected pods among the %d kinds that are watched, got none", len(watched))
}

func printScale(t io.Writer, f scaleFigures) {
	title(t, "The registrar of a leading replica in simulated clusters; processor time, bytes allocated, calls to SPIRE")
	table := scaleTable{out: t}
	for _, one := range f.Registrar {
		table.nodes = append(table.nodes, one.Size.Nodes)
	}
	table.head()
	of := func(name string, cell func(scale.RegistrarFigures) (text string, value float64)) {
		table.row(name, len(f.Registrar), func(i int) (string, float64) { return cell(f.Registrar[i]) })
	}
	of("pods", func(r scale.RegistrarFigures) (string, float64) { return countCell(r.Size.Pods) })
	of("workloads", func(r scale.RegistrarFigures) (string, float64) { return countCell(r.Size.Workloads) })
	of("entries", func(r scale.RegistrarFigures) (string, float64) { return countCell(r.Entries) })
	of("bytes held", func(r scale.RegistrarFigures) (string, float64) { return countCell(r.Held) })
	of("first pass, all entries created", func(r scale.RegistrarFigures) (string, float64) {
		return costCell(r.Start.CPU, r.Start.Bytes, float64(r.Start.Calls))
	})
	of("full pass, nothing to do", func(r scale.RegistrarFigures) (string, float64) {
		return costCell(r.Pass.CPU, r.Pass.Bytes, r.Pass.Calls)
	})
	if len(f.Registrar) > 0 {
		for k, e := range f.Registrar[0].Events {
			of(e.Event, func(r scale.RegistrarFigures) (string, float64) {
				return costCell(r.Events[k].CPU, r.Events[k].Bytes, r.Events[k].Calls)
			})
		}
	}
	of("rollout of everything, for each pod", func(r scale.RegistrarFigures) (string, float64) {
		return costCell(r.Rollout.CPU, r.Rollout.Bytes, r.Rollout.Calls)
	})
	of("entries before old rows go", func(r scale.RegistrarFigures) (string, float64) { return countCell(r.Peak) })
	table.row("which pod follows the platform next", len(f.Rollout), func(i int) (string, float64) {
		d := f.Rollout[i].Decision
		return costCell(d.CPU, d.Bytes, d.Calls)
	})
	table.row("bytes of a pod from the API server", len(f.Kept), func(i int) (string, float64) { return countCell(f.Kept[i].Stored) })
	table.row("bytes of it that a replica keeps", len(f.Kept), func(i int) (string, float64) { return countCell(f.Kept[i].Held) })
}

// scaleTable has a column for each cluster, and one for how much more the last one takes than the first.
type scaleTable struct {
	out   io.Writer
	nodes []int
}

func (t scaleTable) head() {
	cells := []any{"nodes"}
	for _, n := range t.nodes {
		cells = append(cells, n)
	}
	row(t.out, append(cells, "growth")...)
}

func (t scaleTable) row(name string, columns int, cell func(i int) (text string, value float64)) {
	cells := []any{name}
	var values []float64
	for i := range columns {
		text, value := cell(i)
		cells, values = append(cells, text), append(values, value)
	}
	row(t.out, append(cells, growth(values))...)
}

// growth is how many times the first the last is.
func growth(values []float64) string {
	if len(values) < 2 || values[0] == 0 {
		return "-"
	}
	return fmt.Sprintf("× %.2f", values[len(values)-1]/values[0])
}

func countCell(n int) (text string, value float64) { return fmt.Sprint(n), float64(n) }

// costCell is compared by its processor time.
func costCell(cpu time.Duration, bytes int, calls float64) (text string, value float64) {
	return fmt.Sprintf("%s, %d B, %.3g", cpu.Round(time.Microsecond), bytes, calls), float64(cpu)
}
