package install

import (
	"context"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/command"
)

// servingCertificate is the step that makes the serving certificate of the injector of a namespace, whose webhook
// configurations have a name.
func servingCertificate(ctx context.Context, env environment.Environment, namespace, webhooks string, progress io.Writer) step {
	return step{"making the webhook's serving certificate", func() error {
		return ServingCertificate(ctx, env, progress, "--namespace", namespace, "--webhook-configuration", webhooks)
	}}
}

// ServingCertificate runs `spire-injector serving-cert`, built from the working tree, with further arguments.
func ServingCertificate(ctx context.Context, env environment.Environment, progress io.Writer, args ...string) error {
	cache, err := parts.UserCache()
	if err != nil {
		return err
	}
	program, err := parts.BuildOwn(ctx, cache, "./cmd/spire-injector", progress)
	if err != nil {
		return err
	}
	_, err = command.NewInjector(program, env.Kubeconfig).Run(ctx, append([]string{"serving-cert"}, args...)...)
	return err
}

// takesCertificate says whether an injector presents what `spire-injector serving-cert` makes: its arguments name no
// other source.
func takesCertificate(objects []unstructured.Unstructured) (bool, error) {
	for _, object := range objects {
		if object.GetKind() != "Deployment" || object.GetName() != standard {
			continue
		}
		containers, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
		if err != nil {
			return false, err
		}
		return !strings.Contains(fmt.Sprint(containers), "--serving-cert-"), nil
	}
	return false, nil
}
