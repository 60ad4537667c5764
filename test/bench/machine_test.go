package main

import "testing"

func TestFieldsOfProc(t *testing.T) {
	const cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t\t: a b\n\nprocessor\t: 1\nmodel name\t: Another\n"
	if got, want := field(cpuinfo, "model name"), "Some CPU @ 2.00GHz"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := field(cpuinfo, "name"); got != "" {
		t.Errorf("a part of a key: got %q, want nothing", got)
	}
	const status = "Name:\tenvoy\nVmRSS:\t   66560 kB\nRssAnon:\t   14336 kB\nRssFile:\tlots\n"
	for key, want := range map[string]int{"VmRSS": 66560, "RssAnon": 14336, "RssFile": 0, "RssShmem": 0} {
		if got := kibibytes(status, key); got != want {
			t.Errorf("%s: got %d, want %d", key, got, want)
		}
	}
}
