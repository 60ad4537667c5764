// Package connections serves the webhook so that who holds connections open, or is slow on them, takes a bounded amount
// of memory and shuts nobody else out.
package connections
