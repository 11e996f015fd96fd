package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"go.uber.org/zap"
)

const (
	// linger is how long a session stays open for more records before it is
	// closed to have the last ones acknowledged.
	linger = 5 * time.Millisecond
	// probeAfter is how long the server may be silent before it is asked again,
	// maxProbes how often in vain before the session counts as lost.
	probeAfter = time.Second
	maxProbes  = 4
	// windowBytes bounds what is in flight where messages are large.
	windowBytes = 8 << 20
	// flow asks the server for an acknowledgement every so many messages; it may
	// choose a smaller number, up to 500.
	flow = "500"
)

// outMsg is a message on its way out.
type outMsg struct {
	subject string
	key     string
	data    []byte
	headers nats.Header
}

// lane publishes to one partition, in order, without loss. It uses JetStream's
// fast-ingest batches ("sessions" here): the server takes the messages of a
// session only in sequence, ends it at the first hole, and says how many it
// has stored. So pipelining cannot reorder, and after a failure the lane
// continues exactly behind what was stored. Only where the session itself is
// lost (the only server restarted, its answer was lost) it cannot know; it then
// sends again from the last acknowledged message on, and message ids, where
// there are any, make the server drop what comes twice.
//
// Timers are driven by whoever waits: add and wait call tick.
type lane struct {
	c      *Client
	acks   *ackRouter
	spec   TopicSpec
	part   int
	stream string
	window int // most messages in flight

	mu       sync.Mutex
	changed  chan struct{} // closed at the next progress
	queue    []outMsg      // not acknowledged yet, oldest first
	bytes    int           // of the data in queue
	base     uint64        // number of the first in queue, counted from 0
	sess     *session      // nil: none is open
	errs     []error       // of messages that were given up
	lastSend time.Time
	lastWord time.Time // of the server
	probes   int
	retryAt  time.Time // zero: no retry is due
	delay    time.Duration
	trouble  error // why the last session was left, nil since the server took something
	missing  int   // answers in a row that nobody serves the subject
}

// session is one fast-ingest batch.
type session struct {
	lane    *lane
	id      string
	prefix  string // of reply subjects
	start   uint64 // number of its first message
	sent    uint64 // messages sent in it
	closing bool   // it takes no more messages
	failSeq uint64 // the message that the server refused
	failErr *jetstream.APIError
}

func (c *Client) newLane(acks *ackRouter, spec TopicSpec, part, window int) *lane {
	return &lane{
		c: c, acks: acks, spec: spec, part: part, window: window,
		stream:  spec.BackingStream(part),
		changed: make(chan struct{}),
	}
}

// add puts m at the end and sends it. It blocks while the window is full. last
// says that nothing follows, which spares a message.
func (l *lane) add(ctx context.Context, m outMsg, last bool) error {
	l.mu.Lock()
	for len(l.queue) >= l.window || l.bytes >= windowBytes {
		if err := l.await(ctx); err != nil {
			l.mu.Unlock()
			return err
		}
	}
	defer l.mu.Unlock()
	l.queue = append(l.queue, m)
	l.bytes += len(m.data)
	if l.retryAt.IsZero() && (l.sess == nil || !l.sess.closing) {
		l.transmit(&l.queue[len(l.queue)-1], last)
	}
	return nil
}

// wait returns when everything that was added before is settled.
func (l *lane) wait(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	target := l.base + uint64(len(l.queue))
	if l.sess != nil && !l.sess.closing {
		l.finish()
	}
	for l.base < target {
		if err := l.await(ctx); err != nil {
			return err
		}
		if l.sess != nil && !l.sess.closing && l.base < target {
			l.finish()
		}
	}
	return nil
}

// takeErrors gives the errors since the last call.
func (l *lane) takeErrors() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	errs := l.errs
	l.errs = nil
	return errs
}

// close forgets what is in flight.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
	l.queue, l.bytes = nil, 0
}

// await releases the lock until something changes, a timer is due or ctx ends.
func (l *lane) await(ctx context.Context) error {
	changed := l.changed
	l.mu.Unlock()
	t := time.NewTimer(linger)
	var err error
	select {
	case <-changed:
	case <-t.C:
		l.tick(ctx)
	case <-ctx.Done():
		err = ctx.Err()
	}
	t.Stop()
	l.mu.Lock()
	if err != nil && l.trouble != nil {
		err = fmt.Errorf("%w (last answer: %w)", err, noRoom(l.trouble))
	}
	return err
}

