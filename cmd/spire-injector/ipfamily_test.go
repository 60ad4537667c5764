package main

import (
	"testing"

	"github.com/spire-injector/spire-injector/templates/ir"
)

func TestPodIPFamily(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]ir.IPFamily{
		"":                 ir.IPv4,
		"10.0.0.7":         ir.IPv4,
		"fd00::7":          ir.IPv6,
		"10.0.0.7,fd00::7": ir.DualStack,
		"fd00::7,10.0.0.7": ir.DualStack,
	} {
		if got, err := podIPFamily(list); err != nil || got != want {
			t.Errorf("%q: expected %s, got %s, %v", list, want, got, err)
		}
	}
	if _, err := podIPFamily("10.0.0.7, fd00::7"); err == nil {
		t.Error("expected an error of what is no list of addresses")
	}
}
