package kubectl

import (
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/kubectl/pkg/cmd/annotate"
	"k8s.io/kubectl/pkg/cmd/apiresources"
	"k8s.io/kubectl/pkg/cmd/apply"
	"k8s.io/kubectl/pkg/cmd/auth"
	"k8s.io/kubectl/pkg/cmd/create"
	"k8s.io/kubectl/pkg/cmd/debug"
	"k8s.io/kubectl/pkg/cmd/delete"
	"k8s.io/kubectl/pkg/cmd/describe"
	"k8s.io/kubectl/pkg/cmd/drain"
	"k8s.io/kubectl/pkg/cmd/exec"
	"k8s.io/kubectl/pkg/cmd/get"
	"k8s.io/kubectl/pkg/cmd/kustomize"
	"k8s.io/kubectl/pkg/cmd/label"
	"k8s.io/kubectl/pkg/cmd/logs"
	"k8s.io/kubectl/pkg/cmd/patch"
	"k8s.io/kubectl/pkg/cmd/replace"
	"k8s.io/kubectl/pkg/cmd/rollout"
	"k8s.io/kubectl/pkg/cmd/scale"
	"k8s.io/kubectl/pkg/cmd/set"
	"k8s.io/kubectl/pkg/cmd/taint"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	"k8s.io/kubectl/pkg/cmd/wait"
)

// getter is the configuration of one command.
type getter struct {
	*genericclioptions.ConfigFlags
	kinds  *remembered
	mapper meta.RESTMapper
}

func (g getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) { return g.kinds, nil }

func (g getter) ToRESTMapper() (meta.RESTMapper, error) { return g.mapper, nil }

// newCommand is kubectl with those of its commands that tests use and that end by themselves.
func newCommand(kubeconfig string, streams genericiooptions.IOStreams) (*cobra.Command, error) {
	all, err := kindsOf(kubeconfig)
	if err != nil {
		return nil, err
	}
	known := &remembered{CachedDiscoveryInterface: all}
	flags := genericclioptions.NewConfigFlags(true).WithWarningPrinter(streams)
	flags.KubeConfig = &kubeconfig
	flags.WrapConfigFn = func(config *rest.Config) *rest.Config {
		config.WarningHandler = rest.NewWarningWriter(streams.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
		return config
	}
	matched := cmdutil.NewMatchVersionFlags(getter{
		ConfigFlags: flags, kinds: known,
		mapper: restmapper.NewShortcutExpander(restmapper.NewDeferredDiscoveryRESTMapper(known), known, nil),
	})
	f := factory{cmdutil.NewFactory(matched)}
	root := &cobra.Command{Use: "kubectl", SilenceErrors: true, SilenceUsage: true}
	flags.AddFlags(root.PersistentFlags())
	matched.AddFlags(root.PersistentFlags())
	root.AddCommand(
		annotate.NewCmdAnnotate("kubectl", f, streams),
		apiresources.NewCmdAPIResources(f, streams),
		apiresources.NewCmdAPIVersions(f, streams),
		apply.NewCmdApply("kubectl", f, streams),
		auth.NewCmdAuth(f, streams),
		create.NewCmdCreate(f, streams),
		debug.NewCmdDebug(f, streams),
		delete.NewCmdDelete(f, streams),
		describe.NewCmdDescribe("kubectl", f, streams),
		drain.NewCmdCordon(f, streams),
		drain.NewCmdDrain(f, streams),
		drain.NewCmdUncordon(f, streams),
		exec.NewCmdExec(f, streams),
		get.NewCmdGet("kubectl", f, streams),
		kustomize.NewCmdKustomize(streams),
		label.NewCmdLabel(f, streams),
		logs.NewCmdLogs(f, streams),
		patch.NewCmdPatch(f, streams),
		replace.NewCmdReplace(f, streams),
		rollout.NewCmdRollout("kubectl", f, streams),
		scale.NewCmdScale(f, streams),
		set.NewCmdSet(f, streams),
		taint.NewCmdTaint(f, streams),
		wait.NewCmdWait(f, streams),
	)
	return root, nil
}