// tick does what is due and says whether anything is in flight.
func (l *lane) tick(ctx context.Context) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return false
	}
	now := time.Now()
	switch s := l.sess; {
	case !l.retryAt.IsZero():
		if now.Before(l.retryAt) {
			break
		}
		if l.missing >= notFoundLimit && l.vanished(ctx) || l.retryAt.IsZero() {
			break // given up, or somebody else was here while the lock was free
		}
		l.resend()
	case s == nil:
		l.resend()
	case !s.closing && now.Sub(l.lastSend) >= linger:
		l.finish()
	case now.Sub(l.lastWord) < probeAfter || now.Sub(l.lastSend) < probeAfter:
	case l.probes >= maxProbes:
		l.retry(errors.New("the server does not answer"))
	default:
		l.probes++
		l.finish()
	}
	return len(l.queue) > 0
}

// vanished asks whether the topic still exists, and gives everything up if not.
func (l *lane) vanished(ctx context.Context) bool {
	at := l.retryAt
	l.mu.Unlock()
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	_, err := l.c.js.Stream(ask, l.stream)
	cancel()
	l.mu.Lock()
	if !l.retryAt.Equal(at) {
		// Somebody else asked, too, and went on: this answer may be older than the topic that is there now.
		return false
	}
	l.missing = 0
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return false
	}
	l.giveUp(&TopicNotFoundError{Topic: l.spec.Name, Partition: l.part})
	return true
}

// giveUp ends everything in flight with err.
func (l *lane) giveUp(err error) {
	l.drop()
	l.errs = append(l.errs, err)
	l.retryAt, l.delay = time.Time{}, 0
	l.advance(len(l.queue))
}

// transmit sends the message behind the last one of the session, which it opens
// when there is none.
func (l *lane) transmit(m *outMsg, last bool) {
	s := l.sess
	if s == nil {
		s = &session{lane: l, id: nuid.Next(), start: l.base + uint64(len(l.queue)) - 1}
		l.open(s)
	}
	op := byte('1')
	if s.sent == 0 {
		op = '0'
	}
	if last {
		op = '2'
		s.closing = true
	}
	s.sent++
	l.lastSend = time.Now()
	if last || s.sent == 1 {
		l.lastWord = l.lastSend
	}
	l.check(s.publish(l.c.nc, m, op))
}

func (l *lane) open(s *session) {
	s.prefix = l.acks.inbox + "." + s.id + "." + flow + ".fail."
	l.sess = s
	l.probes = 0
	l.acks.register(s)
}

// publish sends a message of the session; m is nil for the end without one.
func (s *session) publish(nc *nats.Conn, m *outMsg, op byte) error {
	var buf [128]byte
	b := append(buf[:0], s.prefix...)
	seq := s.sent
	if m == nil {
		seq++
	}
	b = strconv.AppendUint(b, seq, 10)
	b = append(b, '.', op)
	b = append(b, ".$FI"...)
	if m == nil {
		return nc.PublishRequest(s.lane.queue[0].subject, string(b), nil)
	}
	if m.headers == nil {
		return nc.PublishRequest(m.subject, string(b), m.data)
	}
	return nc.PublishMsg(&nats.Msg{Subject: m.subject, Reply: string(b), Header: m.headers, Data: m.data})
}

// finish ends the session: the server answers how much it has stored.
func (l *lane) finish() {
	if l.sess == nil || len(l.queue) == 0 {
		return
	}
	if !l.sess.closing {
		l.probes = 0
	}
	l.sess.closing = true
	l.lastSend = time.Now()
	l.check(l.sess.publish(l.c.nc, nil, '3'))
}

// check handles an error of the connection.
func (l *lane) check(err error) {
	switch {
	case err == nil:
	case errors.Is(err, nats.ErrConnectionClosed):
		l.giveUp(fmt.Errorf("stream: publish to topic %q: %w", l.spec.Name, err))
	default:
		l.retry(err)
	}
}

