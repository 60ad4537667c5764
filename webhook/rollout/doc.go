// Package rollout carries a changed namespace, platform file or template version to running pods: a few at a time,
// one before all others, and no further once an Envoy refuses it.
package rollout
