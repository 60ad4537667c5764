package main

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// suffixModules ends the name of a program's bill of materials, as CycloneDX names them.
const suffixModules = ".cdx.json"

// listModules writes beside each program what it is made of.
func (r release) listModules(_ context.Context, stage string) error {
	for _, p := range platforms() {
		file := filepath.Join(stage, p.file())
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			return err
		}
		sum, err := parts.FileSum(file)
		if err != nil {
			return err
		}
		bom, err := billOf(info, r.source, p, sum)
		if err != nil {
			return fmt.Errorf("%s: %w", p.file(), err)
		}
		if err := writeBill(file+suffixModules, bom); err != nil {
			return err
		}
	}
	return nil
}

func writeBill(path string, bom *cyclonedx.BOM) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = cyclonedx.NewBOMEncoder(f, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
	return errors.Join(err, f.Close())
}

// billOf is the bill of materials of a program with that checksum: every module whose code is in it, and Go's own
// library.
func billOf(info *debug.BuildInfo, s source, p platform, sum string) (*cyclonedx.BOM, error) {
	id := identity{path: info.Main.Path, version: s.version}
	app := id.component(cyclonedx.ComponentTypeApplication)
	app.Name = program
	app.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: sum}}
	app.Properties = &[]cyclonedx.Property{{Name: "platform", Value: p.String()}, {Name: "commit", Value: s.commit}}
	standard := identity{path: "std", version: strings.TrimPrefix(info.GoVersion, "go")}
	components := []cyclonedx.Component{standard.component(cyclonedx.ComponentTypeLibrary)}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		component := identity{path: module.Path, version: module.Version}.component(cyclonedx.ComponentTypeLibrary)
		hash, err := hashOf(module.Sum)
		if err != nil {
			return nil, fmt.Errorf("module %s %s: %w", module.Path, module.Version, err)
		}
		component.Hashes = &[]cyclonedx.Hash{hash}
		components = append(components, component)
	}
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Timestamp: s.time.UTC().Format("2006-01-02T15:04:05Z"), Component: &app}
	bom.Components = &components
	return bom, nil
}

// identity is a module in a version.
type identity struct{ path, version string }

func (i identity) component(kind cyclonedx.ComponentType) cyclonedx.Component {
	folder, last := path.Split(i.path)
	url := packageurl.NewPackageURL(packageurl.TypeGolang, strings.TrimSuffix(folder, "/"), last, i.version, nil, "").ToString()
	return cyclonedx.Component{BOMRef: url, Type: kind, Name: i.path, Version: i.version, PackageURL: url}
}

// hashOf is a sum of go.sum as CycloneDX writes hashes: the SHA-256 of the sums of the module's files.
func hashOf(sum string) (cyclonedx.Hash, error) {
	encoded, ok := strings.CutPrefix(sum, "h1:")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || !ok || len(raw) != sha256.Size {
		return cyclonedx.Hash{}, fmt.Errorf("sum %q: expected h1: and a SHA-256 in Base64", sum)
	}
	return cyclonedx.Hash{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(raw)}, nil
}
