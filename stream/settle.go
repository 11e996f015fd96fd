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

// trail gives what the lane's messages are known by in the partition, numbered from 1;
// false when there is nothing.
func (l *lane) trail() (trail, bool) {
	if l.marks.prefix != "" {
		return trail{prefix: l.marks.prefix}, true
	}
	t := trail{ids: make(map[string]uint64, len(l.queue))}
	for i := range l.queue {
		if id := l.queue[i].id; id != "" {
			t.ids[id] = l.base + uint64(i) + 1
		}
	}
	if l.marks.chain.kind == chained {
		t.at, t.n = l.marks.chain.after+l.base, l.base
	}
	return t, len(t.ids) > 0
}

// settle finds out what of the queue is stored. The lock is free meanwhile, and
// retryAt keeps others from sending. false: it is not known, or does not matter
// any more.
func (l *lane) settle(ctx context.Context) bool {
	start, known := l.trail()
	if !known {
		l.doubt = false
		return true
	}
	since := l.since
	l.settling = true
	l.mu.Unlock()
	found, broken, err := l.follow(ctx, since, start)
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
	if n := found.last; n > l.base {
		l.advance(int(min(n-l.base, uint64(len(l.queue)))), nil)
	}
	if broken {
		l.unchain()
	}
	return len(l.queue) > 0
}

// follow looks where the lane's messages are: those of a chain in their places, others
// at the end of the partition, and then further back. broken says of a chain that
// something else has taken its next place, so that nothing of it can be stored any more.
func (l *lane) follow(ctx context.Context, since time.Time, start trail) (found trail, broken bool, err error) {
	p := partitionOf{l.spec, l.part}
	if start.at == 0 {
		oldest := func(now time.Time) time.Time { // the clock of the server counts, not ours
			return now.Add(-time.Since(since) - clockSkew)
		}
		found, _, err := l.c.searchBack(ctx, p, start, oldest)
		return found, false, err
	}
	info, err := l.c.knownInfo(ctx, l.stream)
	if err != nil {
		return start, false, err
	}
	end := info.State.LastSeq
	_, err = l.c.scan(ctx, p, span{start.at + 1, end}, start.see)
	return start, start.at != end, err // it may also be that the server has lost what it had acknowledged
}

// partitionOf is a partition of a topic.
type partitionOf struct {
	spec TopicSpec
	part int
}

func (p partitionOf) stream() string { return p.spec.BackingStream(p.part) }

// searchBack looks for a writer's last messages at the end of the partition first and
// then further back, until it has found one of them, or what its writer has made
// before or after them, or what was stored before oldest, which is told the time of
// the server. end is how far it has looked.
func (c *Client) searchBack(ctx context.Context, p partitionOf, start trail, oldest func(now time.Time) time.Time) (found trail, end uint64, err error) {
	info, err := c.knownInfo(ctx, p.stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = &TopicNotFoundError{Topic: p.spec.Name, Partition: p.part}
	}
	if err != nil {
		return start, 0, err
	}
	first, end := max(info.State.FirstSeq, 1), info.State.LastSeq
	for tail := uint64(firstTail); ; tail *= 4 {
		from := first
		if end > first+tail {
			from = end - tail
		}
		found := start
		reached, err := c.scan(ctx, p, span{from, end}, found.see)
		if err != nil || found.last > 0 || found.older || found.newer || from == first || reached.Before(oldest(info.TimeStamp)) {
			return found, end, err
		}
	}
}

// scan reads the headers of the messages between two positions, both included. It
// returns when the first of them was stored.
func (c *Client) scan(ctx context.Context, p partitionOf, between span, see func(position uint64, h nats.Header)) (reached time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, tailTimeout)
	defer cancel()
	if between.first > between.last {
		return reached, nil
	}
	last, err := c.nextMsg(ctx, p.stream(), between.last)
	if err != nil {
		return reached, err
	}
	ends := last != nil && last.Seq == between.last
	if !ends {
		if some, err := c.hasAfter(ctx, p.stream(), between.first-1); err != nil || !some {
			return time.Now(), err // all of them were deleted
		}
	}
	f := c.ephemeralFeed(p.stream(), jetstream.ConsumerConfig{HeadersOnly: true})
	f.last = between.first - 1
	f.errs = p.spec.feedErrors(p.part)
	var failed error
	f.handle = func(m *nats.Msg, at position) bool {
		if at.stream > between.last {
			return false
		}
		if reached.IsZero() {
			reached = at.time()
		}
		see(at.stream, m.Header)
		// The consumer may be on a server that does not have yet all that the leader has: what is not seen would be stored again.
		if ends || at.pending > 0 || at.stream == between.last {
			return at.stream < between.last
		}
		var more bool
		more, failed = c.hasAfter(ctx, p.stream(), at.stream)
		return more && failed == nil
	}
	if err := f.open(ctx); err != nil {
		return reached, err
	}
	defer f.close()
	if err := errors.Join(f.run(ctx), failed); err != nil {
		return reached, err
	}
	return reached, ctx.Err()
}

// permitted asks whether the queue may still be sent, where that has to be asked.
// The lock is free meanwhile, and retryAt keeps others from sending.
func (l *lane) permitted(ctx context.Context) bool {
	if l.owned == nil {
		return true
	}
	l.settling = true
	sure := l.rivalled
	l.mu.Unlock()
	err := l.owned(ctx, sure)
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
	l.rivalled = false
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
