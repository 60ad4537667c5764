package frontproxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/standalone"
)

// outside is a machine outside the cluster, with a SPIRE agent of its own.
type outside struct {
	stage
	program string // the agent's
	folder  string // its own
	token   string // with which it joins
}

// id of the agent, which is the parent of its workloads.
func (o outside) id() string { return "spiffe://" + trustDomain + "/spire/agent/join_token/" + o.token }

func (o outside) socket() string { return filepath.Join(o.folder, "agent.sock") }

// args are the agent's command line. The bundle is that which the generator wrote.
func (o outside) args(port string) []string {
	return []string{
		"run", "-config", o.Path(agentConfig), "-serverAddress", "127.0.0.1", "-serverPort", port,
		"-trustBundle", filepath.Join(o.stage.folder(), bundleFile), "-joinToken", o.token,
		"-dataDir", filepath.Join(o.folder, "data"), "-socketPath", o.socket(),
	}
}

// entry registers the client: a process of this user, below this agent.
func (o outside) entry() scene.Command {
	return server("entry", "create", "-entryID", outsideEntry, "-parentID", o.id(), "-spiffeID", OutsideID,
		"-selector", fmt.Sprintf("unix:uid:%d", os.Getuid()))
}

// forget removes the registration entry, if it is there.
func (s stage) forget(ctx context.Context) (scene.Ran, error) {
	r, err := s.Try(ctx, server("entry", "delete", "-entryID", outsideEntry))
	if err != nil {
		return r, err
	}
	for _, gone := range []string{"not found", "NotFound"} { // the entry, or SPIRE itself
		if strings.Contains(r.Output(), gone) {
			return r, nil
		}
	}
	if r.Failed {
		err = &scene.Mismatch{What: r.Command.String(), Expected: "success", Got: r.Output()}
	}
	return r, err
}

// clear removes what a run leaves beside the cluster, and its entry. The agent ends with the run that started it.
func clear(ctx context.Context, s scene.Scene) error {
	_, err := stage{s}.forget(ctx)
	return errors.Join(err, os.RemoveAll(stage{s}.folder()))
}

// join makes a token for the agent.
func (o *outside) join(ctx context.Context) (scene.Ran, error) {
	r, err := o.Run(ctx, server("token", "generate"))
	if err != nil {
		return r, err
	}
	token, ok := strings.CutPrefix(strings.TrimSpace(r.Stdout), "Token: ")
	if !ok {
		return r, &scene.Mismatch{What: r.Command.String(), Expected: "a token", Got: r.Output()}
	}
	o.token, _, _ = strings.Cut(token, "\n")
	return r, os.MkdirAll(filepath.Join(o.folder, "data"), 0o700)
}

// fetch asks the agent for the client's certificate until it has come.
func (o outside) fetch(ctx context.Context, agent *standalone.Process) (command, output string, err error) {
	args := []string{"api", "fetch", "x509", "-socketPath", o.socket(), "-write", o.folder}
	found, err := scene.Poll(ctx, scene.StartLimit, func() (bool, error) {
		if !agent.Running() {
			return false, &scene.Mismatch{What: "the agent", Expected: "it to run", Got: agent.Out.String()}
		}
		asking, err := standalone.Start(o.program, args...)
		if err != nil {
			return false, err
		}
		for asking.Running() && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		asking.Stop()
		output = asking.Out.String()
		return strings.Contains(output, OutsideID), nil
	})
	if err == nil && !found {
		err = &scene.Mismatch{What: "api fetch x509", Expected: OutsideID, Got: output + agent.Out.String()}
	}
	return commandLine(o.program, args), output, err
}

func commandLine(program string, args []string) string {
	words := []string{scene.Quote(program)}
	for _, a := range args {
		words = append(words, scene.Quote(a))
	}
	return strings.Join(words, " ")
}

// Outside is the client with an agent of its own.
type Outside struct {
	AgentID string `json:"agentID"`
	// Seconds from the agent's start to the client's certificate.
	Seconds float64 `json:"secondsToCertificate"`
	Answer  Answer  `json:"answer"`
	Line    line    `json:"backendLog"`
}

func tellOutside(ctx context.Context, d demo) (any, error) {
	programs, err := agentProgram(ctx, d)
	if err != nil {
		return nil, err
	}
	o := outside{stage: d.scene, program: programs.SPIREAgent, folder: filepath.Join(d.scene.folder(), "outside")}
	d.Story.Say("A machine outside of any cluster can have a SPIRE agent of its own. Kubernetes does not vouch for it, so it attests in " +
		"another way: by a token, which is good for once.")
	joined, err := o.join(ctx)
	if err != nil {
		return nil, err
	}
	d.Show(joined)
	facts := Outside{AgentID: o.id()}
	address, end, err := d.Scene.Forward(ctx, "spire", "service/spire-server", "8081")
	if err != nil {
		return facts, err
	}
	defer end()
	_, port, _ := strings.Cut(address, ":")
	registered, err := d.Scene.Run(ctx, o.entry())
	if err != nil {
		return facts, err
	}
	start := time.Now()
	agent, err := standalone.Start(o.program, o.args(port)...)
	if err != nil {
		return facts, err
	}
	defer agent.Stop()
	d.Story.Say("The entry says which of the machine's processes is the client: here those of one user. This is the only one in the demo that " +
		"somebody writes.")
	d.Show(registered)
	done := d.Waiting("waiting for the agent to attest, and for the client's certificate")
	fetching, fetched, err := o.fetch(ctx, agent)
	done()
	if err != nil {
		return facts, err
	}
	facts.Seconds = scene.Seconds(time.Since(start))
	d.Story.Typed(scene.In("spire", "port-forward", "service/spire-server", port+":8081").String()+" &", commandLine(o.program, o.args(port))+" &", fetching)
	d.Story.Came(fetched)

	const path = "/echo/outside"
	c := client{folder: o.folder}
	if facts.Answer, err = d.scene.get(ctx, c, Proxy, path); err != nil {
		return facts, err
	}
	d.Story.Typed(c.curl(path))
	d.Story.Came(facts.Answer.Body)
	if err := facts.Answer.callers(OutsideID, ProxyID); err != nil {
		return facts, err
	}
	if facts.Line, err = d.scene.backendLine(ctx, path, 200, OutsideID); err != nil {
		return facts, err
	}
	d.line(facts.Line)

	d.Story.Say("Then the machine is given up: its agent ends, and with it go its entry and its place in SPIRE.")
	agent.Stop()
	forgotten, err := d.scene.forget(ctx)
	if err != nil {
		return facts, err
	}
	d.Show(forgotten)
	evicted, err := d.Scene.Run(ctx, server("agent", "evict", "-spiffeID", o.id()))
	if err != nil {
		return facts, err
	}
	d.Show(evicted)
	d.Story.Checked("%s had its certificate %.1f s after its agent's start, and was served", OutsideID, facts.Seconds)
	return facts, nil
}

// agentProgram is that which runs in the cluster, too.
func agentProgram(ctx context.Context, d demo) (parts.Programs, error) {
	cache, err := parts.UserCache()
	if err != nil {
		return parts.Programs{}, err
	}
	return parts.Ensure(ctx, cache, parts.ForImages, d.Progress)
}
