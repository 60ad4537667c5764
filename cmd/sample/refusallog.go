package main

import (
	"log"
	"log/slog"
	"net/http"
	"strings"
)

// refusalLog turns what net/http writes of handshakes that failed into lines of the event log.
type refusalLog struct{ events *slog.Logger }

// Write implements io.Writer, for one line.
func (l refusalLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if remote, reason, found := strings.Cut(strings.TrimPrefix(text, "http: TLS handshake error from "), ": "); found &&
		remote != text {
		l.events.Info("handshake refused", "remote", remote, "reason", reason)
	} else {
		l.events.Info(text)
	}
	return len(line), nil
}

// logRefusals has a server write such lines.
func logRefusals(server *http.Server, events *slog.Logger) {
	server.ErrorLog = log.New(refusalLog{events}, "", 0)
}
