package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/answers"
	"github.com/spire-injector/spire-injector/cmd/spire-injector/check"
	"github.com/spire-injector/spire-injector/cmd/spire-injector/offline"
	"github.com/spire-injector/spire-injector/cmd/spire-injector/platformfile"
	"github.com/spire-injector/spire-injector/webhook"
	"github.com/spire-injector/spire-injector/webhook/inject"
)

// answerFlags say where the facts of an answer are.
type answerFlags struct {
	cluster   clusterFlags
	injector  string // its namespace
	config    string // the platform file, instead of the injector's
	namespace string
	files     []string // manifests, instead of a cluster
}

func (f *answerFlags) add(cmd *cobra.Command, namespaceUsage string) {
	f.cluster.add(cmd)
	cmd.Flags().StringVarP(&f.namespace, "namespace", "n", "", namespaceUsage)
	cmd.Flags().StringVar(&f.injector, "injector-namespace", "spire-injector", "namespace of the injector")
	cmd.Flags().StringVar(&f.config, "config", "", "platform file (default the injector's; config.yaml with -f)")
}

// addFiles lets manifests take the place of a cluster.
func (f *answerFlags) addFiles(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&f.files, "filename", "f", nil,
		"manifests instead of a cluster, - for standard input; may be given several times")
}

// facts reads a cluster, or manifests. With only, no namespace but the flag's is read.
func (f answerFlags) facts(cmd *cobra.Command, only bool) (answers.Facts, error) {
	if len(f.files) > 0 {
		return f.fromFiles(cmd.InOrStdin())
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	facts, _, err := f.fromCluster(ctx, answers.Gatherer{Namespace: f.namespace, Only: only && f.namespace != ""})
	return facts, err
}

func (f answerFlags) fromFiles(stdin io.Reader) (answers.Facts, error) {
	config := f.config
	if config == "" {
		config = "config.yaml"
	}
	platform, _, err := platformfile.Read(config)
	if err != nil {
		return answers.Facts{}, err
	}
	facts, err := f.manifests(f.files, stdin)
	facts.Platform = &platform
	return facts, err
}

// read reads manifests, or a cluster with its Envoys.
func (f answerFlags) read(ctx context.Context, stdin io.Reader) (answers.Facts, *answers.Envoys, error) {
	if len(f.files) > 0 {
		facts, err := f.fromFiles(stdin)
		return facts, nil, err
	}
	facts, envoys, err := f.fromCluster(ctx, answers.Gatherer{Namespace: f.namespace})
	return facts, &envoys, err
}

// manifests are the facts of files.
func (f answerFlags) manifests(files []string, stdin io.Reader) (answers.Facts, error) {
	namespace := f.namespace
	if namespace == "" {
		namespace = "default"
	}
	var facts answers.Facts
	var errs []error
	for _, file := range files {
		input, err := readInput(file, stdin)
		if err != nil {
			return answers.Facts{}, err
		}
		objects, err := offline.Objects(input)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:\n%w", file, err))
		}
		for _, o := range objects {
			if err := facts.Add(namespace, file+", "+o.Where, o.Kind, o.JSON); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return facts, errors.Join(errs...)
}

// fromCluster reads a cluster, and knows its Envoys. What cannot be read is in the facts; the error is that it cannot be
// reached, or has nothing of what is asked about.
func (f answerFlags) fromCluster(ctx context.Context, g answers.Gatherer) (answers.Facts, answers.Envoys, error) {
	config, err := f.cluster.reading()
	if err != nil {
		return answers.Facts{}, answers.Envoys{}, err
	}
	api, errAPI := answers.Connect(config)
	installation, errInstallation := check.Connect(config)
	envoys, errEnvoys := answers.NewEnvoys(config)
	if err := errors.Join(errAPI, errInstallation, errEnvoys); err != nil {
		return answers.Facts{}, envoys, fmt.Errorf("setting up the client of %s: %w", config.Host, err)
	}
	version, err := installation.Discovery().ServerVersionWithContext(ctx)
	if err != nil {
		return answers.Facts{}, envoys, fmt.Errorf("asking the API server %s: %w", config.Host, err)
	}
	installed := check.Gatherer{
		Client:   installation,
		Names:    check.Names{Namespace: f.injector},
		Settings: settingsOf,
		Hash:     platformfile.Hash,
		Now:      time.Now,
	}.Installation(ctx)
	facts, err := f.withInstallation(answers.Facts{Unread: map[answers.Source]error{}}, installed)
	if err != nil {
		return answers.Facts{}, envoys, err
	}
	if v, err := inject.ParseKubernetesVersion(version.GitVersion); err == nil {
		facts.Kubernetes = v
	}
	g.Client = api
	g.Gather(ctx, &facts)
	return facts, envoys, facts.Usable(g.Namespace)
}

// withInstallation adds what the injector decides by.
func (f answerFlags) withInstallation(facts answers.Facts, installed check.Facts) (answers.Facts, error) {
	platform, err := installed.PlatformInForce()
	switch {
	case f.config != "":
		if platform, _, err = platformfile.Read(f.config); err != nil {
			return answers.Facts{}, err
		}
		facts.Platform = &platform
	case err != nil:
		facts.Unread[answers.SourcePlatform] = err
	default:
		facts.Platform = &platform
	}
	switch {
	case installed.Injector == nil: // which the platform file says already
	case installed.Unread[check.SourceWebhooks] != nil:
		facts.Unread[answers.SourceWebhooks] = installed.Unread[check.SourceWebhooks]
	case installed.Mutating == nil:
		facts.Unread[answers.SourceWebhooks] = fmt.Errorf("there is no MutatingWebhookConfiguration %s", installed.Settings.Webhooks)
	default:
		if facts.Serves, err = webhook.Served(installed.Mutating); err != nil {
			facts.Unread[answers.SourceWebhooks] = err
		}
	}
	return facts, nil
}
