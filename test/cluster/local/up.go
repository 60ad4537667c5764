package local

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/images"
)

//go:embed addons.yaml
var addons []byte

// startLimit is how long a cluster may take from its first process to running pods. On two idle processors it takes
// less than a tenth of that.
const startLimit = 5 * time.Minute

// Up makes sure that the cluster runs and has the images, and returns when pods can run on it. If it is up already
// only changed images are loaded. The cluster outlives this process. If it cannot be started, nothing runs afterwards,
// but the daemons' logs stay until the next Up or Down.
func Up(ctx context.Context, o Options) (Info, error) {
	if err := o.complete(); err != nil {
		return Info{}, err
	}
	c, err := open(o)
	if err != nil {
		return Info{}, err
	}
	if c.programs.Kubernetes == "" {
		if c.programs, err = parts.Ensure(ctx, c.cache, parts.ForCluster, c.progress); err != nil {
			return Info{}, err
		}
	}
	system, err := images.System(ctx, c.cache, c.programs, c.progress)
	if err != nil {
		return Info{}, err
	}
	initProgram, err := parts.BuildOwn(ctx, c.cache, "./test/cluster/init", c.progress)
	if err != nil {
		return Info{}, err
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return Info{}, err
	}
	defer unlock()
	recorded := recordedShape(c.layout)
	if c, err = c.shaped(o); err != nil {
		return Info{}, err
	}
	if _, runs := c.started(); runs && recorded != c.Shape {
		return Info{}, OtherShapeError{Name: c.cluster, Wanted: c.Shape, Have: recorded}
	}
	if init, ok := c.whole(ctx); ok {
		return c.info(), c.load(ctx, init, o.Images)
	}
	if err := errors.Join(c.end(), c.removeFiles()); err != nil {
		return Info{}, fmt.Errorf("remove what an earlier run left: %w", err)
	}
	if err := c.start(ctx, initProgram, system, o.Images); err != nil {
		// Whatever went wrong first is what the user must see.
		return Info{}, errors.Join(err, c.end())
	}
	return c.info(), nil
}

// started tells whether the cluster was started to the end and its first process runs.
func (c cluster) started() (process, bool) {
	init, ok := loadProcess(c.process())
	return init, ok && init.runs() && exists(c.complete())
}

// whole tells whether the cluster is up, all of it.
func (c cluster) whole(ctx context.Context) (process, bool) {
	init, ok := c.started()
	if !ok {
		return process{}, false
	}
	// A daemon may be just restarting.
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return init, c.waitReady(ctx) == nil
}

func (c cluster) start(ctx context.Context, initProgram string, system, extra []images.Archive) error {
	begin := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("the cluster did not start within %s", startLimit))
	defer cancel()
	init, err := c.launch(ctx, initProgram)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go c.watch(ctx, init, stop)

	if err := c.bringUp(ctx, init, system, extra, begin); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	if err := os.WriteFile(c.complete(), nil, 0o600); err != nil {
		return err
	}
	c.say("the cluster %s is up after %s", c.cluster, time.Since(begin).Round(100*time.Millisecond))
	return nil
}

func (c cluster) bringUp(ctx context.Context, init process, system, extra []images.Archive, begin time.Time) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := c.containerdAnswers(ctx, init); err != nil {
			return err
		}
		if err := c.load(ctx, init, system); err != nil {
			return err
		}
		return c.load(ctx, init, extra)
	})
	group.Go(func() error {
		if err := poll(ctx, c.apiReady); err != nil {
			return err
		}
		c.say("the API server is ready after %s", time.Since(begin).Round(100*time.Millisecond))
		// The API server makes the namespace of the addons a moment after it says that it is ready.
		if err := poll(ctx, c.applyAddons); err != nil {
			return err
		}
		return c.waitReady(ctx)
	})
	return group.Wait()
}

