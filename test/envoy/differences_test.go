package envoy

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// difference is one that Envoy makes, in the words of webhook/README.md, and what it makes of what is seen without
// Envoy. Nil is what [both.stripped] leaves out, because no two runs have the same.
type difference struct {
	readme string
	make   func(seen *both, row exchange, by way)
}

// differences are all that there are.
func differences() []difference {
	return []difference{
		{"Envoy adds `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Client-Cert` and, if there is none, `X-Request-Id`", nil},
		{"an answer without `Date` gets one", nil},
		{"An `Upgrade` to anything but a web socket is ignored", func(seen *both, _ exchange, _ way) {
			if seen.App.value("Upgrade") != "websocket" {
				seen.App.remove("Upgrade", "HTTP2-Settings")
			}
		}},
		{"A request of HTTP/1.0 reaches the app as HTTP/1.1, and one without `Host` as one to `localhost` or to its upstream", func(seen *both, row exchange, by way) {
			if !strings.HasSuffix(seen.App.First, "1.0") {
				return
			}
			seen.App.First = strings.TrimSuffix(seen.App.First, "0") + "1"
			seen.Client.First = strings.Replace(seen.Client.First, "HTTP/1.1", "HTTP/1.0", 1)
			if row.noHost {
				seen.App.add("host: " + by.host)
			}
		}},
		{"answers of HTTP/1.0 become HTTP/1.1", func(seen *both, row exchange, _ way) {
			if strings.HasPrefix(row.answer, "HTTP/1.0") {
				seen.Client.First = strings.Replace(seen.Client.First, "HTTP/1.0", "HTTP/1.1", 1)
			}
		}},
		{"a URL in the request line becomes its path", func(seen *both, _ exchange, _ way) {
			seen.App.First = strings.Replace(seen.App.First, " http://api.example.org/", " /", 1)
		}},
		{"`OPTIONS *` gets 404. A path with a fragment or with other bytes than ASCII, and a request with both `Content-Length` and " +
			"`Transfer-Encoding`, get 400", func(seen *both, row exchange, _ way) {
			if row.refused != "" {
				*seen = both{Client: message{First: "HTTP/1.1 " + row.refused}}
			}
		}},
		{"a request without a body gets `Content-Length: 0`, unless its method is one that seldom has one", func(seen *both, row exchange, _ way) {
			method, _, _ := strings.Cut(seen.App.First, " ")
			if slices.Contains([]string{"OPTIONS", "PROPFIND", "BAN", "get"}, method) {
				seen.App.add("content-length: 0")
			}
		}},
		{"A client that ends its half of the connection before the answer gets none", func(seen *both, row exchange, _ way) {
			if row.halfClose {
				*seen = both{}
			}
		}},
		{"Several headers of one name may arrive as one, with commas", func(seen *both, _ exchange, _ way) {
			if seen.App.value("Accept") == "a/b" {
				seen.App.remove("Accept")
				seen.App.add("Accept: a/b,c/d")
			}
		}},
		{"At callers with Envoy, names of headers in answers are in lower case, and the words after the status are Envoy's",
			func(seen *both, _ exchange, by way) {
				if !by.caller {
					return
				}
				for i, header := range seen.Client.Headers {
					name := nameOf(header)
					seen.Client.Headers[i] = strings.ToLower(name) + header[len(name):]
				}
				for odd, usual := range map[string]string{"299 Fine": "299 Unknown", "418 Short And Stout": "418 Unknown",
					"599 Odd": "599 Last Unassigned Server Error Code"} {
					seen.Client.First = strings.Replace(seen.Client.First, odd, usual, 1)
				}
				for i, line := range seen.Client.Interim {
					seen.Client.Interim[i] = strings.NewReplacer("103 Early Hints", "103 Unknown", "102 Processing", "102 Unknown").Replace(line)
				}
			}},
		{"names of trailers are in lower case, and trailers of HTTP/1 are dropped at public ports", func(seen *both, _ exchange, by way) {
			for _, m := range []*message{&seen.App, &seen.Client} {
				for i, trailer := range m.Trailers {
					m.Trailers[i] = strings.ToLower(trailer)
				}
				if by.public {
					m.Trailers = nil
				}
			}
		}},
		{"Such ports also bound headers, reject header names with underscores", func(seen *both, row exchange, by way) {
			if !by.public {
				return
			}
			if row.edgeLine != "" {
				seen.App.First = row.edgeLine
			}
			if row.edge != "" {
				*seen = both{Client: message{First: "HTTP/1.1 " + row.edge}}
			}
		}},
		{"Public ports replace `X-Request-Id`", func(seen *both, _ exchange, by way) {
			if by.public {
				seen.App.remove("X-Request-Id")
			}
		}},
	}
}

// withDifferences is what is to be seen with Envoy between, by what is seen without.
func withDifferences(without both, row exchange, by way) both {
	out := both{App: without.App.clone(), Client: without.Client.clone()}
	for _, d := range differences() {
		if d.make != nil {
			d.make(&out, row, by)
		}
	}
	return out
}

// TestDifferencesAreInREADME: whoever reads it knows all that Envoy changes.
func TestDifferencesAreInREADME(t *testing.T) {
	raw, err := os.ReadFile("../../webhook/README.md")
	must(t, err)
	text := strings.Join(strings.Fields(string(raw)), " ")
	for _, d := range differences() {
		if !strings.Contains(text, d.readme) {
			t.Errorf("webhook/README.md does not say: %s", d.readme)
		}
	}
}

func (m message) clone() message {
	m.Headers, m.Trailers, m.Interim = slices.Clone(m.Headers), slices.Clone(m.Trailers), slices.Clone(m.Interim)
	return m
}

func (m *message) remove(names ...string) {
	m.Headers = slices.DeleteFunc(m.Headers, func(h string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, nameOf(h)) })
	})
}

func (m *message) add(header string) {
	m.Headers = append(m.Headers, header)
	sortHeaders(m.Headers)
}

// stripped leaves out what is about one connection alone, and what Envoy adds where there is none without it.
func (b both) stripped(without both) both {
	out := both{App: b.App.clone(), Client: b.Client.clone()}
	for _, name := range []string{"X-Forwarded-Client-Cert", "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-Id"} {
		switch was := without.App.value(name); {
		case was == "":
			out.App.remove(name)
		case name == "X-Forwarded-For":
			out.App.cut(name, was)
		case out.App.value(name) != was && name == "X-Request-Id": // a new one
			out.App.remove(name)
		}
	}
	if without.Client.value("Date") == "" {
		out.Client.remove("Date")
	}
	if out.App.First == "" { // Envoy itself answers, in words of its own
		out.Client.Headers, out.Client.Body = nil, ""
	}
	for _, m := range []*message{&out.App, &out.Client} {
		m.remove("Connection", "Keep-Alive", "Transfer-Encoding")
		for i, h := range m.Headers {
			m.Headers[i] = short(h)
		}
		m.First, m.Body = short(m.First), short(m.Body)
	}
	return out
}

// cut leaves out what Envoy appended to a header.
func (m *message) cut(name, was string) {
	for i, h := range m.Headers {
		if strings.EqualFold(nameOf(h), name) && strings.HasPrefix(h[len(name)+2:], was) {
			m.Headers[i] = h[:len(name)+2+len(was)]
		}
	}
}

// short keeps messages of tests readable.
func short(s string) string {
	if len(s) > 200 {
		return fmt.Sprintf("%s... %s (%d bytes)", s[:100], s[len(s)-50:], len(s))
	}
	return s
}
