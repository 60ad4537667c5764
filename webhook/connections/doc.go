// Package connections serves HTTP so that who holds connections open, or is slow on them, takes a bounded amount of
// memory and shuts nobody else out: the webhook by [Server], and what is asked of a replica by [Listen].
package connections
