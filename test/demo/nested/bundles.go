package nested

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// bundleLimit is how long keys may take from one server to all: nested ones ask the root every five seconds.
const bundleLimit = 30 * time.Second

// bundles is what all servers have.
type bundles struct {
	X509    int      `json:"x509Authorities"`
	JWT     []string `json:"jwtAuthorities"` // IDs
	Seconds float64  `json:"secondsUntilEqual"`
}

func tellBundles(ctx context.Context, t play.Telling) (any, error) {
	t.Story.Say("Each server signs JWTs with a key of its own and tells the root, which tells all. So there is one bundle:")
	names := []string{root, serverA.namespace, serverB.namespace}
	for _, namespace := range names {
		t.Story.Typed(scene.BundleCommand(namespace).String())
	}
	var keys []scene.Keys
	begin := time.Now()
	equal, err := scene.Poll(ctx, bundleLimit, func() (bool, error) {
		keys = nil
		for _, namespace := range names {
			k, err := t.Scene.Keys(ctx, namespace)
			if err != nil {
				return false, err
			}
			keys = append(keys, k)
		}
		return same(keys), nil
	})
	if err == nil && !equal {
		err = &scene.Mismatch{What: "bundles of " + fmt.Sprint(names), Expected: "equal keys, one of each server at least", Got: describe(keys)}
	}
	if err != nil {
		return nil, err
	}
	facts := bundles{X509: len(keys[0].X509), JWT: keys[0].IDs(), Seconds: scene.Seconds(time.Since(begin))}
	t.Story.Checked("the JWKS of all three are identical: %d root of certificates, %d keys of JWTs", facts.X509, len(facts.JWT))
	return facts, nil
}

// same says whether all servers have the same keys, with one for JWTs of each.
func same(keys []scene.Keys) bool {
	for _, k := range keys {
		if !reflect.DeepEqual(k, keys[0]) || len(k.X509) == 0 || len(k.JWT) < len(keys) {
			return false
		}
	}
	return true
}

func describe(keys []scene.Keys) string {
	text := ""
	for _, k := range keys {
		text += fmt.Sprintf("%d roots and %v; ", len(k.X509), k.IDs())
	}
	return text
}
