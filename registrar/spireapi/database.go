package spireapi

import (
	"regexp"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const databaseRemedy = "its database does not answer: check that the database runs, that the server reaches it, and how many connections it takes"

// databaseAway says whether the server could not ask its database, so that later it may. SPIRE calls this internal, as
// it does what the database refuses for good, and only the text tells them apart.
func databaseAway(st *status.Status) bool {
	_, reason, found := strings.Cut(st.Message(), "datastore-sql: ")
	return found && st.Code() == codes.Internal && unreached.MatchString(reason)
}

// unreached are the errors of Go's network and database packages, of MySQL's driver, and PostgreSQL's codes of the
// classes 08 (connection), 53 (resources) and 57P (the server is going down or coming up), which end its messages.
var unreached = regexp.MustCompile(
	`^dial |^(read|write) (tcp|unix) |\bEOF$|driver: bad connection|invalid connection|\((08...|53...|57P..)\)$`,
)
