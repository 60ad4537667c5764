// Package files runs real programs on the files that the program of mode files keeps by a real SPIRE agent.
package files
