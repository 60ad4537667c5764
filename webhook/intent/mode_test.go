package intent

import "testing"

func TestParseMode(t *testing.T) {
	const expected = `expected sidecar, gateway, socket or "sidecar,socket", got `
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
	}
}
