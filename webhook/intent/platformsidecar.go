package intent

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const (
	maxConcurrency = 64
	rolloutInPlace = "inPlace"
)

// sidecarFields are those of sidecar: the containers that injection adds.
var sidecarFields = []platformField{
	{
		name:    "image",
		doc:     "Envoy's image: NAME:TAG, NAME@sha256:… or both",
		without: required,
		schema:  notEmptySchema,
		parse: one(func(p *Platform, image string) error {
			p.Sidecar.Image = image
			if image == "" {
				return errors.New("expected Envoy's image, got nothing")
			}
			return checkImage(image)
		}),
	},
	{
		name:    "resources",
		doc:     "resources of Envoy's container; below its memory limit, of at least 48Mi, Envoy sheds load",
		without: "none",
		schema:  resourcesSchema,
		parse:   parseSidecarResources,
	},
	{
		name:     "logLevel",
		doc:      "Envoy's log level: " + strings.Join(logLevels, ", "),
		standard: "warning",
		schema:   enumSchema(logLevels...),
		parse: one(func(p *Platform, level string) error {
			p.Sidecar.LogLevel = level
			return checkLogLevel(level)
		}),
	},
	{
		name:     "concurrency",
		doc:      fmt.Sprintf("Envoy's worker threads, 1 to %d", maxConcurrency),
		standard: "1",
		schema:   countSchema(maxConcurrency),
		parse: one(func(p *Platform, n int) error {
			p.Sidecar.Concurrency = n
			return checkConcurrency(n)
		}),
	},
	maxConnectionsField,
	{
		name:    "rollout",
		doc:     rolloutInPlace + ": a changed image reaches running pods too; only Envoy's container restarts",
		without: "new pods only",
		schema:  enumSchema(rolloutInPlace),
		parse: one(func(p *Platform, v string) error {
			p.InPlace = v == rolloutInPlace
			if v != "" && !p.InPlace {
				return fmt.Errorf("expected %q or nothing, got %q", rolloutInPlace, v)
			}
			return nil
		}),
	},
	streamsField,
	{name: "jwt", fields: jwtFields},
	{name: "capture", fields: captureFields},
	{name: "files", fields: filesFields},
	{
		name:     "metrics",
		doc:      "if present, Envoy's statistics are served to Prometheus at /stats/prometheus",
		without:  "off",
		fields:   metricsFields,
		optional: true,
	},
	{
		name:     "tracing",
		doc:      "if present, Envoy sends spans of HTTP requests to an OpenTelemetry collector; reaches running pods",
		without:  "off",
		fields:   tracingFields,
		optional: true,
	},
}

var jwtFields = []platformField{
	{
		name:    "image",
		doc:     "image of the spiffe-jwt sidecar: the injector's own; required if any pod uses jwt",
		without: "such pods are denied",
		schema:  notEmptySchema,
		parse: one(func(p *Platform, image string) error {
			p.Sidecar.JWT.Image = image
			if image == "" {
				return nil
			}
			return checkImage(image)
		}),
	},
	{
		name:    "resources",
		doc:     "resources of the spiffe-jwt sidecar",
		without: "none",
		schema:  resourcesSchema,
		parse: parseResourcesInto(func(p *Platform) *corev1.ResourceRequirements {
			return &p.Sidecar.JWT.Resources
		}),
	},
}

var metricsFields = []platformField{
	{
		name:     "port",
		doc:      "port of the statistics",
		standard: strconv.Itoa(ir.DefaultMetricsPort),
		schema:   portSchema,
		parse: one(func(p *Platform, n int) (err error) {
			p.Sidecar.Metrics.Port, err = availablePort(n)
			return err
		}),
	},
	{
		name:    "include",
		doc:     "prefixes of the names, in Envoy's spelling, of the statistics that are kept; an empty list keeps all",
		without: "traffic, refusals and certificates",
		schema:  listSchema(stringSchema),
		parse: func(p *Platform, raw json.RawMessage) []problem {
			prefixes, problems := stringItems(raw)
			if prefixes == nil { // an empty list keeps everything
				prefixes = ir.DefaultStatistics()
			}
			p.Sidecar.Metrics.Include = prefixes
			return problems
		},
	},
}

// availablePort accepts a port that the sidecar does not always have for itself.
func availablePort(n int) (uint16, error) {
	if ir.IsOwnPort(n) {
		return 0, fmt.Errorf("port %d is the sidecar's own, expected another one than %d, %d to %d", n,
			ir.AdminPort, ir.ReadinessPort, ir.DefaultMetricsPort-1)
	}
	return portNumber(n)
}

// digest is what tells one image from all others (the OCI image specification, "Digests").
var digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// checkImage finds what no container runtime takes for an image, as far as it is known here: a digest that is none has
// pods wait for ever.
func checkImage(image string) error {
	name, of, hasDigest := strings.Cut(image, "@")
	if name == "" || strings.ContainsFunc(image, unicode.IsSpace) || hasDigest && !digest.MatchString(of) {
		return fmt.Errorf(
			"expected an image such as envoy:v1.40.0, or envoy@sha256: with 64 hexadecimal digits, got %q", image)
	}
	return nil
}

func checkLogLevel(v string) error {
	if slices.Contains(logLevels, v) {
		return nil
	}
	return withHint(fmt.Errorf("expected one of %s, got %q", strings.Join(logLevels, ", "), v), v, logLevels...)
}

func checkConcurrency(n int) error {
	if n < 1 || n > maxConcurrency {
		return fmt.Errorf("expected 1 to %d worker threads, got %d", maxConcurrency, n)
	}
	return nil
}

// parseResourcesInto parses a container's resources.
func parseResourcesInto(into func(p *Platform) *corev1.ResourceRequirements) parsePlatform {
	return func(p *Platform, raw json.RawMessage) []problem {
		parsed, err := parseResources(raw)
		*into(p) = parsed
		return whole(err)
	}
}

// parseResources reads a container's resources, in YAML or JSON.
func parseResources(data []byte) (corev1.ResourceRequirements, error) {
	var resources corev1.ResourceRequirements
	return resources, decodeStrictly(data, &resources)
}
