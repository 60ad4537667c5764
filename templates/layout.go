package templates

import (
	"strconv"
	"strings"
)

const (
	// ReadinessPath is the path of that answer.
	ReadinessPath = "/ready"
	// AppReadinessPath is the same for the data ports and the app's ports behind them.
	AppReadinessPath = "/ready/app"
	// UpdatesPath answers on the same port how reading the changed files went, as [ParseUpdates] reads it.
	UpdatesPath = "/updates"
	// ConfigDir is where Envoy finds its files. The kubelet replaces them together, by
	// swapping a symbolic link in this directory, which is therefore what Envoy watches.
	ConfigDir = "/etc/envoy"
)

// Names of the files in [ConfigDir].
const (
	BootstrapFile     = "bootstrap.yaml"
	ListenersFile     = "listeners.yaml"
	ClustersFile      = "clusters.yaml"
	AuthorizationFile = "authorization.yaml"
	CertificateFile   = "certificate.yaml" // only where a port shows a Secret's certificate
)

// JSONFile is the name of a file in [ConfigDir] for [ir.Proxy.JSONFiles].
func JSONFile(name string) string { return strings.TrimSuffix(name, yamlSuffix) + ".json" }

const yamlSuffix = ".yaml"

// DrainSeconds is how long connections of a replaced listener may live on.
//
// When a peer list changes, the listener's old filter chain drains. With the strategy "immediate"
// every response from then on also announces the end of its connection, and a connection without
// requests is closed by the client's Envoy after [idleTimeout]. So the last request that can start on
// an old connection starts within idleTimeout of the change, and every request that lasts less
// than DrainSeconds - idleTimeout finishes. Longer ones, and streams such as web sockets, are cut
// DrainSeconds after the change, whoever they belong to: for Envoy a filter chain drains as a whole.
// A removed peer gains nothing by that time: the authorization filter refuses its requests from the
// first millisecond.
const DrainSeconds = 15

// Args is the command line of Envoy, without the program's name.
//
// logLevel is one of Envoy's (trace, debug, info, warning, error, critical, off); concurrency is the
// number of worker threads, at least 1.
func Args(logLevel string, concurrency int) []string {
	args := []string{
		"--config-path", ConfigDir + "/" + BootstrapFile,
		"--log-level", logLevel,
		"--concurrency", strconv.Itoa(max(concurrency, 1)),
		"--disable-hot-restart",
		"--drain-time-s", strconv.Itoa(DrainSeconds),
		"--drain-strategy", "immediate",
		// The default of 10 s would show a refused caller long after the refusal.
		"--file-flush-interval-msec", "200",
	}
	if logLevel == "warning" {
		// These warn at each start of what is meant: connections that nothing limits, and a field that Envoy calls work in
		// progress. A log that begins with warnings has readers look for what is wrong.
		args = append(args, "--component-log-level", "main:error,misc:error")
	}
	return args
}
