package stream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// firstTail is how many messages are read at first to find the last one of a lane.
	firstTail = 2 * publishWindow
	// tailTimeout bounds one such reading.
	tailTimeout = time.Minute
	// clockSkew is how much the clocks of two leaders may differ.
	clockSkew = time.Minute
)

// suspect is called when the server does not know the session, or does not speak
// of it: how much of it is stored must be found out before anything is sent again.
func (l *lane) suspect(err error) {
	l.retry(err)
	l.doubt = true
}

// recognizer gives the function by which the lane's own messages are known in the
// partition: the number of a message of the queue, from 1, and 0 for all others. By
// its mark, or else by its id; nil when neither is there.
func (l *lane) recognizer() func(nats.Header) uint64 {
	if l.mark != nil {
		return func(h nats.Header) uint64 { return l.mark.number(h.Get(MarkHeader)) }
	}
	numbers := make(map[string]uint64, len(l.queue))
	for i := range l.queue {
		if id := l.queue[i].id; id != "" {
			numbers[id] = l.base + uint64(i) + 1
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	return func(h nats.Header) uint64 { return numbers[h.Get(jetstream.MsgIDHeader)] }
}

// settle finds out what of the queue is stored. The lock is free meanwhile, and
// retryAt keeps others from sending. false: it is not known, or does not matter
// any more.
func (l *lane) settle(ctx context.Context) bool {
	number := l.recognizer()
	if number == nil {
		l.doubt = false
		return true
	}
	since := l.since
	l.settling = true
	l.mu.Unlock()
	n, err := l.lastStored(ctx, since, number)
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
func (l *lane) lastStored(ctx context.Context, since time.Time, number func(nats.Header) uint64) (uint64, error) {
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
		last, reached, err := l.lastAmong(ctx, from, end, number)
		if err != nil || last > 0 || from == first || reached.Before(oldest) {
			return last, err
		}
	}
}

// lastAmong gives the highest number of this lane in the messages from to end, and
// when the first of them was stored.
func (l *lane) lastAmong(ctx context.Context, from, end uint64, number func(nats.Header) uint64) (last uint64, reached time.Time, err error) {
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
		last = max(last, number(m.Header))
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

// permitted asks whether the queue may still be sent, where that has to be asked.
// The lock is free meanwhile, and retryAt keeps others from sending.
func (l *lane) permitted(ctx context.Context) bool {
	if l.owned == nil {
		return true
	}
	l.settling = true
	l.mu.Unlock()
	err := l.owned(ctx)
	l.mu.Lock()
	l.settling = false
	switch {
	case len(l.queue) == 0:
		return false
	case err != nil && ctx.Err() != nil: // whoever waits is told that
		return false
	case err != nil:
		l.giveUp(err)
		return false
	}
	return true
}

// cutOff says whether to wait for the connection: what is written without one is kept until there is one, and a writer may
// have been replaced by then.
func (l *lane) cutOff() bool {
	if l.owned == nil || !l.c.nc.IsReconnecting() {
		return false
	}
	l.pause(nats.ErrConnectionReconnecting)
	return true
}

// again sends what is not acknowledged, as soon as that is allowed: where somebody
// has to be asked, with the next tick.
func (l *lane) again() {
	if l.owned == nil {
		l.resend()
		return
	}
	l.retryAt = time.Now()
}
