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
	// defaultLinger is how long a session stays open for more records before it
	// is closed to have the last ones acknowledged.
	defaultLinger = 5 * time.Millisecond
	// probeAfter is how long the server may be silent before it is asked again,
	// maxProbes how often in vain before the session counts as lost.
	probeAfter = time.Second
	maxProbes  = 4
	// windowBytes bounds what is in flight where messages are large.
	windowBytes = 8 << 20
	// maxErrors is how many errors a lane keeps until somebody takes them.
	maxErrors = 100
	// flow asks the server for an acknowledgement every so many messages; it may
	// choose a smaller number, up to 500.
	flow = "500"
	// askAfter is how long a writer that may have been replaced must not have sent
	// anything to be asked amid a session whether it still may.
	askAfter = time.Second
)

// outMsg is a message on its way out.
type outMsg struct {
	subject string
	key     string
	data    []byte
	headers nats.Header
	id      string         // by which the server drops what comes twice; empty: none
	done    func(Delivery) // nil: nobody wants to know
}

// limits say how much a lane may have in flight, and for how long.
type limits struct {
	records int
	bytes   int // keys, data and headers
	linger  time.Duration
}

// defaultLimits are those of Client.Publish, and of a ProducerConfig that is zero.
var defaultLimits = limits{records: publishWindow, bytes: windowBytes, linger: defaultLinger}

