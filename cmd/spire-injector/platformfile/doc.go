// Package platformfile keeps a running injector at its platform file: it reads the file, watches it, or the ConfigMap
// that it is mounted from, and takes a change over whole or not at all.
package platformfile
