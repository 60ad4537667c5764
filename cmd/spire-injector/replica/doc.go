// Package replica is what one running injector is to those around it, whatever it does: when it is ready, how it
// shuts down, what it measures of itself and of its calls to SPIRE, and how it makes events.
package replica
