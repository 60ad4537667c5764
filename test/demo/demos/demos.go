// Package demos is the table of all demos.
package demos

import (
	"github.com/spire-injector/spire-injector/test/demo/api"
	"github.com/spire-injector/spire-injector/test/demo/charts"
	"github.com/spire-injector/spire-injector/test/demo/edge"
	"github.com/spire-injector/spire-injector/test/demo/federated"
	"github.com/spire-injector/spire-injector/test/demo/frontproxy"
	"github.com/spire-injector/spire-injector/test/demo/jwt"
	"github.com/spire-injector/spire-injector/test/demo/migrate"
	"github.com/spire-injector/spire-injector/test/demo/nested"
	"github.com/spire-injector/spire-injector/test/demo/oidc"
	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/workloads"
)

// All are the demos, in the order in which they are played.
func All() []play.Demo {
	return []play.Demo{
		api.Demo(),
		edge.Demo(),
		frontproxy.Demo(),
		migrate.Demo(),
		workloads.Demo(),
		jwt.Demo(),
		nested.Demo(),
		federated.Demo(),
		oidc.Demo(),
		charts.Demo(),
	}
}
