package spiretest

import (
	"slices"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// table keeps messages in the order of creation, each in a numbered row as in SPIRE's database.
type table[M proto.Message] struct {
	rows []row[M]
	last uint64
}

type row[M proto.Message] struct {
	id    uint64
	value M
}

func (t *table[M]) add(m M) {
	t.last++
	t.rows = append(t.rows, row[M]{id: t.last, value: proto.CloneOf(m)})
}

// find returns the index of a row, or -1.
func (t *table[M]) find(match func(M) bool) int {
	return slices.IndexFunc(t.rows, func(r row[M]) bool { return match(r.value) })
}

func (t *table[M]) delete(match func(M) bool) (deleted bool) {
	before := len(t.rows)
	t.rows = slices.DeleteFunc(t.rows, func(r row[M]) bool { return match(r.value) })
	return len(t.rows) < before
}

func (t *table[M]) all() []M {
	all, _, _ := t.page(0, "", func(M) bool { return true })
	return all
}

// page returns copies of what matches: at most size of it, and all of it for size 0. Like SPIRE it names a next page
// after every page that is not empty, the last one too.
func (t *table[M]) page(size int32, token string, match func(M) bool) (page []M, next string, err error) {
	var after uint64
	if size > 0 && token != "" {
		if after, err = strconv.ParseUint(token, 10, 32); err != nil {
			return nil, "", status.Errorf(codes.Internal, "could not parse token '%s'", token)
		}
	}
	for _, r := range t.rows {
		if r.id <= after || !match(r.value) {
			continue
		}
		page = append(page, proto.CloneOf(r.value))
		if size > 0 {
			next = strconv.FormatUint(r.id, 10)
			if len(page) == int(size) {
				break
			}
		}
	}
	return page, next, nil
}
