package intent

import (
	"strings"
	"testing"
)

func TestLengthOfTrustDomains(t *testing.T) {
	longest := strings.Repeat("a", maxTrustDomain)
	for name, want := range map[string]string{
		longest: "", longest + "a": "expected a trust domain of at most 255 bytes such as auxiliary.org, got 256",
	} {
		_, err := ParsePlatform([]byte(strings.Replace(platformText, "example.org", name, 1)))
		wantErrorWith(t, err, strings.Replace(want, "auxiliary.org", "example.org", 1))
		_, errs := parseFederated(platform(t).Cluster.TrustDomain, []string{name})
		var foreign error
		if len(errs) > 0 {
			foreign = errs[0]
		}
		wantErrorWith(t, foreign, want)
	}
}
