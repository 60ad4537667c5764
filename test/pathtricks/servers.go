package pathtricks

import (
	"path"
	"strconv"
	"strings"
)

// Server is one kind of server.
type Server struct {
	Name string
	// Path is what it serves for the path of a request, which begins with a slash and has no query.
	Path func(path string) string
}

// Servers are kinds that differ in what they do before they resolve dot segments, and in which order.
func Servers() []Server {
	return []Server{
		{"compares what was sent", func(s string) string { return s }},
		{"decodes once, as Go and nginx do", func(s string) string { return resolve(decode(s)) }},
		{"cuts parameters, then decodes, as Tomcat does", func(s string) string { return resolve(decode(cutParameters(s))) }},
		{"decodes, then cuts parameters, as Jetty did", func(s string) string { return resolve(cutParameters(decode(s))) }},
		{"takes a backslash for a slash", func(s string) string { return resolve(slashes(decode(s))) }},
		{"decodes twice", func(s string) string { return resolve(slashes(cutParameters(decode(decode(s))))) }},
		{"decodes long forms of UTF-8", func(s string) string { return resolve(slashes(shorten(decode(s)))) }},
		{"ends at a zero byte, as C does", func(s string) string { return resolve(upTo(decode(s), "\x00")) }},
		{"ends at an escaped query or fragment", func(s string) string { return resolve(upTo(decode(s), "?#")) }},
		{"drops control characters, as browsers do", func(s string) string { return resolve(slashes(dropControl(decode(s)))) }},
		{"drops dots and spaces at the end, as Windows does", func(s string) string { return resolve(trimSegments(slashes(decode(s)))) }},
		{"knows %u", func(s string) string { return resolve(slashes(decode(decodeUnicode(s)))) }},
		{"does everything", everything},
	}
}

func everything(s string) string {
	for range 5 {
		s = slashes(shorten(decode(decodeUnicode(s))))
	}
	return resolve(trimSegments(cutParameters(dropControl(upTo(s, "\x00")))))
}

// Reaches says whether a server serves something for a path that is not below the prefix, such as /v1/.
func (s Server) Reaches(requested, prefix string) (string, bool) {
	got := s.Path(requested)
	below := strings.HasPrefix(got, prefix) || got+"/" == prefix
	return got, !below || strings.Contains(got+"/", "/../")
}

// decode is of what escapes are well formed; others stay.
func decode(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// decodeUnicode is of %u002e and its like, and of full-width forms.
func decodeUnicode(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], "%u") && i+5 < len(s) {
			if n, err := strconv.ParseUint(s[i+2:i+6], 16, 16); err == nil {
				switch {
				case n >= 0xff01 && n <= 0xff5e:
					n -= 0xfee0
				case n == 0x2215:
					n = '/'
				case n == 0x2216:
					n = '\\'
				}
				out.WriteRune(rune(n)) //nolint:gosec // 16 bits
				i += 5
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// shorten takes every sequence of the form of UTF-8, of up to six bytes, for the character that its bits say, and a
// first byte of two alone for it and whatever follows.
func shorten(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		length, bits := 1, rune(s[i])
		switch b := s[i]; {
		case b >= 0xfc:
			length, bits = 6, rune(b&1)
		case b >= 0xf8:
			length, bits = 5, rune(b&3)
		case b >= 0xf0:
			length, bits = 4, rune(b&7)
		case b >= 0xe0:
			length, bits = 3, rune(b&15)
		case b >= 0xc0:
			length, bits = 2, rune(b&31)
		}
		if length > len(s)-i || length > 2 && !continues(s[i+1:i+length]) {
			length, bits = 1, rune(s[i])
		}
		for _, b := range []byte(s[i+1 : i+length]) {
			bits = bits<<6 | rune(b&63)
		}
		if bits < 0x80 {
			out.WriteByte(byte(bits))
		} else {
			out.WriteString(s[i : i+length])
		}
		i += length
	}
	return out.String()
}

func continues(s string) bool {
	return !strings.ContainsFunc(string([]rune(latin1(s))), func(r rune) bool { return r < 0x80 || r > 0xbf })
}

func latin1(s string) string {
	var out strings.Builder
	for _, b := range []byte(s) {
		out.WriteRune(rune(b))
	}
	return out.String()
}

func slashes(s string) string { return strings.ReplaceAll(s, `\`, "/") }

func upTo(s, end string) string {
	if i := strings.IndexAny(s, end); i >= 0 {
		return s[:i]
	}
	return s
}

func dropControl(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

func eachSegment(s string, change func(string) string) string {
	segments := strings.Split(s, "/")
	for i := range segments {
		segments[i] = change(segments[i])
	}
	return strings.Join(segments, "/")
}

func cutParameters(s string) string {
	return eachSegment(s, func(segment string) string {
		name, _, _ := strings.Cut(segment, ";")
		return name
	})
}

func trimSegments(s string) string {
	return eachSegment(s, func(segment string) string {
		switch trimmed := strings.TrimRight(segment, " "); {
		case strings.Trim(trimmed, ".") != "":
			return strings.TrimRight(trimmed, ". ")
		case len(trimmed) > 1:
			return ".." // also of more dots
		default:
			return trimmed
		}
	})
}

// resolve merges slashes and resolves dot segments. A final slash stays.
func resolve(s string) string {
	out := path.Clean("/" + s)
	if strings.HasSuffix(s, "/") && out != "/" {
		out += "/"
	}
	return out
}
