package envoy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// message is a request or an answer of HTTP/1 as it stood on the wire, without what is about the connection alone.
type message struct {
	Interim  []string // status lines before that of the answer
	First    string   // request line, or status line
	Headers  []string // "Name: value", by name, those of one name in their order
	Body     string
	Trailers []string
}

// wireApp speaks HTTP/1 byte by byte: it remembers each request, and answers what its row says.
type wireApp struct {
	port uint16
	mu   sync.Mutex
	seen map[string]message
	rows map[string]exchange
}

// rowHeader says which row a request belongs to.
const rowHeader = "Row"

func startWireApp(t *testing.T, rows []exchange) *wireApp {
	t.Helper()
	listener, port := listen(t)
	app := &wireApp{port: port, seen: map[string]message{}, rows: map[string]exchange{}}
	for _, row := range rows {
		app.rows[row.name] = row
	}
	go serveEach(listener, app.serve)
	return app
}

func (a *wireApp) serve(connection net.Conn) {
	reader := bufio.NewReader(connection)
	for {
		request, err := readHead(reader)
		if err != nil {
			return
		}
		row := a.rows[request.value(rowHeader)]
		if row.interim != "" {
			_, _ = io.WriteString(connection, row.interim)
		}
		if !row.early {
			if err := request.readBody(reader, request.value("Content-Length") == "" && request.value("Transfer-Encoding") == ""); err != nil {
				return
			}
		}
		a.mu.Lock()
		a.seen[row.name] = request
		a.mu.Unlock()
		_, _ = io.WriteString(connection, row.answer)
		if row.early || strings.HasPrefix(request.First, "GET / HTTP/1.0") || !framed(row.answer) {
			return
		}
	}
}

// framed says whether an answer has an end of its own.
func framed(answer string) bool {
	head, _, _ := strings.Cut(strings.ToLower(answer), "\r\n\r\n")
	return strings.Contains(head, "content-length:") || strings.Contains(head, "chunked") || strings.Contains(head, " 204") ||
		strings.Contains(head, " 304")
}

// take returns what the app saw of a row, once; false is nothing.
func (a *wireApp) take(name string) (message, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out, ok := a.seen[name]
	delete(a.seen, name)
	return out, ok
}

// exchange is a request to the byte, and the answer to it.
type exchange struct {
	name    string
	line    string   // GET / HTTP/1.1
	headers []string // Host: api.example.org
	noHost  bool
	body    string // with its chunks
	interim string // what the app sends before it reads the body
	early   bool   // the app answers and closes without reading the body
	answer  string // 200, ok

	halfClose bool // the client ends its half of the connection

	refused  string // status by which Envoy refuses it
	edge     string // status by which a public port does
	edgeLine string // request line that the app sees behind a public port
}

const plainAnswer = "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"

// answering is a 200 with these headers, and a body.
func answerWith(headers ...string) string {
	return strings.Replace(plainAnswer, "Content-Length", strings.Join(append(headers, "Content-Length"), "\r\n"), 1)
}

func (e exchange) complete() exchange {
	if e.line == "" {
		e.line = "GET / HTTP/1.1"
	}
	if e.answer == "" {
		e.answer = plainAnswer
	}
	if !e.noHost {
		e.headers = append([]string{"Host: api.example.org"}, e.headers...)
	}
	e.headers = append(slices.Clone(e.headers), rowHeader+": "+e.name)
	return e
}

// ask sends the request and returns the answer.
func (e exchange) ask(connection net.Conn) (message, error) {
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return message{}, err
	}
	head := e.line + "\r\n" + strings.Join(e.headers, "\r\n") + "\r\n\r\n"
	waits := strings.Contains(head, "100-continue")
	written := make(chan error, 1)
	body := e.body
	if waits {
		body = ""
	}
	go func() { // an answer may come before the end of the request
		_, err := io.WriteString(connection, head+body)
		if half, ok := connection.(interface{ CloseWrite() error }); ok && e.halfClose {
			err = errors.Join(err, half.CloseWrite())
		}
		written <- err
	}()
	reader := bufio.NewReader(connection)
	var interim []string
	for {
		answer, err := readHead(reader)
		if err != nil {
			return answer, err
		}
		if strings.Contains(answer.First, " 101 ") {
			return answer, nil
		}
		if strings.Contains(answer.First, " 1") && strings.Split(answer.First, " ")[1][0] == '1' {
			interim = append(interim, answer.First)
			if waits && strings.Contains(answer.First, " 100") {
				if err := errors.Join(<-written); err != nil {
					return answer, err
				}
				if _, err := io.WriteString(connection, e.body); err != nil {
					return answer, err
				}
			}
			continue
		}
		answer.Interim = interim
		none := strings.HasPrefix(e.line, "HEAD ") || strings.Contains(answer.First, " 204") || strings.Contains(answer.First, " 304")
		return answer, answer.readBody(reader, none)
	}
}

// readHead reads up to the empty line.
func readHead(reader *bufio.Reader) (message, error) {
	var out message
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return out, fmt.Errorf("after %q, %q: %w", out.First, line, err)
		}
		line = strings.TrimSuffix(line, "\r\n")
		switch {
		case line == "":
			sortHeaders(out.Headers)
			return out, nil
		case out.First == "":
			out.First = line
		default:
			name, value, _ := strings.Cut(line, ":")
			out.Headers = append(out.Headers, name+": "+strings.TrimSpace(value))
		}
	}
}

func sortHeaders(headers []string) {
	slices.SortStableFunc(headers, func(a, b string) int { return strings.Compare(strings.ToLower(nameOf(a)), strings.ToLower(nameOf(b))) })
}

func nameOf(header string) string {
	name, _, _ := strings.Cut(header, ":")
	return name
}

// value is that of the first header of a name, in any case.
func (m message) value(name string) string {
	for _, header := range m.Headers {
		if got, value, _ := strings.Cut(header, ":"); strings.EqualFold(got, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (m *message) readBody(reader *bufio.Reader, none bool) error {
	var body []byte
	var err error
	switch length := m.value("Content-Length"); {
	case none:
	case strings.Contains(strings.ToLower(m.value("Transfer-Encoding")), "chunked"):
		return m.readChunks(reader)
	case length != "":
		n, err := strconv.Atoi(length)
		if err != nil {
			return err
		}
		body = make([]byte, n)
		if _, err := io.ReadFull(reader, body); err != nil {
			return err
		}
	default:
		body, err = io.ReadAll(reader)
	}
	m.Body = string(body)
	return err
}

func (m *message) readChunks(reader *bufio.Reader) error {
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return err
		}
		size, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseUint(size, 16, 31)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(reader, chunk); err != nil {
			return err
		}
		m.Body += string(chunk[:n])
	}
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return err
		}
		if line = strings.TrimSuffix(line, "\r\n"); line == "" {
			return nil
		}
		m.Trailers = append(m.Trailers, line)
	}
}