// drop leaves the session.
func (l *lane) drop() {
	if l.sess != nil {
		l.acks.forget(l.sess)
		l.sess = nil
	}
}

// retry leaves the session and sends everything again a little later.
func (l *lane) retry(err error) {
	l.drop()
	l.trouble = err
	l.delay = min(max(2*l.delay, firstBackoff), lastBackoff)
	l.retryAt = time.Now().Add(l.delay)
	l.c.log.Debug("publishing is tried again", zap.String("topic", l.spec.Name), zap.Int("partition", l.part),
		zap.Int("messages", len(l.queue)), zap.Error(err))
}

// resend opens a session for everything that is not acknowledged.
func (l *lane) resend() {
	l.retryAt = time.Time{}
	if len(l.queue) == 0 {
		return
	}
	s := &session{lane: l, id: nuid.Next(), start: l.base}
	l.open(s)
	for i := range l.queue {
		if l.sess != s {
			return // the connection failed meanwhile
		}
		l.transmit(&l.queue[i], false)
	}
}

// advance takes the first n messages off the queue.
func (l *lane) advance(n int) {
	if n > 0 {
		for i := range n {
			l.bytes -= len(l.queue[i].data)
		}
		clear(l.queue[:n]) // release what they refer to
		l.queue = l.queue[n:]
		l.base += uint64(n)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// progress notes that the session's first n messages are stored.
func (l *lane) progress(s *session, n uint64) {
	l.lastWord = time.Now()
	l.probes, l.missing = 0, 0
	if end := s.start + n; end > l.base && n <= s.sent {
		l.delay, l.trouble = 0, nil
		l.advance(int(end - l.base))
	}
}

// answered handles one answer of the server. at is the number, within the
// session, of the message that it answers.
func (l *lane) answered(s *session, at uint64, a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sess != s {
		return // of a session that is over
	}
	switch {
	case a.nobody:
		l.missing++
		l.retry(nats.ErrNoResponders)
	case a.kind == "ack":
		l.progress(s, a.seq)
	case a.kind == "gap":
		// Messages were lost on the way. The server ends the session and says
		// next how many it has.
		s.closing = true
	case a.kind == "err":
		s.closing = true
		s.refused(a.seq, a.err)
	case a.err != nil:
		s.refused(at, a.err)
		if at == 1 || a.err.ErrorCode == codeUnknownBatch {
			l.failed(s) // there is no session, or no longer
			return
		}
		// The message was refused before the server looked at its session, which
		// is still open: ask how much it has stored. To send again without
		// knowing that would store it twice.
		l.finish()
	default: // the session is over
		l.progress(s, a.count)
		l.drop()
		if len(l.queue) == 0 {
			return
		}
		if a.count < s.sent {
			l.failed(s)
			return
		}
		l.resend()
	}
}

// refused notes the first message that the server would not take.
func (s *session) refused(seq uint64, err *jetstream.APIError) {
	if s.failErr == nil || seq < s.failSeq {
		s.failSeq, s.failErr = seq, err
	}
}

// failed continues behind what was stored of a session that ended early.
func (l *lane) failed(s *session) {
	l.drop()
	switch {
	case s.failErr == nil || s.failSeq != l.base-s.start+1 && s.failErr.ErrorCode != codeUnknownBatch:
		// A hole: the rest was lost with a connection or a leader. What the
		// server has is known, so there is nothing to wait for.
		l.resend()
	case permanent(s.failErr):
		m := l.queue[0]
		l.errs = append(l.errs, &PublishError{Topic: l.spec.Name, Partition: l.part, Key: m.key, Err: noRoom(s.failErr)})
		l.advance(1)
		l.resend()
	default:
		l.retry(s.failErr)
	}
}

// permanent says whether the server will refuse the same message again.
func permanent(err *jetstream.APIError) bool {
	switch err.ErrorCode {
	case codeWrongLastSeq, codeWrongLastSeqInProcess, // an append that failed to replicate was counted
		codeBatchIncomplete, codeUnknownBatch: // the session was lost
		return false
	}
	return err.Code == 400
}

// Codes of the server that package jetstream has no names for.
const (
	codeWrongLastSeq          = 10071
	codeWrongLastSeqInProcess = 10164
	codeBatchIncomplete       = 10176
	codeUnknownBatch          = 10208
)