// launch makes the cluster's files, cgroups and namespaces and starts process 1 with all daemons.
func (c cluster) launch(ctx context.Context, initProgram string) (_ process, err error) {
	used, err := usedNetworks()
	if err != nil {
		return process{}, err
	}
	k, err := linkOf(c.cluster, used)
	if err != nil {
		return process{}, err
	}
	if err := os.MkdirAll(c.daemonLogFolder(), 0o755); err != nil {
		return process{}, err
	}
	if err := writeCredentials(c.layout, c.cluster, c.Shape, k.inside, time.Now()); err != nil {
		return process{}, err
	}
	for _, n := range c.nodes() {
		if err := writeConfigs(c.layout, c.names, c.networks(), n, c.programs); err != nil {
			return process{}, err
		}
	}
	record, err := json.Marshal(c.Shape)
	if err != nil {
		return process{}, err
	}
	if err := writeWhole(c.shapeRecord(), record); err != nil {
		return process{}, err
	}
	if err := c.cgroups.create(c.nodes()); err != nil {
		return process{}, err
	}
	spec, err := json.Marshal(c.specFor(k))
	if err != nil {
		return process{}, err
	}
	loadBridgeFilter(ctx)
	return c.launchInit(ctx, initProgram, k, spec)
}

// loadBridgeFilter loads the kernel module by which rules for services also see traffic between pods. If that fails,
// process 1 says what is missing.
func loadBridgeFilter(ctx context.Context) {
	if !exists("/proc/sys/net/bridge") {
		_, _ = run(ctx, nil, nil, "modprobe", "br_netfilter")
	}
}

// launchInit starts process 1. Until it has its whole Spec it does nothing, and it exits if the Spec's writer ends: so
// a run that is killed on the way leaves no process.
func (c cluster) launchInit(ctx context.Context, program string, k link, spec []byte) (process, error) {
	logFile, err := os.OpenFile(c.log("init"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return process{}, err
	}
	defer func() { _ = logFile.Close() }()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program) // lives on when this run has ended
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS,
		Setsid:     true,
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return process{}, err
	}
	if err := cmd.Start(); err != nil {
		return process{}, fmt.Errorf("start process 1 in new namespaces (does this machine allow them?): %w", err)
	}
	go func() { _ = cmd.Wait() }() // so that it does not stay a zombie while this process lives
	init, err := identify(cmd.Process.Pid)
	if err == nil {
		err = init.save(c.process())
	}
	if err == nil {
		err = c.cgroups.enter(init.PID)
	}
	if err == nil {
		err = c.connect(ctx, init.PID, k)
	}
	if err == nil {
		_, err = in.Write(spec)
	}
	return init, errors.Join(err, in.Close())
}

// connect makes the link between the machine and the cluster; the cluster's end is configured by process 1.
func (c cluster) connect(ctx context.Context, pid int, k link) error {
	ip := filepath.Join(c.programs.System.Bin, "ip")
	for _, args := range [][]string{
		{"link", "add", c.outside, "type", "veth", "peer", "name", c.inside, "netns", strconv.Itoa(pid)},
		{"address", "add", netip.PrefixFrom(k.outside, linkBits).String(), "dev", c.outside},
		{"link", "set", c.outside, "up"},
	} {
		if _, err := run(ctx, c.programs.System.Env, nil, append([]string{ip}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

func (c cluster) applyAddons(ctx context.Context) error {
	_, err := c.kubectl(ctx, addons, "apply", "--filename=-")
	return err
}

func (c cluster) kubectl(ctx context.Context, stdin []byte, args ...string) (string, error) {
	argv := append([]string{c.programs.Kubectl(), "--kubeconfig", c.kubeconfig()}, args...)
	return run(ctx, nil, bytes.NewReader(stdin), argv...)
}

// pollEvery is the pause between two looks at something that is about to be ready.
const pollEvery = 100 * time.Millisecond

// poll calls do until it succeeds or ctx ends; then the error says what do last complained of.
func poll(ctx context.Context, do func(context.Context) error) error {
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), err)
		case <-time.After(pollEvery):
		}
	}
}
