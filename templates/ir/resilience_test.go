package ir

import (
	"testing"
	"time"
)

// resilienceRules break each rule of [Resilience] by itself, for [TestRules].
func resilienceRules() []struct {
	code  Code
	of    func(*testing.T) Proxy
	spoil func(*Proxy)
	want  string
} {
	type row = struct {
		code  Code
		of    func(*testing.T) Proxy
		spoil func(*Proxy)
		want  string
	}
	breaks := func(code Code, r Resilience, protocol Protocol, want string) row {
		return row{code, sidecar, func(p *Proxy) {
			p.Upstreams[0].Resilience, p.Upstreams[0].Protocol = r, protocol
		}, "upstreams[0]" + want}
	}
	outliers := func(change func(*OutlierDetection)) Resilience {
		o := DefaultOutlierDetection()
		change(&o)
		return Resilience{Outliers: o}
	}
	const times = "expected whole milliseconds from 1ms to 24h0m0s, got "
	return []row{
		breaks(UpstreamTime, Resilience{Timeout: -time.Second}, HTTP, ".timeout: "+times+"-1s"),
		breaks(UpstreamTime, Resilience{ConnectTimeout: time.Microsecond}, TCP, ".connectTimeout: "+times+"1µs"),
		breaks(UpstreamTime, Resilience{IdleTimeout: 25 * time.Hour}, TCP, ".idleTimeout: "+times+"25h0m0s"),
		breaks(UpstreamTime, Resilience{Retries: Retries{Attempts: 1, On: []string{"5xx"}, PerTryTimeout: 1500 * time.Microsecond}},
			HTTP, ".retries.perTryTimeout: "+times+"1.5ms"),
		breaks(RequestsWithTCP, Resilience{Timeout: time.Second}, TCP,
			".timeout: has no effect with protocol tcp, which has no requests: remove it"),
		breaks(RequestsWithTCP, Resilience{Retries: Retries{Attempts: 1, On: []string{"5xx"}}}, TCP,
			".retries: expected attempts alone with protocol tcp, which has no requests: remove retryOn and perTryTimeout"),
		breaks(RequestsWithTCP, Resilience{Retries: Retries{Attempts: 1, PerTryTimeout: time.Second}}, TCP,
			".retries: expected attempts alone with protocol tcp, which has no requests: remove retryOn and perTryTimeout"),
		breaks(UpstreamConnections, Resilience{MaxConnections: 1_000_001}, HTTP,
			".maxConnections: expected 1 to 1000000 connections, got 1000001"),
		breaks(RetryAttempts, Resilience{Retries: Retries{Attempts: 11}}, HTTP, ".retries.attempts: expected 0 to 10 attempts, got 11"),
		breaks(RetryAttempts, Resilience{Retries: Retries{Attempts: -1}}, TCP, ".retries.attempts: expected 0 to 10 attempts, got -1"),
		breaks(RetriesOff, Resilience{Retries: Retries{Off: true, On: []string{"5xx"}}}, HTTP,
			".retries: nothing is tried again with attempts: 0: remove retryOn and perTryTimeout, or write 1 or more"),
		breaks(RetryCondition, Resilience{Retries: Retries{Attempts: 1, On: []string{"5xx", "503"}}}, HTTP,
			".retries.retryOn: expected conditions among connect-failure, refused-stream, 5xx, gateway-error, reset, retriable-4xx, "+
				`cancelled, deadline-exceeded, internal, resource-exhausted, unavailable, got "503"`),
		breaks(RetryCondition, Resilience{Retries: Retries{Attempts: 1, On: []string{"reset", "5xx", "reset"}}}, HTTP,
			`.retries.retryOn: expected each condition once, got "reset" twice`),
		breaks(ConditionOfGRPC, Resilience{Retries: Retries{Attempts: 1, On: []string{"unavailable"}}}, HTTP,
			".retries.retryOn: expected protocol grpc or http2 with a condition of gRPC, got http"),
		breaks(TryTimeout, Resilience{Retries: Retries{Attempts: 1, PerTryTimeout: time.Second}}, HTTP,
			".retries.perTryTimeout: expected one of 5xx, gateway-error, reset in retryOn, without which no try that took too long is tried again"),
		breaks(TryTimeout, Resilience{
			Timeout: time.Second,
			Retries: Retries{Attempts: 1, On: []string{"5xx"}, PerTryTimeout: time.Second},
		}, HTTP, ".retries.perTryTimeout: expected less than timeout, which is 1s, got 1s"),
		breaks(OutlierBounds, outliers(func(o *OutlierDetection) { o.ConsecutiveErrors = 1001 }), HTTP,
			".outlierDetection.consecutiveErrors: expected 1 to 1000, got 1001"),
		breaks(OutlierBounds, outliers(func(o *OutlierDetection) { o.MaxEjectionPercent = 0 }), HTTP,
			".outlierDetection.maxEjectionPercent: expected 1 to 100, got 0"),
		breaks(OutlierBounds, outliers(func(o *OutlierDetection) { o.Interval = 0 }), TCP, ".outlierDetection.interval: "+times+"0s"),
		breaks(OutlierBounds, outliers(func(o *OutlierDetection) { o.EjectionTime = -1 }), TCP, ".outlierDetection.ejectionTime: "+times+"-1ns"),
	}
}

// TestResilience is what may be said of each protocol.
func TestResilience(t *testing.T) {
	outliers := DefaultOutlierDetection()
	all := Resilience{
		Timeout: time.Minute, ConnectTimeout: time.Second, IdleTimeout: time.Hour, Outliers: outliers, MaxConnections: 1,
		Retries: Retries{Attempts: MaxRetryAttempts, On: RetryConditions(), PerTryTimeout: time.Second},
	}
	ofTCP := Resilience{ConnectTimeout: time.Second, IdleTimeout: time.Hour, Outliers: outliers, MaxConnections: 1, Retries: Retries{Off: true}}
	for _, test := range []struct {
		of       func(*testing.T) Proxy
		protocol Protocol
		says     Resilience
	}{{sidecar, GRPC, all}, {gateway, HTTP2, all}, {sidecar, TCP, ofTCP}, {sidecar, HTTP, Resilience{Retries: Retries{Off: true}}}} {
		p := test.of(t)
		p.Upstreams[0].Protocol, p.Upstreams[0].Resilience = test.protocol, test.says
		if problems := p.Validate(); len(problems) > 0 {
			t.Errorf("%s: %v", test.protocol, problems)
		}
	}
}
