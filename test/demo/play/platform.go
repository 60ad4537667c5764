package play

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/install"
)

const (
	// injectorNamespace is where every platform has the injector.
	injectorNamespace = "spire-injector"
	// demoAnnotation on it names the demo whose platform it is.
	demoAnnotation = "test.spire-injector/demo"
)

// standing is what is on a cluster before a demo is played.
type standing struct {
	// demo is the name of the one whose platform is there; empty for a platform that somebody else installed, or for none.
	demo string
	// trustDomain of the injector that is there, or empty.
	trustDomain string
}

// inTheWay is what has to be removed before a demo of a trust domain: another demo, or a platform of another trust
// domain. SPIRE would keep its certificate authority.
func (on standing) inTheWay(name, trustDomain string) (demo string, platform bool) {
	switch {
	case on.demo != "" && on.demo != name:
		return on.demo, true
	case on.trustDomain != "" && on.trustDomain != trustDomain:
		return "", true
	default:
		return "", false
	}
}

// makeRoom removes what is in a demo's way, and returns what it was, or "".
func makeRoom(ctx context.Context, d Demo, others []Demo, t Telling) (removed string, err error) {
	on, err := standingOn(ctx, t.Scene)
	if err != nil {
		return "", err
	}
	rendered, err := t.Scene.Rendered(ctx, d.Platform)
	if err != nil {
		return "", err
	}
	wanted, err := trustDomainOf(rendered)
	if err != nil {
		return "", fmt.Errorf("%s: %w", d.Platform, err)
	}
	other, platform := on.inTheWay(d.Name, wanted)
	if !platform {
		return "", nil
	}
	if i := slices.IndexFunc(others, func(o Demo) bool { return o.Name == other }); i >= 0 {
		defer t.Waiting("taking down the demo " + other)()
		_, err := others[i].removeWorkloads(ctx, t.Scene)
		if err == nil {
			_, err = others[i].removePlatform(ctx, t.Scene)
		}
		return "The demo " + other, err
	}
	defer t.Waiting("removing the platform of trust domain " + on.trustDomain)()
	_, err = d.removePlatform(ctx, t.Scene)
	return "The platform of trust domain " + on.trustDomain + ", with SPIRE's data,", err
}

// standingOn looks what is on the cluster.
func standingOn(ctx context.Context, s scene.Scene) (standing, error) {
	var (
		on        standing
		namespace corev1.Namespace
		config    corev1.ConfigMap
	)
	if there, err := get(ctx, s, &namespace, "namespace", injectorNamespace); err != nil || !there {
		return on, err
	}
	on.demo = namespace.Annotations[demoAnnotation]
	there, err := get(ctx, s, &config, "configmap", "spire-injector-config", "-n", injectorNamespace)
	if err != nil || !there {
		return on, err
	}
	on.trustDomain, err = trustDomainIn(config)
	return on, err
}

// get is kubectl get of an object that need not be there.
func get(ctx context.Context, s scene.Scene, into any, args ...string) (there bool, err error) {
	err = s.K.Get(ctx, into, args...)
	var failed *command.Error
	if errors.As(err, &failed) && strings.Contains(failed.Stderr, "(NotFound)") {
		return false, nil
	}
	return err == nil, err
}

// trustDomainOf is the trust domain in the platform file of rendered manifests.
func trustDomainOf(manifests string) (string, error) {
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		var config corev1.ConfigMap
		if err := yaml.Unmarshal([]byte(document), &config); err != nil || config.Kind != "ConfigMap" || config.Name != "spire-injector-config" {
			continue // another object
		}
		return trustDomainIn(config)
	}
	return "", errors.New("expected the ConfigMap spire-injector-config, found none")
}

func trustDomainIn(config corev1.ConfigMap) (string, error) {
	var platform struct {
		TrustDomain string `json:"trustDomain"`
	}
	if err := yaml.Unmarshal([]byte(config.Data["config.yaml"]), &platform); err != nil {
		return "", fmt.Errorf("config.yaml in ConfigMap %s: %w", config.Name, err)
	}
	return platform.TrustDomain, nil
}

// installPlatform brings the platform of a demo up, and leaves the demo's name on it. The name comes first, so that
// also what a stopped run left has one.
func installPlatform(ctx context.Context, d Demo, t Telling) error {
	there, err := get(ctx, t.Scene, &corev1.Namespace{}, "namespace", injectorNamespace)
	if err == nil && !there {
		_, err = t.Scene.Run(ctx, scene.Command{Args: []string{"create", "namespace", injectorNamespace}})
	}
	if err != nil {
		return err
	}
	mark := []string{"annotate", "namespace", injectorNamespace, "--overwrite", demoAnnotation + "=" + d.Name}
	if _, err := t.Scene.Run(ctx, scene.Command{Args: mark}); err != nil {
		return err
	}
	if d.Install != nil {
		return d.Install(ctx, t.Scene, t.Progress)
	}
	return install.Platform(ctx, t.Scene.Env, t.Scene.Path(d.Platform), t.Progress)
}
