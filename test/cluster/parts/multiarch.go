package parts

import "runtime"

// multiarch is the name of the folders below /lib where Debian keeps this architecture's libraries.
func multiarch() string { return machine() + "-linux-gnu" }

// machine is what Debian calls this architecture in such names.
func machine() string {
	switch runtime.GOARCH {
	case "arm64":
		return "aarch64"
	default:
		return "x86_64"
	}
}
