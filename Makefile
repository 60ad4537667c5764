# `make help` lists the targets.

# One compilation serves tests, images and commands; none of them needs cgo.
export CGO_ENABLED := 0

# What is written to a file as well fails as it would without.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

# Tools that are built from test/tools live in the user's cache, keyed by what pins them.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/spire-injector
LINT  := $(CACHE)/lint-$(shell cksum < test/tools/lint/go.sum | cut -d' ' -f1)

# All packages but those that need a cluster, which `make e2e` tests.
UNIT = $$(go list ./... | grep -v -e /test/e2e -e /test/demo/systems -e /test/cluster/lifecycle)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9%-]+:.*## / { sub("%", "NAME", $$1); printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Start a cluster and play the demo of three pods and mutual TLS
	@go run ./test/demo

.PHONY: demo-down
demo-down: ## Remove the demo that is on the cluster, and its platform
	@go run ./test/demo --down

.PHONY: demo-all
demo-all: ## Play all demos in turn and report how long each took
	@go run ./test/demo --all

demo-%: ## Play the demo NAME (`go run ./test/demo --help` lists them); make demo-NAME-down removes it
	@go run ./test/demo $*

demo-%-down:
	@go run ./test/demo --down $*

.PHONY: test
test: lint unit e2e ## Run every test

# Many tests wait for Envoy and SPIRE, so more packages and tests run at once than there are processors. What debuggers read
# is left out: linking takes a third of the time without it.
.PHONY: unit
unit: ## Run the tests that need no cluster (real Envoy included)
	go test -timeout 45m -p 4 -parallel 8 -ldflags '-s -w' $(UNIT)

# Lanes run parts of two packages' tests, each on a cluster of its own. The programs are linked once, for all of them,
# and collect garbage seldom: memory is what there is enough of. What failed tests keep is in bin/_artifacts, and what a lane
# wrote in a file beside it: lines of one lane stand between those of another.
LANE = cd $(1) && GOGC=400 $(2) $(CURDIR)/bin/$(notdir $(1)).test -test.v -test.timeout 50m -test.parallel 4 \
	-test.artifacts -test.outputdir $(CURDIR)/bin $(3) 2>&1 | tee $(CURDIR)/bin/$@.log

.PHONY: e2e-programs
e2e-programs:
	go test -c -ldflags '-s -w' -o bin/ ./test/e2e ./test/demo/systems

# The longest disruptive tests have a lane of their own.
APART := ^TestDisruptive(BesideControllerManager|Churn|DatabaseAndServersKilled)$$

# They need two nodes, one of them IPv6 too; the last has a node leave the cluster.
TWO := ^TestDisruptive(DualStack|NodesOfTheInjector|TwoNodes)$$

# The demos with several SPIRE servers, and what Helm installs, are about as long as all the others.
LARGE := ^TestDemos$$/^(nested|federated|oidc|charts)$$|^TestCharts

# The longest come first, so that processors have work to the end.
LANES = e2e-disruptive e2e-demos e2e-apart e2e-shared e2e-large $(if $(KUBECONFIG),,e2e-nodes) e2e-lifecycle

# So many at a time, each on its own cluster, unless KUBECONFIG names one for all. They wait most of the time, but more than
# two on two slow processors have leaders lose their leases and probes fail. With fast ones it is quicker by four.
LANES_AT_ONCE := 2

.PHONY: e2e
e2e: ## Run the end-to-end tests and the demos on real clusters (LANES_AT_ONCE=4 on a fast machine)
	@rm -f bin/e2e-*.log
	@$(MAKE) --no-print-directory -k $(if $(KUBECONFIG),,-j$(LANES_AT_ONCE)) $(LANES) || \
		{ go run ./test/failures bin/e2e-*.log; exit 1; }

# The cluster and the platform that stand are used again; only changed images are loaded.
.PHONY: e2e-one
e2e-one: ## Run one end-to-end test on the cluster that stands, or a new one: TEST=TestProbes
	$(if $(TEST),,$(error TEST names the test, such as TEST=TestProbes or TEST=TestProbes/readiness))
	go test -count=1 -timeout 30m -v -run '^$(subst /,$$/,$(TEST))$(if $(findstring /,$(TEST)),,$$)' ./test/e2e

