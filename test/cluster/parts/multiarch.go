package parts

import "runtime"

// multiarch is the name of the folders below /lib where Debian keeps this architecture's libraries.
func multiarch() string {
	switch runtime.GOARCH {
	case "arm64":
		return "aarch64-linux-gnu"
	default:
		return "x86_64-linux-gnu"
	}
}
