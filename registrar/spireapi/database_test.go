package spireapi_test

import (
	"context"
	"testing"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/registrar/spireapi/spiretest"
)

// A database that is away is no refusal: what is asked now can be asked again.
func TestDatabaseThatIsAway(t *testing.T) {
	const remedy = "its database does not answer"
	for message, kind := range map[string]registrar.Kind{
		"failed to create entry: datastore-sql: dial tcp 10.96.0.1:5432: connect: connection refused":                      registrar.Unavailable,
		"failed to create entry: datastore-sql: dial tcp: lookup db.example.org on 10.96.0.10:53: no such host":            registrar.Unavailable,
		"failed to create entry: datastore-sql: read tcp 10.0.0.1:41242->10.0.0.2:5432: read: connection reset by peer":    registrar.Unavailable,
		"failed to create entry: datastore-sql: EOF":                                                                       registrar.Unavailable,
		"failed to create entry: datastore-sql: unexpected EOF":                                                            registrar.Unavailable,
		"failed to create entry: datastore-sql: driver: bad connection":                                                    registrar.Unavailable,
		"failed to create entry: datastore-sql: pq: the database system is starting up (57P03)":                            registrar.Unavailable,
		"failed to create entry: datastore-sql: pq: terminating connection due to administrator command (57P01)":           registrar.Unavailable,
		"failed to create entry: datastore-sql: pq: sorry, too many clients already (53300)":                               registrar.Unavailable,
		"failed to create entry: datastore-sql: pq: cannot execute INSERT in a read-only transaction (25006)":              registrar.Failed,
		"failed to create entry: datastore-sql: pq: insert or update on table \"dns_names\" violates a constraint (23503)": registrar.Failed,
		"failed to refresh bundle: failed to fetch federated bundle from endpoint: dial tcp: connect: connection refused":  registrar.Failed,
	} {
		t.Run(message, func(t *testing.T) {
			want := message
			if kind == registrar.Unavailable {
				want = remedy
			}
			server := spiretest.NewServer(exampleOrg)
			address, _ := server.ServeUnix(t)
			client := dial(t, spireapi.Config{ServerAddress: address})
			server.Tamper(func(resp any) {
				if r, ok := resp.(*entryv1.BatchCreateEntryResponse); ok {
					r.Results[0] = &entryv1.BatchCreateEntryResponse_Result{Status: &types.Status{Code: int32(codes.Internal), Message: message}}
				}
			})
			results, err := client.CreateEntries(t.Context(), []registrar.Entry{entry("/x")})
			if err != nil {
				t.Fatal(err)
			}
			wantKind(t, results[0].Err, kind, `does not take entry "test.x"`, message, want)
			server.Before(func(context.Context, string) error { return status.Error(codes.Internal, message) })
			_, err = client.GetEntry(t.Context(), "test.x")
			wantKind(t, err, kind, message, want)
		})
	}
}
