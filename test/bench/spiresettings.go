package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/standalone"
)

// spireSettings are those of the blocks `experimental` of SPIRE's server and agents by which entries reach agents.
type spireSettings struct {
	server, agent standalone.Object
	// slowest is the longest time between two looks of either.
	slowest time.Duration
}

// The settings' names.
const (
	reloadSetting = "cache_reload_interval"
	eventsSetting = "events_based_cache"
	fullSetting   = "full_cache_reload_interval"
	syncSetting   = "sync_interval"
)

// everyInterval is that both look at one interval.
func everyInterval(d time.Duration) spireSettings {
	return spireSettings{
		server:  standalone.Object{reloadSetting: d.String()},
		agent:   standalone.Object{syncSetting: d.String()},
		slowest: d,
	}
}

// settingsOfManifests are those of manifests/spire.
func settingsOfManifests() (s spireSettings, err error) {
	root, err := parts.Root()
	if err != nil {
		return s, err
	}
	base := filepath.Join(root, "manifests", "spire", "base")
	var reload, sync time.Duration
	s.server, reload, err = settingsIn(filepath.Join(base, "server.conf"), reloadSetting)
	if err != nil {
		return s, err
	}
	s.agent, sync, err = settingsIn(filepath.Join(base, "agent.conf"), syncSetting)
	s.slowest = max(reload, sync)
	return s, err
}

// settingLine is one setting in a line of its own, with or without quotes.
var settingLine = regexp.MustCompile(`(?m)^\s*(` +
	strings.Join([]string{reloadSetting, eventsSetting, fullSetting, syncSetting}, "|") + `)\s*=\s*"?([^"\s]+)"?\s*$`)

// settingsIn are those that a file has, and the time of one that it has to have.
func settingsIn(file, interval string) (standalone.Object, time.Duration, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, 0, err
	}
	found := standalone.Object{}
	var every time.Duration
	var errs []error
	for _, match := range settingLine.FindAllStringSubmatch(string(text), -1) {
		name, value := match[1], match[2]
		var err error
		switch name {
		case eventsSetting:
			found[name], err = strconv.ParseBool(value)
		case interval:
			found[name] = value
			every, err = time.ParseDuration(value)
		default:
			found[name] = value
		}
		errs = append(errs, err)
	}
	if every <= 0 {
		errs = append(errs, fmt.Errorf("%s: expected a time as %s", file, interval))
	}
	return found, every, errors.Join(errs...)
}
