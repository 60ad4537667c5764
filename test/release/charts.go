package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// writeCharts packages each of the charts under the release's version. Helm would do it too, but with the time of day
// in it.
func (r release) writeCharts(_ context.Context, stage string) error {
	files, err := filepath.Glob(filepath.Join(r.root, "manifests", "charts", "*", "Chart.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		folder := filepath.Dir(file)
		content, err := filesOf(folder)
		if err != nil {
			return err
		}
		if err := r.stamp(content); err != nil {
			return fmt.Errorf("chart %s: %w", filepath.Base(folder), err)
		}
		target := filepath.Join(stage, filepath.Base(folder)+"-"+r.chartVersion()+".tgz")
		if err := writePackage(target, filepath.Base(folder), content); err != nil {
			return fmt.Errorf("chart %s: %w", filepath.Base(folder), err)
		}
	}
	return nil
}

// chartVersion is without the v, as Helm's versions are.
func (r release) chartVersion() string { return strings.TrimPrefix(r.source.version, "v") }

// chartFile is one file of a chart, its path as in the chart.
type chartFile struct {
	path string
	data []byte
}

// filesOf are a folder's files, in order. Links are followed: a chart has the files of kustomizations in it.
func filesOf(folder string) ([]chartFile, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var files []chartFile
	for _, e := range entries {
		at := filepath.Join(folder, e.Name())
		info, err := os.Stat(at)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			data, err := os.ReadFile(at)
			if err != nil {
				return nil, err
			}
			files = append(files, chartFile{e.Name(), data})
			continue
		}
		below, err := filesOf(at)
		if err != nil {
			return nil, err
		}
		for _, f := range below {
			files = append(files, chartFile{path.Join(e.Name(), f.path), f.data})
		}
	}
	return files, nil
}

var (
	versionLine    = regexp.MustCompile(`(?m)^version: .*$`)
	appVersionLine = regexp.MustCompile(`(?m)^appVersion: dev( .*)?$`) // that of the injector's chart; SPIRE has its own
	repositoryLine = regexp.MustCompile(`(?m)^( +repository: )` + regexp.QuoteMeta(imageInManifests()) + `( .*)?$`)
)

// stamp writes the release's version and image into a chart.
func (r release) stamp(files []chartFile) error {
	for i, f := range files {
		switch f.path {
		case "Chart.yaml":
			data := versionLine.ReplaceAllString(string(f.data), "version: "+r.chartVersion())
			files[i].data = []byte(appVersionLine.ReplaceAllString(data, "appVersion: "+r.source.version))
			var got struct{ Version string }
			if err := yaml.Unmarshal(files[i].data, &got); err != nil || got.Version != r.chartVersion() {
				return errors.Join(err, fmt.Errorf("expected a line with its version in Chart.yaml, got %s", f.data))
			}
		case "values.yaml":
			files[i].data = repositoryLine.ReplaceAll(f.data, []byte("${1}"+r.repository()))
		}
	}
	return nil
}

// writePackage writes a chart as Helm packages it: a compressed archive of one folder.
func writePackage(target, name string, files []chartFile) error {
	f, err := os.Create(target)
	if err != nil {
		return err
	}
	err = writeArchive(f, name, files)
	return errors.Join(err, f.Close())
}

func writeArchive(w io.Writer, name string, files []chartFile) error {
	compressed := gzip.NewWriter(w)
	archive := tar.NewWriter(compressed)
	for _, f := range files {
		header := &tar.Header{Name: path.Join(name, f.path), Mode: 0o644, Size: int64(len(f.data)), ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(f.data); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), compressed.Close())
}