// lane publishes to one partition, in order, without loss. It uses JetStream's
// fast-ingest batches ("sessions" here): the server takes the messages of a
// session only in sequence, ends it at the first hole, and says how many it
// has stored. So pipelining cannot reorder, and after a failure the lane
// continues exactly behind what was stored. It asks about the session until the
// server answers. Only where the server does not know it any more (it was
// restarted, or its last answer was lost) the lane looks for its own marks, or
// else for the ids of its messages, at the end of the partition. Without either
// it sends again from the last acknowledged message on.
//
// Timers are driven by whoever waits: add and wait call tick.
type lane struct {
	c      *Client
	acks   *ackRouter
	spec   TopicSpec
	part   int
	stream string
	limits
	marks marks
	owned Owned // asked before a session is opened; nil: nobody is

	telling   sync.Mutex // held while reports are given, so that they stay in order
	mu        sync.Mutex
	closed    bool
	changed   chan struct{} // closed at the next progress
	queue     []outMsg      // not acknowledged yet, oldest first
	held      int           // bytes in queue
	base      uint64        // number of the first in queue, counted from 0
	sess      *session      // nil: none is open
	errs      []error       // of messages that were given up
	more      int           // errors that errs has no room for
	reports   []report      // that are still to be given
	reporting bool          // some are being given
	lastSend  time.Time
	lastWord  time.Time // of the server
	probes    int
	askedOn   uint64    // the connection's reconnects when the session was opened, or asked about
	retryAt   time.Time // zero: no retry is due
	doubt     bool      // it is not known what of the queue is stored
	settling  bool      // somebody is finding out
	since     time.Time // what is in doubt was not sent before
	delay     time.Duration
	trouble   error  // why the last session was left, nil since the server took something
	missing   int    // answers in a row that nobody serves the subject
	rivalled  bool   // somebody else has written what was to be written here
	stored    uint64 // position of the last message of the session that ended last; 0: it is not known
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

func (c *Client) newLane(acks *ackRouter, spec TopicSpec, part int, most limits) *lane {
	return &lane{
		c: c, acks: acks, spec: spec, part: part, limits: most,
		stream:  spec.BackingStream(part),
		changed: make(chan struct{}),
	}
}

// add puts m at the end and sends it. It blocks while the window is full. last
// says that nothing follows, which spares a message.
func (l *lane) add(ctx context.Context, m outMsg, last bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed && len(l.queue) > 0 && (len(l.queue) >= l.limits.records || l.held+m.size() > l.limits.bytes) {
		if err := l.await(ctx); err != nil {
			return err
		}
	}
	if l.closed {
		return ErrClosed
	}
	now := time.Now()
	if l.owned != nil && l.retryAt.IsZero() && (l.sess == nil || now.Sub(l.lastSend) > askAfter) {
		l.mu.Unlock()
		err := l.owned(ctx, false)
		l.mu.Lock()
		if err != nil {
			return err
		}
	}
	l.queue = append(l.queue, m)
	l.held += m.size()
	if l.retryAt.IsZero() && (l.sess == nil || !l.sess.closing) {
		l.transmit(&l.queue[len(l.queue)-1], last, now)
	}
	return nil
}

// size is what a message counts for the limit of bytes.
func (m *outMsg) size() int {
	n := len(m.subject) + len(m.data) + len(m.id)
	for k, vs := range m.headers {
		for _, v := range vs {
			n += len(k) + len(v)
		}
	}
	return n
}

// wait returns when everything that was added before is settled and reported.
func (l *lane) wait(ctx context.Context) error {
	defer l.tell()
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

// await releases the lock until something changes, a timer is due or ctx ends.
func (l *lane) await(ctx context.Context) error {
	changed := l.changed
	l.mu.Unlock()
	t := time.NewTimer(l.limits.linger)
	var err error
	select {
	case <-changed:
		if l.owned != nil {
			l.tick(ctx) // there may be something to send again
		}
	case <-t.C:
		l.tick(ctx)
	case <-ctx.Done():
		err = ctx.Err()
	}
	t.Stop()
	l.mu.Lock()
	if err != nil && l.trouble != nil {
		err = fmt.Errorf("%w (last answer: %w)", err, typed(l.trouble))
	}
	return err
}

// tick does what is due and says whether anything is in flight.
func (l *lane) tick(ctx context.Context) bool {
	defer l.tell()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return false
	}
	now := time.Now()
	switch s := l.sess; {
	case l.c.nc.IsClosed():
		l.check(nats.ErrConnectionClosed) // nobody will answer
	case !l.retryAt.IsZero():
		if l.settling || now.Before(l.retryAt) {
			break
		}
		if l.missing >= notFoundLimit && l.vanished(ctx) || l.settling || l.retryAt.IsZero() {
			break // given up, or somebody else was here while the lock was free
		}
		if l.sess != nil {
			l.retryAt = time.Time{}
			l.finish()
		} else if (!l.doubt || l.settle(ctx)) && l.permitted(ctx) {
			l.resend()
		}
	case s == nil:
		l.again()
	case !s.closing && now.Sub(l.lastSend) >= l.limits.linger:
		l.finish()
	case !l.c.nc.IsConnected():
	case l.c.nc.Stats().Reconnects != l.askedOn:
		l.finish() // what was sent before, or its answer, may be lost
	case now.Sub(l.lastWord) < probeAfter || now.Sub(l.lastSend) < probeAfter:
	case l.probes >= maxProbes:
		l.suspect(ErrSilent)
	default:
		l.probes++
		l.trouble = ErrSilent
		l.finish()
	}
	return len(l.queue) > 0
}

// transmit sends the message behind the last one of the session, which it opens
// when there is none.
func (l *lane) transmit(m *outMsg, last bool, now time.Time) {
	s := l.sess
	if s == nil {
		if l.cutOff() {
			return
		}
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
	l.lastSend = now
	if last || s.sent == 1 {
		l.lastWord = l.lastSend
	}
	l.check(s.publish(l.c.nc, m, op))
}

func (l *lane) open(s *session) {
	s.prefix = l.acks.inbox + "." + s.id + "." + flow + ".fail."
	l.sess = s
	l.probes = 0
	l.since = time.Now()
	l.askedOn = l.c.nc.Stats().Reconnects
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
	headers := s.lane.marks.headers(m, s.start+seq-1, seq == 1)
	if headers == nil {
		return nc.PublishRequest(m.subject, string(b), m.data)
	}
	return nc.PublishMsg(&nats.Msg{Subject: m.subject, Reply: string(b), Header: headers, Data: m.data})
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
	l.askedOn = l.c.nc.Stats().Reconnects
	l.check(l.sess.publish(l.c.nc, nil, '3'))
}

// check handles an error of the connection.
func (l *lane) check(err error) {
	switch {
	case err == nil:
	case errors.Is(err, nats.ErrConnectionClosed):
		l.giveUp(fmt.Errorf("stream: publish to topic %q: %w", l.spec.Name, err))
	default:
		l.pause(err)
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
	l.pause(err)
}

// pause sends nothing for a while. A session that is open takes no more messages,
// and is asked then how many it has: to send them again without knowing could
// store them twice.
func (l *lane) pause(err error) {
	if l.sess != nil {
		l.sess.closing = true
	}
	l.trouble = err
	l.delay = min(max(2*l.delay, firstBackoff), lastBackoff)
	l.retryAt = time.Now().Add(l.delay)
	l.c.log.Debug("publishing is tried again", zap.String("topic", l.spec.Name), zap.Int("partition", l.part),
		zap.Int("messages", len(l.queue)), zap.Error(err))
}

// resend opens a session for everything that is not acknowledged.
func (l *lane) resend() {
	l.retryAt = time.Time{}
	if len(l.queue) == 0 || l.cutOff() {
		return
	}
	s := &session{lane: l, id: nuid.Next(), start: l.base}
	l.open(s)
	for i := range l.queue {
		if l.sess != s || s.closing {
			return // the connection failed meanwhile
		}
		l.transmit(&l.queue[i], false, time.Now())
	}
}

// advance takes the first n messages off the queue: they are stored, or not
// because of err.
func (l *lane) advance(n int, err error) {
	if n > 0 {
		for i := range n {
			m := &l.queue[i]
			l.held -= m.size()
			if m.done != nil {
				l.reports = append(l.reports, report{m.done, Delivery{Partition: l.part, Err: err}})
			}
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
		l.advance(int(end-l.base), nil)
	}
}

// answered handles one answer of the server. at is the number, within the
// session, of the message that it answers.
func (l *lane) answered(s *session, at uint64, a answer) {
	defer l.tell()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sess != s {
		return // of a session that is over
	}
	switch {
	case a.nobody:
		l.missing++
		l.pause(nats.ErrNoResponders)
	case a.kind == "ack":
		l.progress(s, a.seq)
	case a.kind == "gap":
		// Messages were lost on the way. The server ends the session and says
		// next how many it has.
		s.closing = true
	case a.kind == "err":
		s.closing = true
		s.refused(a.seq, a.err)
	case a.err != nil && a.err.ErrorCode == codeUnknownBatch:
		l.suspect(a.err)
	case a.err != nil:
		s.refused(at, a.err)
		if at == 1 {
			l.failed(s) // there is no session
			return
		}
		// The message was refused before the server looked at its session, which
		// is still open: ask how much it has stored. To send again without
		// knowing that would store it twice.
		l.finish()
	default: // the session is over
		l.progress(s, a.count)
		l.stored = a.seq
		l.drop()
		l.retryAt = time.Time{}
		if len(l.queue) == 0 {
			return
		}
		if a.count < s.sent {
			l.failed(s)
			return
		}
		l.again()
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
	case s.failErr != nil && l.marks.chain.binds(s.start+s.failSeq-1) && misplaced(s.failErr):
		l.outrun(s.failErr)
	case s.failErr == nil || s.failSeq != l.base-s.start+1:
		// A hole: the rest was lost with a connection or a leader. What the
		// server has is known, so there is nothing to wait for.
		l.again()
	case permanent(s.failErr):
		err := &PublishError{Topic: l.spec.Name, Partition: l.part, Key: l.queue[0].key, Err: typed(s.failErr)}
		l.fail(err)
		l.advance(1, err)
		l.unchain() // the others stand elsewhere now
		l.again()
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

// misplaced says whether the server refused a message since it would not stand where it is to stand.
func misplaced(err *jetstream.APIError) bool {
	return err.ErrorCode == codeWrongLastSeq || err.ErrorCode == codeWrongLastSeqInProcess
}

// outrun is called when a place that was meant for a message of this lane may have been taken by somebody else.
func (l *lane) outrun(err *jetstream.APIError) {
	if l.marks.chain.kind == anchored {
		l.giveUp(errOutrun)
		l.closed = true // what is still to be added must not be sent without the first one
		return
	}
	l.unchain()
	l.suspect(err) // or by this lane, with what it had sent before
}

// unchain lets the remaining messages stand anywhere, and go by their ids.
func (l *lane) unchain() {
	if l.marks.chain.kind == chained {
		l.marks.chain, l.rivalled = chain{}, true
	}
}

// Codes of the server that package jetstream has no names for.
const (
	codeWrongLastSeq          = 10071
	codeWrongLastSeqInProcess = 10164
	codeBatchIncomplete       = 10176
	codeUnknownBatch          = 10208
)
