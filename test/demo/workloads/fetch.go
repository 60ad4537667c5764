package workloads

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// Fetched is what spiffe-client got of the SPIRE agent.
type Fetched struct {
	Applied scene.Ran `json:"-"`
	// Seconds from the start of apply to the first SVID.
	Seconds    float64   `json:"secondsToFirstSVID"`
	SummaryRan scene.Ran `json:"-"`
	Summary    Summary   `json:"summary"`
	FilesRan   scene.Ran `json:"-"`
	Files      []string  `json:"files"`
	TokenRan   scene.Ran `json:"-"`
	Token      Token     `json:"token"`
}

// Summary is what spiffe-client prints of an X.509-SVID.
type Summary struct {
	ID          string   `json:"id"`
	TrustDomain string   `json:"trustDomain"`
	Subjects    []string `json:"subjects"` // of the chain, and of the bundle last
}

// parseSummary reads lines "- NAME = VALUE".
func parseSummary(text string) Summary {
	var s Summary
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "- "), " = ")
		switch {
		case name == "SPIFFE ID":
			s.ID = value
		case name == "TrustDomain":
			s.TrustDomain = value
		case strings.HasSuffix(name, "Subject"):
			s.Subjects = append(s.Subjects, value)
		}
	}
	return s
}

// Token is the payload of a JWT-SVID.
type Token struct {
	Subject  string   `json:"sub"`
	Audience []string `json:"aud"`
	Expires  int64    `json:"exp"` // seconds since 1970
}

// Fetch applies the workloads, and fetches SVIDs as spiffe-client as soon as there are any.
func (s stage) Fetch(ctx context.Context) (Fetched, error) {
	var (
		f   Fetched
		err error
	)
	if f.Applied, err = s.Apply(ctx, Workloads); err != nil {
		return f, err
	}
	if f.SummaryRan, err = s.First(ctx, Namespace, "the first SVID of "+SPIFFEClient, in(SPIFFEClient, "spiffe-client"), nil); err != nil {
		return f, err
	}
	f.Seconds = f.Applied.Until(f.SummaryRan.End)
	f.Summary = parseSummary(f.SummaryRan.Stdout)
	if f.Summary.ID != ID(SPIFFEClient) || f.Summary.TrustDomain != trustDomain || len(f.Summary.Subjects) < 2 {
		return f, &scene.Mismatch{What: f.SummaryRan.Command.String(), Expected: ID(SPIFFEClient) + " and its chain", Got: f.SummaryRan.Stdout}
	}
	if f.FilesRan, err = s.Run(ctx, in(SPIFFEClient, "spiffe-client", "--write", "/dev/shm")); err != nil {
		return f, err
	}
	f.Files = strings.Fields(f.FilesRan.Stdout)
	if want := []string{"/dev/shm/bundle.0.pem", "/dev/shm/svid.0.key", "/dev/shm/svid.0.pem"}; !slices.Equal(f.Files, want) {
		return f, &scene.Mismatch{What: f.FilesRan.Command.String(), Expected: strings.Join(want, " "), Got: f.FilesRan.Stdout}
	}
	return f, s.fetchToken(ctx, &f)
}

func (s stage) fetchToken(ctx context.Context, f *Fetched) (err error) {
	if f.TokenRan, err = s.Run(ctx, in(SPIFFEClient, "spiffe-client", "--fetch", "jwt", "--audience", Audience, "--dump", "payload")); err != nil {
		return err
	}
	err = json.Unmarshal([]byte(f.TokenRan.Stdout), &f.Token)
	if err != nil || f.Token.Subject != ID(SPIFFEClient) || !slices.Equal(f.Token.Audience, []string{Audience}) {
		err = &scene.Mismatch{What: f.TokenRan.Command.String(), Expected: "a token of " + ID(SPIFFEClient) + " for " + Audience, Got: f.TokenRan.Stdout}
	}
	return err
}
