// Package kubectl runs kubectl's commands in the process that asks for them. A kubectl that starts takes more of a
// processor than most of its commands, and the end-to-end tests give it thousands.
package kubectl

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"

	"github.com/spire-injector/spire-injector/test/command"
)

// Run is a [command.Runner]: it runs one command of kubectl as a process of kubectl's would, but for what kubectl prints
// beside its outputs, such as which pod of several it has chosen. It is safe for concurrent use. When ctx ends it returns
// at once; the command may go on until its own time is over.
func Run(ctx context.Context, kubeconfig, stdin string, args ...string) (stdout, stderr string, err error) {
	failByPanic()
	in, err := newInput(args, stdin)
	if err != nil {
		return "", "", err
	}
	var out, messages command.Output
	ended := make(chan error, 1)
	go func() {
		defer in.remove()
		ended <- execute(ctx, kubeconfig, in.args, genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &out, ErrOut: &messages})
	}()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return out.String(), in.hidden(messages.String()), err
}

// status is what a command ends with that has failed.
type status struct {
	message string
	code    int
}

func (s status) Error() string { return fmt.Sprintf("exit status %d", s.code) }

// failByPanic has kubectl's commands panic with a status where they would end the process.
var failByPanic = sync.OnceFunc(func() {
	cmdutil.BehaviorOnFatal(func(message string, code int) { panic(status{message, code}) })
})

// execute runs a command to its end. The error is a status, or the command has not run.
func execute(ctx context.Context, kubeconfig string, args []string, streams genericiooptions.IOStreams) (err error) {
	root, err := newCommand(kubeconfig, streams)
	if err != nil {
		return err
	}
	if found, _, err := root.Find(args); err != nil || found == root {
		return command.ErrNeedsProcess
	}
	defer func() {
		switch failed := recover().(type) {
		case nil:
		case status:
			if failed.message != "" {
				fmt.Fprintln(streams.ErrOut, strings.TrimSuffix(failed.message, "\n"))
			}
			err = failed
		default:
			panic(failed)
		}
	}()
	root.SetArgs(args)
	cmdutil.CheckErr(root.ExecuteContext(ctx))
	return nil
}