.PHONY: e2e-demos
e2e-demos: e2e-programs
	$(call LANE,test/demo/systems,,-test.skip '$(LARGE)')

.PHONY: e2e-large
e2e-large: e2e-programs
	$(call LANE,test/demo/systems,CLUSTER=large,-test.run '$(LARGE)')
	$(if $(KUBECONFIG),,@go run ./test/cluster down --name large)

.PHONY: e2e-shared
e2e-shared: e2e-programs
	$(call LANE,test/e2e,,-test.skip '^TestDisruptive')

# Those that take SPIRE, the injector or the API server away from all others run one after the other.
.PHONY: e2e-disruptive
e2e-disruptive: e2e-programs
	$(call LANE,test/e2e,CLUSTER=disruptive,-test.run '^TestDisruptive' -test.skip '$(APART)|$(TWO)')
	$(if $(KUBECONFIG),,@go run ./test/cluster down --name disruptive)

.PHONY: e2e-apart
e2e-apart: e2e-programs
	$(call LANE,test/e2e,CLUSTER=apart,-test.run '$(APART)')
	$(if $(KUBECONFIG),,@go run ./test/cluster down --name apart)

.PHONY: e2e-nodes
e2e-nodes: e2e-programs
	$(call LANE,test/e2e,CLUSTER=two NODES=2 DUAL_STACK=true,-test.run '$(TWO)')
	@go run ./test/cluster down --name two

# It starts and stops bare clusters of its own, which wait more than they compute.
.PHONY: e2e-lifecycle
e2e-lifecycle: e2e-programs
	go test -count=1 -v -timeout 20m ./test/cluster/lifecycle 2>&1 | tee bin/$@.log

.PHONY: bench
bench: ## Measure and print figures, with the machine they were taken on
	@go run ./test/bench

.PHONY: cluster-up
cluster-up: ## Start a real cluster on this machine and print its kubeconfig
	@go run ./test/cluster up

.PHONY: cluster-down
cluster-down: ## Stop that cluster; only the cache stays
	@go run ./test/cluster down

FUZZTIME := 1m

.PHONY: fuzz
fuzz: ## Fuzz every parser and the whole admission, FUZZTIME=1m each
	@for package in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "== $$package $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 2s $$package || exit 1; \
		done; \
	done

.PHONY: build
build: ## Build the command into bin/
	go build -trimpath -o bin/ ./cmd/spire-injector

.PHONY: release
release: ## Write a version's published files into dist/ (VERSION=v1.2.3 IMAGE=registry.example.org/team/spire-injector)
	@go run ./test/release $(if $(VERSION),--version $(VERSION)) $(if $(IMAGE),--image $(IMAGE))

.PHONY: lint
lint: $(LINT)/golangci-lint ## Check style, mistakes and imports between packages
	$(LINT)/golangci-lint run ./...

.PHONY: vuln
vuln: $(LINT)/govulncheck ## Look for known vulnerabilities (asks the Go vulnerability database; GOVULNDB names another)
	$(LINT)/govulncheck $(if $(GOVULNDB),-db $(GOVULNDB)) ./...

# Every package whose tests have the flag -update; what starts a server compares and writes nothing.
GOLDEN = $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -n1 dirname | sort -u)

.PHONY: golden
golden: ## Rewrite golden files and the generated reference from what the code does now
	go test -skip 'APIServer|Envoy' $(GOLDEN) -update

$(LINT)/golangci-lint $(LINT)/govulncheck:
	@echo "building $(notdir $@), once; it takes some minutes" >&2
	@mkdir -p $(LINT)
	@go -C test/tools/lint build -o $@ $(if $(findstring govulncheck,$@),golang.org/x/vuln/cmd/govulncheck,github.com/golangci/golangci-lint/v2/cmd/golangci-lint)
