package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// How a feed asks for messages. The server owes it at most a credit of messages, and
// all feeds of a client creditBytes, unless their share is less than one message: a server
// cuts a connection off for which it holds more than its max_pending, 64 MB by default.
// Until a feed knows how large its messages are it asks for few.
const (
	maxCredit    = 4096
	firstCredit  = 4
	addressRoom  = 8 << 10 // for the subjects of a message
	creditBytes  = 32 << 20
	pullExpires  = 30 * time.Second
	heartbeat    = 2 * time.Second
	silenceLimit = 2*heartbeat + heartbeat/2
	// notFoundLimit is how often in a row a stream must be missing before it is
	// believed: a cluster that restarts does not know all its streams at once.
	notFoundLimit = 3
	// settleTime is how long that takes at least in a cluster, where a server that has just been started speaks for streams
	// that it has not read yet (its lostQuorumInterval).
	settleTime = 12 * time.Second
)

// errBroken says that the deliveries of the server-side consumer cannot be
// trusted any more; the feed attaches anew and goes on where it was.
var errBroken = errors.New("stream: delivery was interrupted")

// feed reads one backing stream in order through a server-side pull consumer.
// It is run by one goroutine, its owner's. The consumer's sequence in each
// delivery must follow on; where it does not, where the server falls silent and
// after each reconnect, the feed attaches again at the offset after the last
// one that it handed over: nothing is skipped and nothing comes twice.
type feed struct {
	c      *Client
	stream string
	// attach makes or resets the server-side consumer so that its next delivery
	// has consumer sequence 1 and is at or before next, and gives its name.
	attach func(ctx context.Context, next uint64) (consumer string, err error)
	// attached, if set, is told how much such a consumer has to deliver.
	attached func(pending uint64)
	// handle takes a message. false: the feed ends.
	handle func(m *nats.Msg, p position) bool
	// idle, if set, is called before the feed waits or attaches anew. false: it
	// ends.
	idle func() bool
	// quiet, if set, is called when the server says that it has nothing more.
	quiet func()
	// ephemeral consumers are deleted when the feed leaves them.
	ephemeral bool
	// gapless: the stream loses messages to retention only, so a hole in the
	// sequence means that retention has overtaken the reader.
	gapless bool
	// credit, if set, is how many messages the server owes at most.
	credit int
	// gone makes the error for offsets that retention has removed, or that the
	// stream has not reached.
	errs feedErrors

	last     uint64    // sequence last handed over
	stored   int64     // when it was stored, in nanoseconds; 0: not known
	made     time.Time // when the stream was made; zero: not known yet
	status   chan nats.Status
	sub      *nats.Subscription
	ch       chan *nats.Msg
	consumer string
	subject  string // of pull requests
	seen     uint64 // consumer sequence last seen
	owed     int    // messages that the server was asked for and has not sent
	behind   uint64 // messages that the server had behind the last one that it has sent
	wider    int    // how often requests have been doubled for a message that was too large
	refused  uint64 // last, when a message did not fit into a request
	size     int    // moving average of message sizes
}

// feedErrors turns what can happen to a stream into the owner's typed errors.
type feedErrors struct {
	notFound func() error
	gone     func(wanted, first uint64) error
	ahead    func(wanted, next uint64) error
	remade   func(was, is time.Time) error // nil: nobody's offsets outlive the stream
}

// open attaches for the first time. A feed that opened must be closed.
func (f *feed) open(ctx context.Context) error {
	f.c.feeds.Add(1)
	f.status = f.c.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	if err := f.reattach(ctx); err != nil {
		f.close()
		return err
	}
	return nil
}

// close gives up the subscription and the consumer.
func (f *feed) close() {
	f.detach()
	f.c.feeds.Add(-1)
	f.c.nc.RemoveStatusListener(f.status)
}

func (f *feed) detach() {
	if f.sub != nil {
		_ = f.sub.Unsubscribe() // fails on closed connections only
		f.sub = nil
	}
	if f.ephemeral && f.consumer != "" {
		// Nobody waits for the answer: a consumer that stays behind is removed
		// by the server after its inactivity threshold.
		_ = f.c.nc.Publish(f.c.api("CONSUMER.DELETE", f.stream, f.consumer), nil)
	}
	f.consumer = ""
}

