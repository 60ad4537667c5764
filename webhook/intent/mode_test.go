package intent

import "testing"

func TestParseMode(t *testing.T) {
	const expected = "expected gateway, or one or several of sidecar, socket and files, got "
	tests := []struct {
		text    string
		want    Mode
		wantErr string
	}{
		{"sidecar", ModeSidecar, ""},
		{"gateway", ModeGateway, ""},
		{"socket", ModeSocket, ""},
		{"sidecar,socket", ModeSidecarSocket, ""},
		{" socket\n sidecar ", ModeSidecarSocket, ""},
		{"files", ModeFiles, ""},
		{"files,sidecar", ModeSidecar.with("files"), ""},
		{"files socket files", ModeSocket.with("files"), ""},
		{"gateway,files", Mode{}, expected + `"gateway,files"`},
		{"gateway,socket", Mode{}, expected + `"gateway,socket"`},
		{"sidecar,gateway", Mode{}, expected + `"sidecar,gateway"`},
		{"", Mode{}, expected + `""`},
		{"sidcar", Mode{}, expected + `"sidcar"; did you mean "sidecar"?`},
		{"Sidecar", Mode{}, expected + `"Sidecar"; did you mean "sidecar"?`},
	}
	for _, test := range tests {
		got, err := ParseMode(test.text)
		wantError(t, err, test.wantErr)
		if got != test.want {
			t.Errorf("%q: expected %+v, got %+v", test.text, test.want, got)
		}
		if again, err := ParseMode(got.String()); test.wantErr == "" && (err != nil || again != got) {
			t.Errorf("%q is spelt %q, which is %+v, %v", test.text, got, again, err)
		}
	}
}
