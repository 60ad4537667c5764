// Package charts compares what the Helm charts in manifests/charts make with what the kustomizations make.
package charts
