package templates

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// Whoever changes the files has to learn whether Envoy took them, without a way into the admin interface: one page of
// these statistics and nothing else, for reading alone.

const updatesName = "updates"

// updateStatistics are those of a source that are on the page. The time is that of the last update that was taken.
var updateStatistics = []string{"update_success", "update_rejected", "update_failure", "update_time"}

// updateSource is a file by the prefix of its statistics.
type updateSource struct{ file, prefix string }

func updateSources() []updateSource {
	return []updateSource{
		{
			ListenersFile,
			"listener_manager.lds.",
		}, {ClustersFile, "cluster_manager.cds."}, {AuthorizationFile, authorizationStats},
	}
}

// updatesRoute leads GET [UpdatesPath] to those statistics, whatever else stands in the request.
func updatesRoute() *routev3.Route {
	var prefixes []string
	for _, source := range updateSources() {
		prefixes = append(prefixes, strings.TrimSuffix(source.prefix, "."))
	}
	// A dot stands for itself and for any other character; no other statistic has such a name.
	filter := fmt.Sprintf("^(%s).(%s)$", strings.Join(prefixes, "|"), strings.Join(updateStatistics, "|"))
	return &routev3.Route{
		Match: anyPath(asks("GET", UpdatesPath)...),
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: updatesName},
			RegexRewrite: &matcherv3.RegexMatchAndSubstitute{
				Pattern:      &matcherv3.RegexMatcher{Regex: ".+"},
				Substitution: "/stats?format=json&filter=" + url.QueryEscape(filter),
			},
		}},
	}
}

// Updates is how reading the changed files went in an Envoy's life, by the file's name. A file that this Envoy does not
// read is not in it.
type Updates map[string]Update

// Update is how reading one file went.
type Update struct {
	Taken   uint64
	Refused uint64    // those that Envoy could not read, and those whose content it does not accept
	Last    time.Time // when a file was taken last, in milliseconds by the node's clock; zero for never
}

// ParseUpdates reads the answer to GET [UpdatesPath].
func ParseUpdates(page []byte) (Updates, error) {
	var stats struct {
		Stats []struct {
			Name  string `json:"name"`
			Value uint64 `json:"value"`
		} `json:"stats"`
	}
	if err := json.Unmarshal(page, &stats); err != nil {
		return nil, fmt.Errorf("expected Envoy's statistics in JSON: %w", err)
	}
	out := Updates{}
	for _, s := range stats.Stats {
		for _, source := range updateSources() {
			name, ok := strings.CutPrefix(s.Name, source.prefix)
			if !ok || !slices.Contains(updateStatistics, name) {
				continue
			}
			u := out[source.file]
			switch name {
			case "update_success":
				u.Taken = s.Value
			case "update_time":
				if s.Value > 0 {
					u.Last = time.UnixMilli(int64(s.Value)) //nolint:gosec // milliseconds of a clock
				}
			default:
				u.Refused += s.Value
			}
			out[source.file] = u
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("expected statistics of listeners and clusters, got %d others", len(stats.Stats))
	}
	return out, nil
}
