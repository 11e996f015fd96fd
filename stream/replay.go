package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Replay calls fn with every entry, first to last, and remembers the head so
// that Append continues from it. It is one sequential read, restarted where it
// was when the connection breaks. An error from fn ends it and is returned;
// Replay may be called again, and begins anew then. After Follow it goes on behind
// what Follow has handed over. A client replays eight journals at a time from
// their beginning; others wait. The error matches ErrTrimmed when the owner has
// meanwhile trimmed what was to come next.
func (j *Journal) Replay(ctx context.Context, fn func(Entry) error) error {
	return j.ReplayFrom(ctx, 0, fn)
}

// replaysAtOnce is how many journals a client reads at the same time. More would not be faster, and together could be more than the
// server holds for a connection.
const replaysAtOnce = 8

// ReplayFrom is Replay for who has the entries before a position: those that
// begin at it or later are read. 0 is the beginning.
func (j *Journal) ReplayFrom(ctx context.Context, from uint64, fn func(Entry) error) error {
	j.replayed = false
	r := j.followed
	j.followed = replay{}
	if r.head == 0 { // who has followed has little to read, and is in a hurry
		select {
		case j.c.replays <- struct{}{}:
			defer func() { <-j.c.replays }()
		case <-ctx.Done():
			return &JournalError{Journal: j.name, Err: fmt.Errorf("replay it: %w", ctx.Err())}
		}
	}
	r.head = max(r.head, max(from, 1)-1)
	before := r.head
	for {
		info, err := j.c.knownInfo(ctx, j.name)
		if err != nil {
			return &JournalError{Journal: j.name, Err: fmt.Errorf("replay it: %w", err)}
		}
		end := info.State.LastSeq
		more := info.State.Msgs > 0
		if more {
			if more, err = j.c.hasAfter(ctx, j.name, r.head); err != nil {
				return &JournalError{Journal: j.name, Err: fmt.Errorf("replay it: %w", err)}
			}
		}
		if !more {
			if r.head > before {
				end = max(end, r.head)
			}
			j.head, j.spans, j.replayed = end, r.spans, true
			return nil
		}
		if err := j.read(ctx, &r, fn); err != nil {
			var own *JournalError
			if errors.As(err, &own) {
				return err
			}
			return &JournalError{Journal: j.name, Err: fmt.Errorf("replay it: %w", err)}
		}
	}
}

// replay is what has been read so far.
type replay struct {
	head  uint64
	spans []span
	parts []byte // the chunks of an unfinished entry
	chunk int    // how many
	of    int    // out of
	first uint64 // sequence of the first of them
}

// read goes on after r.head until nothing is pending. There is something.
func (j *Journal) read(ctx context.Context, r *replay, fn func(Entry) error) error {
	err := j.feed(ctx, r, nil, func(e Entry, pending uint64) (bool, error) {
		err := fn(e)
		return pending > 0, err
	})
	if err != nil {
		return err
	}
	return ctx.Err()
}

// feed goes on after r.head until ctx ends or fn wants no more. quiet, if it is not nil, is called when the server has nothing more.
func (j *Journal) feed(ctx context.Context, r *replay, quiet func(), fn func(e Entry, pending uint64) (more bool, err error)) error {
	f := j.c.ephemeralFeed(j.name, jetstream.ConsumerConfig{})
	f.last, f.quiet = r.head, quiet
	f.errs = TopicSpec{Name: j.name}.feedErrors(0)
	f.errs.notFound = func() error {
		return &JournalError{Journal: j.name, Err: errors.New("it has been deleted")}
	}
	f.errs.remade = func(_, is time.Time) error {
		return &JournalError{Journal: j.name, Err: fmt.Errorf("it has been deleted, and made anew at %v", is)}
	}
	if err := f.open(ctx); err != nil {
		return err
	}
	defer f.close()
	var failed error
	f.handle = func(m *nats.Msg, p position) bool {
		if r.head > 0 && p.stream != r.head+1 {
			failed = j.hole(ctx, r.head+1)
			return false
		}
		e, whole, err := r.add(m, p)
		if err != nil {
			failed = err
			return false
		}
		r.head = p.stream
		if !whole {
			return true
		}
		e.Pending = p.pending
		more, err := fn(e, p.pending)
		failed = err
		return more && err == nil
	}
	err := f.run(ctx)
	if failed != nil {
		return failed
	}
	return err
}

// hole says why the message with that sequence did not come.
func (j *Journal) hole(ctx context.Context, seq uint64) error {
	info, err := j.c.knownInfo(ctx, j.name)
	if err != nil {
		return err
	}
	if info.State.FirstSeq > seq {
		return fmt.Errorf("%w (wanted %d, the first is %d)", ErrTrimmed, seq, info.State.FirstSeq)
	}
	return fmt.Errorf("its message %d is missing: somebody has deleted it (restore the stream from a backup, or reset the app)", seq)
}

// add joins chunks. whole says that e is complete.
func (r *replay) add(m *nats.Msg, p position) (e Entry, whole bool, err error) {
	mark := m.Header[chunkHeader]
	if len(mark) == 0 {
		if r.chunk != 0 {
			return e, false, fmt.Errorf("entry at %d breaks off after chunk %d of %d", p.stream, r.chunk, r.of)
		}
		return Entry{Seq: p.stream, Stored: p.time(), Data: m.Data}, true, nil
	}
	i, n, err := parseChunk(mark[0])
	if err != nil {
		return e, false, fmt.Errorf("message %d: %w", p.stream, err)
	}
	if r.chunk == 0 && i == 1 {
		r.first, r.of = p.stream, n
	}
	if i != r.chunk+1 || n != r.of {
		return e, false, fmt.Errorf("message %d is chunk %s, expected chunk %d/%d", p.stream, mark[0], r.chunk+1, r.of)
	}
	r.chunk = i
	r.parts = append(r.parts, m.Data...)
	if i < n {
		return e, false, nil
	}
	e = Entry{Seq: p.stream, Stored: p.time(), Data: r.parts}
	r.spans = append(r.spans, span{first: r.first, last: p.stream})
	r.parts, r.chunk, r.of = nil, 0, 0
	return e, true, nil
}

// parseChunk reads "2/3".
func parseChunk(s string) (i, n int, err error) {
	a, b, ok := strings.Cut(s, "/")
	if ok {
		var e1, e2 error
		i, e1 = strconv.Atoi(a)
		n, e2 = strconv.Atoi(b)
		ok = e1 == nil && e2 == nil && i >= 1 && n >= 2 && i <= n && n <= maxChunks
	}
	if !ok {
		return 0, 0, fmt.Errorf("the %s header %q is not readable", chunkHeader, s)
	}
	return i, n, nil
}
