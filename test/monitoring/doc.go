// Package monitoring reads what manifests/injector/monitoring asks of the injector's metrics, to hold it against those
// that are known and those that replicas really export.
package monitoring
