package stream

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// MarkHeader says which record of which producer a message is: the producer's
// name for itself in that partition, a dot, and the record's number from 1. By it
// a producer finds out what is stored when the server's answer was lost. Readers
// and consumers of this package do not show it.
const MarkHeader = "Rossby-Mark"

const (
	// markSize is the most that a mark adds to a message.
	markSize = len("NATS/1.0\r\n\r\n") + len(MarkHeader) + len(": \r\n") + markID + len(".18446744073709551615")
	// markID is the length of a lane's name for itself.
	markID = 11
	// firstTail is how many messages are read at first to find the last mark.
	firstTail = 2 * publishWindow
	// tailTimeout bounds one such reading.
	tailTimeout = time.Minute
	// clockSkew is how much the clocks of two leaders may differ.
	clockSkew = time.Minute
)

// marker makes the marks of one lane. nil makes none.
type marker struct {
	prefix string // of its marks
	header nats.Header
	value  []string // in header
	buf    []byte
}

func newMarker() *marker {
	id := nuid.Next()
	m := &marker{prefix: id[len(id)-markID:] + ".", value: make([]string, 1)}
	m.header = nats.Header{MarkHeader: m.value}
	return m
}

// headers gives the headers of the lane's record n, which are valid until the
// next call.
func (m *marker) headers(h nats.Header, n uint64) nats.Header {
	if m == nil {
		return h
	}
	m.buf = strconv.AppendUint(append(m.buf[:0], m.prefix...), n, 10)
	m.value[0] = string(m.buf)
	if len(h) == 0 {
		return m.header
	}
	h = maps.Clone(h)
	h[MarkHeader] = []string{m.value[0]}
	return h
}

// number reads a mark; 0 when it is none of this lane.
func (m *marker) number(mark string) uint64 {
	digits, own := strings.CutPrefix(mark, m.prefix)
	if !own {
		return 0
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// withoutMark removes the mark: it is no header of the record's.
func withoutMark(h Headers) Headers {
	if len(h) == 0 {
		return h
	}
	if delete(h, MarkHeader); len(h) == 0 {
		return nil
	}
	return h
}

// settle finds out what of the queue is stored. The lock is free meanwhile, and
// retryAt keeps others from sending. false: it is not known, or does not matter
// any more.
func (l *lane) settle(ctx context.Context) bool {
	since := l.since
	l.settling = true
	l.mu.Unlock()
	n, err := l.lastStored(ctx, since)
	l.mu.Lock()
	l.settling = false
	switch {
	case len(l.queue) == 0:
		return false
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.As(err, new(*TopicNotFoundError)):
		l.giveUp(&TopicNotFoundError{Topic: l.spec.Name, Partition: l.part})
		return false
	case err != nil:
		l.retry(err)
		return false
	}
	l.doubt = false
	if n > l.base {
		l.advance(int(min(n-l.base, uint64(len(l.queue)))), nil)
	}
	return true
}

// lastStored gives the number of this lane's last record in the partition, and 0
// when there is none that was stored after since: records are stored in order, so
// all before it were stored, too. It looks at the end of the partition first and
// then further back.
func (l *lane) lastStored(ctx context.Context, since time.Time) (uint64, error) {
	info, err := l.c.streamInfo(ctx, l.stream)
	if err != nil {
		return 0, err
	}
	// The clock of the server counts, not ours.
	oldest := info.TimeStamp.Add(-time.Since(since) - clockSkew)
	first, end := max(info.State.FirstSeq, 1), info.State.LastSeq
	for tail := uint64(firstTail); ; tail *= 4 {
		from := first
		if end > first+tail {
			from = end - tail
		}
		last, reached, err := l.lastMark(ctx, from, end)
		if err != nil || last > 0 || from == first || reached.Before(oldest) {
			return last, err
		}
	}
}

// lastMark gives the highest mark of this lane in the messages from to end, and
// when the first of them was stored.
func (l *lane) lastMark(ctx context.Context, from, end uint64) (last uint64, reached time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, tailTimeout)
	defer cancel()
	if from > end {
		return 0, reached, nil
	}
	if some, err := l.c.hasAfter(ctx, l.stream, from-1); err != nil || !some {
		return 0, time.Now(), err // all of them were deleted
	}
	f := l.c.ephemeralFeed(l.stream, jetstream.ConsumerConfig{HeadersOnly: true})
	f.last = from - 1
	f.errs = l.spec.feedErrors(l.part)
	f.handle = func(m *nats.Msg, p position) bool {
		if p.stream > end {
			return false
		}
		if reached.IsZero() {
			reached = p.time()
		}
		last = max(last, l.mark.number(m.Header.Get(MarkHeader)))
		return p.pending > 0 && p.stream < end
	}
	if err := f.open(ctx); err != nil {
		return 0, reached, err
	}
	defer f.close()
	if err := f.run(ctx); err != nil {
		return 0, reached, err
	}
	return last, reached, ctx.Err()
}

// suspect is called when the server does not know the session, or does not speak
// of it: how much of it is stored must be found out before anything is sent again.
func (l *lane) suspect(err error) {
	l.retry(err)
	l.doubt = l.mark != nil
}
