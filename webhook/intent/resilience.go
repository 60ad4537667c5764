package intent

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// resilienceItem is what an item of the upstreams annotation says of peers that are slow, fail or are gone.
type resilienceItem struct {
	Timeout          *string         `json:"timeout"`
	ConnectTimeout   *string         `json:"connectTimeout"`
	IdleTimeout      *string         `json:"idleTimeout"`
	Retries          json.RawMessage `json:"retries"`          // a [retriesItem]
	OutlierDetection json.RawMessage `json:"outlierDetection"` // an [outliersItem]
	MaxConnections   *int            `json:"maxConnections"`
}

type retriesItem struct {
	Attempts      *int      `json:"attempts"`
	RetryOn       *[]string `json:"retryOn"`
	PerTryTimeout *string   `json:"perTryTimeout"`
}

// outliersItem leaves out what is as in [ir.DefaultOutlierDetection].
type outliersItem struct {
	ConsecutiveErrors  *int    `json:"consecutiveErrors"`
	Interval           *string `json:"interval"`
	EjectionTime       *string `json:"ejectionTime"`
	MaxEjectionPercent *int    `json:"maxEjectionPercent"`
}

// sentAttempts is how often what may have been sent is tried again, unless a number is written. Each is load for a peer
// that may have too much of it.
const sentAttempts = 2

// read reads the item. Its bounds, and what fits the protocol, are rules of the model.
func (item resilienceItem) read(f *fieldErrors) ir.Resilience {
	return ir.Resilience{
		Timeout:        f.time(".timeout", item.Timeout, 0),
		ConnectTimeout: f.time(".connectTimeout", item.ConnectTimeout, 0),
		IdleTimeout:    f.time(".idleTimeout", item.IdleTimeout, 0),
		Retries:        readRetries(f, item.Retries),
		Outliers:       readOutliers(f, item.OutlierDetection),
		MaxConnections: f.count(".maxConnections", item.MaxConnections, ir.MaxUpstreamConnections, 0),
	}
}

func readRetries(f *fieldErrors, written json.RawMessage) ir.Retries {
	var item retriesItem
	if written == nil {
		return ir.Retries{}
	}
	if err := decodeObject(written, "{attempts: 2, retryOn: [gateway-error]}", &item); err != nil {
		if strings.Contains(err.Error(), `unknown field "true"`) {
			err = fmt.Errorf("%w: YAML reads the key on as true, write retryOn", err)
		}
		f.add(".retries", err)
		return ir.Retries{}
	}
	retries := ir.Retries{PerTryTimeout: f.time(".retries.perTryTimeout", item.PerTryTimeout, 0)}
	if item == (retriesItem{}) {
		f.add(".retries", errors.New("expected attempts, retryOn or both, such as {attempts: 2, retryOn: [gateway-error]}, got neither"))
	}
	if item.RetryOn != nil {
		retries.On, retries.Attempts = readConditions(f, *item.RetryOn), sentAttempts
	}
	if item.Attempts != nil {
		retries.Attempts, retries.Off = *item.Attempts, *item.Attempts == 0
	}
	return retries
}

// readConditions leaves out what it tells.
func readConditions(f *fieldErrors, written []string) []string {
	known := ir.RetryConditions()
	if len(written) == 0 {
		f.add(".retries.retryOn", errors.New("expected at least one condition, got an empty list; without it what was never sent is tried again"))
	}
	var out []string
	for _, on := range written {
		if expectOneOf(on, known...) == nil {
			out = append(out, on)
			continue
		}
		err := fmt.Errorf("expected conditions among %s, got %q", strings.Join(known, ", "), on)
		f.add(".retries.retryOn", withHint(err, on, known...))
	}
	return out
}

func readOutliers(f *fieldErrors, written json.RawMessage) ir.OutlierDetection {
	var item outliersItem
	if written == nil {
		return ir.OutlierDetection{}
	}
	if err := decodeObject(written, "{consecutiveErrors: 5, ejectionTime: 30s}", &item); err != nil {
		f.add(".outlierDetection", err)
		return ir.OutlierDetection{}
	}
	o := ir.DefaultOutlierDetection()
	const path = ".outlierDetection."
	o.ConsecutiveErrors = f.count(path+"consecutiveErrors", item.ConsecutiveErrors, ir.MaxConsecutiveErrors, o.ConsecutiveErrors)
	o.Interval = f.time(path+"interval", item.Interval, o.Interval)
	o.EjectionTime = f.time(path+"ejectionTime", item.EjectionTime, o.EjectionTime)
	o.MaxEjectionPercent = f.count(path+"maxEjectionPercent", item.MaxEjectionPercent, 100, o.MaxEjectionPercent)
	return o
}

// time reads a duration that may be left out. Zero would be none, which is what leaving it out says.
func (f *fieldErrors) time(field string, written *string, otherwise time.Duration) time.Duration {
	if written == nil {
		return otherwise
	}
	d, err := time.ParseDuration(*written)
	if err != nil || d == 0 {
		f.add(field, fmt.Errorf("expected a duration such as 30s, from %s to %s, got %q", ir.MinUpstreamTime, ir.MaxUpstreamTime, *written))
		return otherwise
	}
	return d
}

// count reads a number that may be left out.
func (f *fieldErrors) count(field string, written *int, most int, otherwise uint32) uint32 {
	if written == nil {
		return otherwise
	}
	if *written < 1 || *written > most {
		f.add(field, fmt.Errorf("expected 1 to %d, got %d", most, *written))
		return otherwise
	}
	return uint32(*written) //nolint:gosec // it has just been bounded
}
