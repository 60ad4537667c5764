package ir

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// resilienceChecks are the rules of what an upstream says about peers that are slow, fail or are gone.
func resilienceChecks() []upstreamCheck {
	duration := func(field string, of func(Resilience) time.Duration) upstreamCheck {
		return upstreamCheck{field, UpstreamTime, func(_ Proxy, up Upstream) string { return wrongTime(of(up.Resilience)) }}
	}
	return []upstreamCheck{
		duration(".timeout", func(r Resilience) time.Duration { return r.Timeout }),
		duration(".connectTimeout", func(r Resilience) time.Duration { return r.ConnectTimeout }),
		duration(".idleTimeout", func(r Resilience) time.Duration { return r.IdleTimeout }),
		duration(".retries.perTryTimeout", func(r Resilience) time.Duration { return r.Retries.PerTryTimeout }),
		{".timeout", RequestsWithTCP, func(_ Proxy, up Upstream) string {
			return unless(up.Resilience.Timeout == 0 || up.Protocol != TCP, noRequestsInTCP)
		}},
		{".retries", RequestsWithTCP, func(_ Proxy, up Upstream) string {
			r := up.Resilience.Retries
			return unless(len(r.On) == 0 && r.PerTryTimeout == 0 || up.Protocol != TCP,
				"expected attempts alone with protocol tcp, which has no requests: remove retryOn and perTryTimeout")
		}},
		{".maxConnections", UpstreamConnections, func(_ Proxy, up Upstream) string {
			n := up.Resilience.MaxConnections
			return unless(n <= MaxUpstreamConnections, "expected 1 to %d connections, got %d", MaxUpstreamConnections, n)
		}},
		{".retries.attempts", RetryAttempts, func(_ Proxy, up Upstream) string {
			n := up.Resilience.Retries.Attempts
			return unless(n >= 0 && n <= MaxRetryAttempts, "expected 0 to %d attempts, got %d", MaxRetryAttempts, n)
		}},
		{".retries", RetriesOff, func(_ Proxy, up Upstream) string {
			r := up.Resilience.Retries
			return unless(!r.Off || r.Attempts == 0 && len(r.On) == 0 && r.PerTryTimeout == 0,
				"nothing is tried again with attempts: 0: remove retryOn and perTryTimeout, or write 1 or more")
		}},
		{".retries.retryOn", RetryCondition, wrongCondition},
		{".retries.retryOn", ConditionOfGRPC, conditionOfGRPC},
		{".retries.perTryTimeout", TryTimeout, wrongTryTimeout},
		outlierNumber("consecutiveErrors", MaxConsecutiveErrors, func(o OutlierDetection) uint32 { return o.ConsecutiveErrors }),
		outlierNumber("maxEjectionPercent", 100, func(o OutlierDetection) uint32 { return o.MaxEjectionPercent }),
		outlierTime("interval", func(o OutlierDetection) time.Duration { return o.Interval }),
		outlierTime("ejectionTime", func(o OutlierDetection) time.Duration { return o.EjectionTime }),
	}
}

func outlierNumber(field string, most uint32, of func(OutlierDetection) uint32) upstreamCheck {
	return outlierCheck(field, func(o OutlierDetection) string {
		return unless(of(o) >= 1 && of(o) <= most, "expected 1 to %d, got %d", most, of(o))
	})
}

func outlierTime(field string, of func(OutlierDetection) time.Duration) upstreamCheck {
	return outlierCheck(field, func(o OutlierDetection) string {
		if of(o) == 0 {
			return fmt.Sprintf("expected whole milliseconds from %s to %s, got 0s", MinUpstreamTime, MaxUpstreamTime)
		}
		return wrongTime(of(o))
	})
}

func outlierCheck(field string, check func(OutlierDetection) string) upstreamCheck {
	return upstreamCheck{".outlierDetection." + field, OutlierBounds, func(_ Proxy, up Upstream) string {
		if up.Resilience.Outliers == (OutlierDetection{}) {
			return ""
		}
		return check(up.Resilience.Outliers)
	}}
}

const noRequestsInTCP = "has no effect with protocol tcp, which has no requests: remove it"

func wrongTime(d time.Duration) string {
	return unless(d == 0 || d >= MinUpstreamTime && d <= MaxUpstreamTime && d%MinUpstreamTime == 0,
		"expected whole milliseconds from %s to %s, got %s", MinUpstreamTime, MaxUpstreamTime, d)
}

func wrongCondition(_ Proxy, up Upstream) string {
	known := RetryConditions()
	for i, on := range up.Resilience.Retries.On {
		if !slices.Contains(known, on) {
			return fmt.Sprintf("expected conditions among %s, got %q", strings.Join(known, ", "), on)
		}
		if slices.Contains(up.Resilience.Retries.On[:i], on) {
			return fmt.Sprintf("expected each condition once, got %q twice", on)
		}
	}
	return ""
}

func conditionOfGRPC(_ Proxy, up Upstream) string {
	if up.Protocol.IsHTTP2() || up.Protocol == TCP {
		return ""
	}
	on := up.Resilience.Retries.On
	i := slices.IndexFunc(on, func(s string) bool { return slices.Contains(grpcConditions[:], s) })
	return unless(i < 0, "expected protocol grpc or http2 with a condition of gRPC, got %s", up.Protocol)
}

// wrongTryTimeout finds a bound of a try that would end the request, or that another one makes useless.
func wrongTryTimeout(_ Proxy, up Upstream) string {
	r := up.Resilience.Retries
	switch total := up.Resilience.Timeout; {
	case r.PerTryTimeout == 0 || up.Protocol == TCP || r.Off:
		return ""
	case total != 0 && r.PerTryTimeout >= total:
		return fmt.Sprintf("expected less than timeout, which is %s, got %s", total, r.PerTryTimeout)
	case !slices.ContainsFunc(r.On, func(s string) bool { return slices.Contains(resetConditions[:], s) }):
		return fmt.Sprintf("expected one of %s in retryOn, without which no try that took too long is tried again",
			strings.Join(resetConditions[:], ", "))
	}
	return ""
}