// reattach makes deliveries start anew after the last message handed over.
func (f *feed) reattach(ctx context.Context) error {
	f.detach()
	var b backoff
	missing, since := 0, time.Time{}
	for patience := ackTimeout; ; patience = min(2*patience, askTimeout) {
		err := f.tryAttach(ctx, patience)
		if err == nil {
			return nil
		}
		var gone *OffsetGoneError
		var ahead *OffsetAheadError
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound), errors.As(err, &ahead):
			// A new leader, or a server that starts, may not have everything yet.
			if missing++; missing == 1 {
				since = time.Now()
			}
			if missing >= notFoundLimit && time.Since(since) >= f.c.settle() {
				if ahead != nil {
					return err
				}
				return f.errs.notFound()
			}
		case errors.As(err, &gone), !retryable(err):
			return err
		}
		if werr := b.wait(ctx); werr != nil {
			return fmt.Errorf("%w (last answer: %w)", werr, err)
		}
	}
}

// settle is how long a stream must be missing before it is believed.
func (c *Client) settle() time.Duration {
	if c.nc.ConnectedClusterName() == "" {
		return 0
	}
	return settleTime
}

func (f *feed) tryAttach(ctx context.Context, patience time.Duration) error {
	ask, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	next := f.last + 1
	if next > 1 || f.errs.remade != nil {
		if err := f.checkExtent(ask, next); err != nil {
			return err
		}
	}
	name, err := f.attach(ask, next)
	if err != nil {
		return err
	}
	f.consumer = name
	f.subject = f.c.api("CONSUMER.MSG.NEXT", f.stream, name)
	f.ch = make(chan *nats.Msg, maxCredit+256)
	f.sub, err = f.c.nc.ChanSubscribe(f.c.nc.NewInbox(), f.ch)
	if err != nil {
		return err
	}
	f.seen, f.owed, f.behind = 0, 0, 0
	// What happened to the connection before now does not matter any more.
	for {
		select {
		case s, ok := <-f.status:
			if !ok || s == nats.CLOSED {
				return nats.ErrConnectionClosed
			}
			continue
		default:
		}
		return nil
	}
}

// checkExtent makes sure that the stream still has, or still expects, next.
func (f *feed) checkExtent(ctx context.Context, next uint64) error {
	info, err := f.c.leaderInfo(ctx, f.stream)
	if err != nil {
		return err
	}
	if err := f.recognize(ctx, info.Created, next); err != nil {
		return err
	}
	e := extent(info.State)
	if f.gapless && next > 1 && e.First > next { // 1 is the earliest that there is
		return f.errs.gone(next, e.First)
	}
	if next > e.Next {
		return f.errs.ahead(next, e.Next)
	}
	return nil
}

// recognize makes sure that the stream is the one that the offsets are of. One that was restored from a backup may have been made at
// another time; then it has the message before next as it was.
func (f *feed) recognize(ctx context.Context, made time.Time, next uint64) error {
	if f.errs.remade == nil || f.made.Equal(made) {
		return nil
	}
	if !f.made.IsZero() && next > 1 {
		m, err := f.c.nextMsg(ctx, f.stream, next-1)
		if err != nil {
			return err
		}
		if m == nil || m.Seq != next-1 || f.stored == 0 || m.Time.UnixNano() != f.stored {
			return f.errs.remade(f.made, made)
		}
		f.c.log.Info("a stream was restored from a backup: reading goes on where it was", zap.String("stream", f.stream), zap.Uint64("after", f.last))
	}
	f.made = made
	return nil
}

