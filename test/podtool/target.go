package main

import (
	"context"
	"net"
	"net/url"
	"time"
)

// target is what the load calls.
type target struct {
	url       string
	scheme    string
	address   string // host:port
	path      string
	keepAlive bool // the connection, from one request to the next
}

// name tells a URL over new connections apart from the same one over kept ones.
func (t target) name() string {
	if t.keepAlive {
		return t.url
	}
	return t.url + " (fresh)"
}

// parseTargets refuses what would make every single request fail.
func parseTargets(kept, fresh []string) ([]target, error) {
	if len(kept)+len(fresh) == 0 {
		return nil, usagef("expected at least one URL")
	}
	var targets []target
	for n, text := range append(append([]string{}, kept...), fresh...) {
		t, err := parseTarget(text, n < len(kept))
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

func parseTarget(text string, keepAlive bool) (target, error) {
	parsed, err := url.Parse(text)
	if err != nil {
		return target{}, usagef("%w", err)
	}
	t := target{url: text, scheme: parsed.Scheme, address: parsed.Host, path: parsed.Path, keepAlive: keepAlive}
	switch parsed.Scheme {
	case "grpc":
		if t.path != "" && t.path != "/count" {
			return target{}, usagef("expected grpc://HOST:PORT or grpc://HOST:PORT/count, got %q", text)
		}
	case "tcp":
		if t.path != "" {
			return target{}, usagef("expected tcp://HOST:PORT, got %q", text)
		}
	default:
		return t, checkURL(text)
	}
	if _, _, err := net.SplitHostPort(t.address); err != nil {
		return target{}, usagef("%q: expected a host and a port: %w", text, err)
	}
	return t, nil
}

// caller sends the requests of one worker, one after another.
type caller interface {
	// call sends one request and waits for its answer, no longer than timeout.
	call(ctx context.Context, timeout time.Duration) answer
	close()
}

func (t target) newCaller() caller {
	switch t.scheme {
	case "grpc":
		return newGRPCCaller(t.address, t.path == "/count", t.keepAlive)
	case "tcp":
		return newTCPCaller(t.address, t.keepAlive)
	default:
		return newHTTPCaller(t.url, t.keepAlive)
	}
}
