package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/answers"
)

const (
	completionTime = 2 * time.Second // whoever presses the tabulator waits
	mostCompleted  = 500             // of each kind
)

// completes has a shell complete namespaces, and the names of workloads, pods and Services where the command takes them.
func (f *answerFlags) completes(cmd *cobra.Command, names bool, flags ...string) {
	complete := func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return f.candidates(typed, func(ctx context.Context, api answers.API) []string { return namesLike(ctx, api, f.namespace, typed) })
	}
	if names {
		cmd.ValidArgsFunction = complete
	}
	for _, flag := range flags {
		cobra.CheckErr(cmd.RegisterFlagCompletionFunc(flag, complete))
	}
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("namespace",
		func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return f.candidates(typed, func(ctx context.Context, api answers.API) []string { return namespacesLike(ctx, api, typed, "") })
		}))
}

// candidates asks a cluster; there are none where it cannot be asked.
func (f *answerFlags) candidates(typed string, ask func(context.Context, answers.API) []string) ([]string, cobra.ShellCompDirective) {
	config, err := f.cluster.reading()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	api, err := answers.Connect(config)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	found := ask(ctx, api)
	directive := cobra.ShellCompDirectiveNoFileComp
	if !strings.Contains(typed, "/") && slices.ContainsFunc(found, func(s string) bool { return strings.HasSuffix(s, "/") }) {
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	return found, directive
}

// namesLike are names that begin as typed: in a namespace, or NAMESPACE/ and then NAMESPACE/NAME.
func namesLike(ctx context.Context, api answers.API, namespace, typed string) []string {
	prefix := ""
	if before, name, ok := strings.Cut(typed, "/"); ok && namespace == "" {
		namespace, prefix, typed = before, before+"/", name
	}
	if namespace == "" {
		return namespacesLike(ctx, api, typed, "/")
	}
	o := metav1.ListOptions{Limit: mostCompleted}
	var out []string
	add := func(name string) {
		if strings.HasPrefix(name, typed) && !slices.Contains(out, prefix+name) {
			out = append(out, prefix+name)
		}
	}
	// What cannot be listed is not offered: the command says why.
	if list, err := api.AppsV1().Deployments(namespace).List(ctx, o); err == nil {
		for _, item := range list.Items {
			add(item.Name)
		}
	}
	if list, err := api.AppsV1().StatefulSets(namespace).List(ctx, o); err == nil {
		for _, item := range list.Items {
			add(item.Name)
		}
	}
	if list, err := api.AppsV1().DaemonSets(namespace).List(ctx, o); err == nil {
		for _, item := range list.Items {
			add(item.Name)
		}
	}
	if list, err := api.CoreV1().Services(namespace).List(ctx, o); err == nil {
		for _, item := range list.Items {
			add(item.Name)
		}
	}
	if list, err := api.CoreV1().Pods(namespace).List(ctx, o); err == nil {
		for _, item := range list.Items {
			add(item.Name)
		}
	}
	return out
}

// namespacesLike are namespaces that begin as typed, each with what follows its name.
func namespacesLike(ctx context.Context, api answers.API, typed, suffix string) []string {
	list, err := api.CoreV1().Namespaces().List(ctx, metav1.ListOptions{Limit: mostCompleted})
	if err != nil {
		return nil
	}
	var out []string
	for _, item := range list.Items {
		if strings.HasPrefix(item.Name, typed) {
			out = append(out, item.Name+suffix)
		}
	}
	return out
}