// run hands messages over until ctx ends, handle returns false or nothing more
// can be read. It returns nil in the first two cases.
func (f *feed) run(ctx context.Context) error {
	for {
		err := f.deliver(ctx)
		if ctx.Err() != nil || err == nil {
			return nil
		}
		if f.idle != nil && !f.idle() {
			return nil
		}
		if !errors.Is(err, errBroken) {
			return err
		}
		f.c.log.Debug("reading resumes", zap.String("stream", f.stream), zap.Uint64("after", f.last), zap.Error(err))
		if err := f.reattach(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// deliver hands messages over from one attachment. nil: handle wanted no more.
func (f *feed) deliver(ctx context.Context) error {
	idle := time.NewTimer(silenceLimit)
	defer idle.Stop()
	for {
		if err := f.pull(); err != nil {
			return err
		}
		var m *nats.Msg
		select {
		case m = <-f.ch: // the usual case, without the price of the full select
		default:
			if f.idle != nil && !f.idle() {
				return nil
			}
			idle.Reset(silenceLimit)
			select {
			case m = <-f.ch:
			case <-ctx.Done():
				return ctx.Err()
			case s, ok := <-f.status:
				if !ok || s == nats.CLOSED {
					return nats.ErrConnectionClosed
				}
				return fmt.Errorf("%w: the connection was made anew", errBroken)
			case <-idle.C:
				return fmt.Errorf("%w: the server is silent", errBroken)
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		more, err := f.take(ctx, m)
		if err != nil || !more {
			return err
		}
	}
}

// pull keeps the server owing messages.
func (f *feed) pull() error {
	limit := f.limit()
	if f.owed > limit/2 {
		return nil
	}
	n := limit - f.owed
	buf := make([]byte, 0, 128)
	buf = append(buf, `{"batch":`...)
	buf = strconv.AppendInt(buf, int64(n), 10)
	buf = append(buf, `,"max_bytes":`...)
	buf = strconv.AppendInt(buf, f.requestBytes(), 10)
	buf = append(buf, `,"expires":`...)
	buf = strconv.AppendInt(buf, int64(pullExpires), 10)
	buf = append(buf, `,"idle_heartbeat":`...)
	buf = strconv.AppendInt(buf, int64(heartbeat), 10)
	buf = append(buf, '}')
	if err := f.c.nc.PublishRequest(f.subject, f.sub.Subject, buf); err != nil {
		return f.connError(err)
	}
	f.owed += n
	return nil
}

// limit is how many messages the server may owe now.
func (f *feed) limit() int {
	limit := firstCredit
	if f.size > 0 {
		limit = int(min(max(f.share()/int64(f.size), 1), maxCredit))
	}
	if f.credit > 0 {
		limit = min(limit, f.credit)
	}
	return limit
}

// share is how many bytes the server may owe to this feed.
func (f *feed) share() int64 { return creditBytes / max(f.c.feeds.Load(), 1) }

// requestBytes is for how many bytes at most a request asks: two of them are open at a time. It is odd, since the server does not tell
// when a request has ended just at its limit, which only the silence after that shows.
func (f *feed) requestBytes() int64 {
	return max(f.share()/2, f.c.MaxPayload()+addressRoom)<<f.wider | 1
}

// connError tells a connection that is gone for good from one that comes back.
func (f *feed) connError(err error) error {
	if errors.Is(err, nats.ErrConnectionClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", errBroken, err)
}

// take handles one message from the inbox. false: handle wants no more.
func (f *feed) take(ctx context.Context, m *nats.Msg) (bool, error) {
	if len(m.Data) == 0 && m.Reply == "" || len(m.Header) > 0 && m.Header.Get("Status") != "" {
		return true, f.control(m)
	}
	p, err := parsePosition(m.Reply)
	if err != nil {
		return false, fmt.Errorf("%w: %w (reply %q)", errBroken, err, m.Reply)
	}
	if p.consumer != f.seen+1 {
		return false, fmt.Errorf("%w: delivery %d came after %d", errBroken, p.consumer, f.seen)
	}
	f.seen, f.behind = p.consumer, p.pending
	f.owed--
	f.wider = 0
	n := len(m.Data) + len(m.Subject) + 64
	if f.size == 0 {
		f.size = n
	}
	f.size = (7*f.size + n) / 8
	if p.stream <= f.last {
		return true, nil
	}
	if f.gapless && f.last > 0 && p.stream != f.last+1 {
		if err := f.checkHole(ctx, p.stream); err != nil {
			return false, err
		}
	}
	f.last, f.stored = p.stream, p.stored
	return f.handle(m, p), nil
}

// checkHole is called for a jump in the sequence. A message that somebody
// deleted by hand leaves a legal hole; retention that has come past is an error.
func (f *feed) checkHole(ctx context.Context, found uint64) error {
	err := f.c.ask(ctx, func(ctx context.Context) error { return f.checkExtent(ctx, f.last+1) })
	if err == nil || ctx.Err() != nil {
		return err
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: the stream is gone at %d", errBroken, found)
	}
	return err
}

// control handles what the server says about pull requests.
func (f *feed) control(m *nats.Msg) error {
	switch status := m.Header.Get("Status"); status {
	case "100": // idle heartbeat: there is nothing more
		if f.behind > 0 { // a purge amid reading can leave a consumer waiting beside what is left (nats-server 2.15.2)
			return fmt.Errorf("%w: %d messages do not come", errBroken, f.behind)
		}
		if f.quiet != nil {
			f.quiet()
		}
		return nil
	case "404", "408": // a request expired; it says what it still owed
		n, _ := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
		f.owed = max(f.owed-n, 0)
		return nil
	case "409":
		if m.Header.Get("Description") != "Message Size Exceeds MaxBytes" {
			return fmt.Errorf("%w: %s", errBroken, m.Header.Get("Description"))
		}
		n, _ := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
		if f.owed = max(f.owed-n, 0); f.owed == 0 && f.refused == f.last {
			f.wider++ // this message is larger than what the server takes today
		}
		f.refused = f.last
		return nil
	case "503":
		return fmt.Errorf("%w: nobody serves the consumer", errBroken)
	default:
		return fmt.Errorf("%w: %s %s", errBroken, status, m.Header.Get("Description"))
	}
}
