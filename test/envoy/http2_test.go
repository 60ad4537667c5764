package envoy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// enableConnect is SETTINGS_ENABLE_CONNECT_PROTOCOL of RFC 8441.
const enableConnect = http2.SettingID(8)

// frames is one side of an HTTP/2 connection that sends what it is told to, also what Go's own would not.
type frames struct {
	*http2.Framer
	connection net.Conn
	text       bytes.Buffer
	encoder    *hpack.Encoder
}

func newFrames(connection net.Conn) *frames {
	f := &frames{Framer: http2.NewFramer(connection, connection), connection: connection}
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.encoder = hpack.NewEncoder(&f.text)
	return f
}

// dialFrames begins a connection as a client.
func dialFrames(t *testing.T, connection net.Conn) *frames {
	t.Helper()
	t.Cleanup(func() { connection.Close() })
	must(t, connection.SetDeadline(time.Now().Add(20*time.Second)))
	_, err := io.WriteString(connection, http2.ClientPreface)
	must(t, err)
	f := newFrames(connection)
	must(t, f.WriteSettings())
	return f
}

// send begins a stream with these headers, each "name value", and ends it or leaves it open.
func (f *frames) send(stream uint32, end bool, headers ...string) error {
	f.text.Reset()
	for _, header := range headers {
		name, value, _ := strings.Cut(header, " ")
		if err := f.encoder.WriteField(hpack.HeaderField{Name: name, Value: value}); err != nil {
			return err
		}
	}
	return f.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: f.text.Bytes(), EndStream: end, EndHeaders: true,
	})
}

// next reads on until something is said of a stream that a test wants to know: headers, data, a reset, or the end of
// the connection, which is an error.
func (f *frames) next() (http2.Frame, error) {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				if err := f.WriteSettingsAck(); err != nil {
					return nil, err
				}
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				if err := f.WritePing(true, frame.Data); err != nil {
					return nil, err
				}
			}
		case *http2.GoAwayFrame:
			return nil, fmt.Errorf("the connection ends: %s", frame)
		case *http2.MetaHeadersFrame, *http2.DataFrame, *http2.RSTStreamFrame:
			return frame, nil
		}
	}
}

// startConnectApp is an app that speaks HTTP/2 alone and takes WebSockets by an extended CONNECT: it sends their bytes
// back, and answers 400 to everything else.
func startConnectApp(t *testing.T) uint16 {
	t.Helper()
	listener, port := listen(t)
	go serveEach(listener, func(connection net.Conn) {
		_, _ = io.ReadFull(connection, make([]byte, len(http2.ClientPreface)))
		_ = newFrames(connection).echo()
	})
	return port
}

func (f *frames) echo() error {
	if err := f.WriteSettings(http2.Setting{ID: enableConnect, Val: 1}); err != nil {
		return err
	}
	for {
		frame, err := f.next()
		if err != nil {
			return err
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if frame.PseudoValue("method") == "CONNECT" && frame.PseudoValue("protocol") == "websocket" {
				err = f.send(frame.StreamID, false, ":status 200")
			} else {
				err = f.send(frame.StreamID, true, ":status 400")
			}
		case *http2.DataFrame:
			if len(frame.Data()) > 0 || frame.StreamEnded() {
				err = f.WriteData(frame.StreamID, frame.StreamEnded(), frame.Data())
			}
		}
		if err != nil {
			return err
		}
	}
}
