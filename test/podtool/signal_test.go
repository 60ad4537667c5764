package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestProcessesOf(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	for pid, files := range map[string][2]string{
		"11": {"/spire-injector\x00serve\x00", "12:pids:/kubepods/podaaa/111\n0::/kubepods/podaaa/111\n"},
		"12": {"/spire-injector\x00serve\x00", "0::/../../podbbb/222\n"}, // as another control group's namespace shows it
		"13": {"/usr/local/bin/envoy\x00", "0::/kubepods/podaaa/333\n"},
		"14": {"/spire-injector\x00", ""},
	} {
		folder := filepath.Join(proc, pid)
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		for i, name := range []string{"cmdline", "cgroup"} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(files[i]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Remove(filepath.Join(proc, "14", "cgroup")); err != nil { // it has just ended
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, program, cgroup string
		want                  []int
	}{
		{"of all replicas", "spire-injector", "", []int{11, 12, 14}},
		{"of a pod", "spire-injector", "podbbb", []int{12}},
		{"of a container", "spire-injector", "111", []int{11}},
		{"of a pod where the program is not", "spire-injector", "333", nil},
		{"another program of the pod", "envoy", "podaaa", []int{13}},
	} {
		got, err := processesOf(proc, test.program, test.cgroup)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}
