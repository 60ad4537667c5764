package spireapi

import "context"

// SPIRE's server takes a batch one by one, each in a transaction of its own, while the caller waits, and refuses
// requests above 4 MiB.
const (
	maxBatch      = 200
	maxBatchBytes = 2 << 20
)

// item is one of those that the caller asked about.
type item[Asked, Sent any] struct {
	index int
	asked Asked
	sent  Sent
}

// convert returns what can be sent, and reports what cannot.
func convert[Asked, Sent any](
	all []Asked,
	to func(Asked) (Sent, error),
	invalid func(index int, err error),
) []item[Asked, Sent] {
	items := make([]item[Asked, Sent], 0, len(all))
	for i, asked := range all {
		sent, err := to(asked)
		if err != nil {
			invalid(i, err)
			continue
		}
		items = append(items, item[Asked, Sent]{index: i, asked: asked, sent: sent})
	}
	return items
}

// asked are the items as the caller gave them.
func asked[A, S any](batch []item[A, S]) []A {
	all := make([]A, len(batch))
	for i, it := range batch {
		all[i] = it.asked
	}
	return all
}

func sent[Asked, Sent any](items []item[Asked, Sent]) []Sent {
	all := make([]Sent, len(items))
	for i, it := range items {
		all[i] = it.sent
	}
	return all
}

// split cuts a list into batches that are small enough; what is too large by itself is a batch of its own.
func split[T any](items []T, size func(T) int) [][]T {
	var batches [][]T
	from, bytes := 0, 0
	for i, it := range items {
		n := size(it)
		if i > from && (i-from == maxBatch || bytes+n > maxBatchBytes) {
			batches = append(batches, items[from:i])
			from, bytes = i, 0
		}
		bytes += n
	}
	if from < len(items) {
		batches = append(batches, items[from:])
	}
	return batches
}

// inBatches has the items sent one batch after the other. When a batch fails, those after it are not sent, and each
// item that got no answer gets the reason; that is the error of the whole only if no item got an answer.
func inBatches[T any](items []T, size func(T) int, send func(batch []T) error, unanswered func(it T, err error)) error {
	answered := 0
	for _, batch := range split(items, size) {
		err := send(batch)
		if err == nil {
			answered += len(batch)
			continue
		}
		if answered == 0 {
			return err
		}
		for _, it := range items[answered:] {
			unanswered(it, err)
		}
		return nil
	}
	return nil
}

// PageSize is how many entries one request asks for, which keeps a page of ordinary ones at some hundred KiB.
const PageSize = 500

// pages fetches page after page. The last one is empty on SPIRE, and may be any on others.
func (c *call) pages(ctx context.Context, fetch func(token string) (next string, err error)) error {
	if err := c.prepare(ctx); err != nil {
		return err
	}
	for token := ""; ; {
		next, err := fetch(token)
		switch {
		case err != nil:
			return c.failed(ctx, err)
		case next == "":
			return nil
		case next == token:
			return c.nonsense("page %q as the one after itself", token)
		}
		token = next
	}
}
