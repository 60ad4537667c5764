package templates

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// One pattern matches what the patterns of the prefixes, one by one, match together.
func TestAnyOf(t *testing.T) {
	for name, test := range map[string]struct {
		prefixes []string
		want     string
	}{
		"one":           {[]string{"server.live"}, `server\.live.*`},
		"wildcard":      {[]string{"cluster.app_*.up"}, `cluster\.app_[^.]*\.up.*`},
		"twice":         {[]string{"a.b", "a.b"}, `a\.b.*`},
		"empty":         {[]string{""}, `.*`},
		"alike ends":    {[]string{"a.x.c", "a.y.c"}, `a\.(x|y)\.c.*`},
		"long begins":   {[]string{"a.x.c", "a.x.d", "b.y.z.c", "b.y.z.d"}, `(a\.x|b\.y\.z)\.(c|d).*`},
		"alike begins":  {[]string{"a.rq_total", "a.rq_time", "a.cx"}, `a\.(rq_t(otal|ime)|cx).*`},
		"one in other":  {[]string{"a.rq", "a.rq_time", "a."}, `a\.(rq(|_time)|).*`},
		"levels":        {[]string{"a.b", "a.b.c", "c"}, `(a\.(b\.c|b)|c).*`},
		"special signs": {[]string{"a+b.(", "a$b.("}, `a(\+b|\$b)\.\(.*`},
	} {
		if got := anyOf(test.prefixes); got != test.want {
			t.Errorf("%s: expected %s, got %s", name, test.want, got)
		}
	}
}

func FuzzAnyOf(f *testing.F) {
	f.Add(strings.Join(append(alwaysKept(), ir.DefaultStatistics()...), " "), "cluster.upstream_8000.upstream_rq_2xx")
	f.Add("a.b a.*.c ab.c *", "a.b.c")
	f.Add("a.* a.b*c", "a.bxc")
	f.Fuzz(func(t *testing.T, list, name string) {
		if strings.ContainsAny(list+name, "\n") {
			t.Skip()
		}
		prefixes := strings.Split(list, " ")
		want := false
		for _, prefix := range prefixes {
			want = want || regexp.MustCompile("^(?:"+segmentPattern(prefix)+")").MatchString(name)
		}
		pattern, err := regexp.Compile("^(?:" + anyOf(prefixes) + ")$")
		if err != nil {
			t.Fatal(err)
		}
		if got := pattern.MatchString(name); got != want {
			t.Errorf("%q and %q: expected %t, got %t by %s", list, name, want, got, pattern)
		}
	})
}
