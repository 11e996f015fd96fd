package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

const (
	// ackWait is long: a record is never delivered again because a reader is
	// slow, only because it has gone.
	ackWait = 24 * time.Hour
	// bufferRecords is how many records of a partition wait for Poll at most.
	bufferRecords = 4096
)

// Position is where a consumer group begins that has no committed offset.
type Position int

const (
	// Earliest begins with the oldest record that exists.
	Earliest Position = iota
	// Latest begins with the first record after the group is created.
	Latest
)

// ConsumerConfig says who consumes.
type ConsumerConfig struct {
	// Group names the consumer group, under which positions are kept: letters,
	// digits, '_' and '-'. Required. One Consumer per group and topic at a time.
	Group string
	// Start is where a group without a position begins. Default: Earliest.
	Start Position
	// MaxPollRecords is how many records Poll returns at most: 1 lets Commit
	// follow every record. 0: all that have arrived.
	MaxPollRecords int
}

// Record is one record of a topic.
type Record[V any] struct {
	// Topic, Partition and Offset say where it is.
	Topic     string
	Partition int
	Offset    uint64
	// Key is its key, unescaped.
	Key string
	// Value is the decoded value, zero when Err is set.
	Value V
	// Time is the event time: the Rossby-Time header where there is one, else
	// what the topic's Time gives for the value, else the time of storage.
	Time time.Time
	// Headers are the message's, nil as a rule.
	Headers Headers
	// Data are the bytes of the value.
	Data []byte
	// Err says why the record could not be decoded; nil when it could.
	Err error
}

// Consumer reads a topic for a consumer group: all partitions, each in order.
// Its positions are those of the last Commit; what was polled after it comes
// again to the next Consumer of the group. Poll, Commit and CaughtUp are to be
// called from one goroutine at a time.
type Consumer[V any] struct {
	c     *Client
	topic Topic[V]
	spec  TopicSpec
	group string
	codec Codec[V]
	limit int // of records per Poll; 0: none

	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	ready  chan struct{} // has a token when there may be something to poll
	parts  []*consumerPart[V]
	err    error // nothing more can be read
	closed bool
}

// consumerPart is one partition of a Consumer. Its fields are guarded by the
// Consumer's mutex.
type consumerPart[V any] struct {
	buf    []Record[V]
	acks   []ackAt       // per record of buf
	room   chan struct{} // closed when Poll has made room
	polled ackAt         // of the last record returned by Poll
	acked  uint64        // committed offset: the last one that needs no redelivery
	epoch  int           // attachments so far
}

// ackAt is how to acknowledge an offset.
type ackAt struct {
	offset uint64
	reply  string
	epoch  int // the reply is good in this attachment only
}

// NewConsumer opens the topic's partitions for the group and begins to read
// ahead. The durable of each partition is reset to its committed offset first,
// so that reading resumes at once and in order whatever became of the last
// reader. ctx bounds the opening; Close ends the Consumer.
func NewConsumer[V any](ctx context.Context, c *Client, topic Topic[V], cfg ConsumerConfig) (*Consumer[V], error) {
	spec := topic.Spec()
	if err := errors.Join(spec.Validate(), checkGroup(cfg.Group)); err != nil {
		return nil, err
	}
	if cfg.Start != Earliest && cfg.Start != Latest {
		return nil, fmt.Errorf("stream: ConsumerConfig.Start is %d, not Earliest or Latest", cfg.Start)
	}
	if cfg.MaxPollRecords < 0 {
		return nil, fmt.Errorf("stream: ConsumerConfig.MaxPollRecords is %d, not a number of records (or 0 for all)", cfg.MaxPollRecords)
	}
	run, cancel := context.WithCancel(context.Background())
	k := &Consumer[V]{
		c: c, topic: topic, spec: spec, group: cfg.Group, codec: topic.codec(),
		limit:  cfg.MaxPollRecords,
		cancel: cancel,
		ready:  make(chan struct{}, 1),
		parts:  make([]*consumerPart[V], spec.Partitions),
	}
	var feeds []*feed
	for p := range k.parts {
		k.parts[p] = &consumerPart[V]{room: make(chan struct{})}
		f, err := k.open(ctx, run, p, cfg.Start)
		if err != nil {
			cancel()
			for _, f := range feeds {
				f.close()
			}
			return nil, fmt.Errorf("stream: consume topic %q partition %d as group %q: %w", spec.Name, p, cfg.Group, err)
		}
		feeds = append(feeds, f)
	}
	for _, f := range feeds {
		k.wg.Go(func() {
			err := f.run(run)
			f.close()
			if err != nil {
				k.fail(fmt.Errorf("stream: consume topic %q as group %q: %w", spec.Name, cfg.Group, err))
			}
		})
	}
	return k, nil
}

// open attaches to the durable of one partition.
func (k *Consumer[V]) open(ctx, run context.Context, p int, start Position) (*feed, error) {
	part := k.parts[p]
	info, created, err := k.c.openGroup(ctx, k.spec, k.group, p)
	if err != nil {
		return nil, err
	}
	floor := info.AckFloor.Stream
	if created && start == Latest {
		stream, err := k.c.streamInfo(ctx, k.spec.BackingStream(p))
		if err != nil {
			return nil, err
		}
		floor = stream.State.LastSeq
	}
	part.acked = floor
	prefix := len(k.spec.subjectPrefix(p))
	f := &feed{c: k.c, stream: k.spec.BackingStream(p), gapless: true, last: floor}
	f.errs = k.spec.feedErrors(p)
	f.errs.busy = func() error {
		return &GroupBusyError{Topic: k.spec.Name, Partition: p, Group: k.group}
	}
	f.attach = func(ctx context.Context, _ uint64) (string, error) {
		k.mu.Lock()
		next := part.acked + 1
		part.epoch++
		k.mu.Unlock()
		// Creating it anew is for a durable that somebody has deleted meanwhile.
		if _, _, err := k.c.openGroup(ctx, k.spec, k.group, p); err != nil {
			return "", err
		}
		if err := k.c.resetGroup(ctx, k.spec, k.group, p, next); err != nil {
			return "", err
		}
		return k.group, nil
	}
	f.skipped = func(m *nats.Msg, pos position) { k.again(part, m, pos) }
	f.handle = func(m *nats.Msg, pos position) bool {
		return k.put(run, part, k.record(p, prefix, m, pos), ackAt{offset: pos.stream, reply: m.Reply})
	}
	return f, f.open(ctx)
}

// record decodes a message.
func (k *Consumer[V]) record(p, prefix int, m *nats.Msg, pos position) Record[V] {
	r := Record[V]{
		Topic:     k.spec.Name,
		Partition: p,
		Offset:    pos.stream,
		Key:       keyOf(m.Subject, prefix),
		Headers:   Headers(m.Header),
		Data:      m.Data,
	}
	r.Value, r.Err = k.codec.Decode(m.Data)
	if r.Err == nil {
		r.Time, r.Err = k.topic.EventTime(r.Value, r.Headers, pos.time())
	}
	if r.Err != nil {
		var zero V
		r.Value, r.Time = zero, pos.time()
	}
	return r
}

// put hands a record to Poll and blocks while there is no room.
func (k *Consumer[V]) put(run context.Context, part *consumerPart[V], r Record[V], a ackAt) bool {
	k.mu.Lock()
	for len(part.buf) >= bufferRecords {
		room := part.room
		k.mu.Unlock()
		select {
		case <-room:
		case <-run.Done():
			return false
		}
		k.mu.Lock()
	}
	a.epoch = part.epoch
	part.buf = append(part.buf, r)
	part.acks = append(part.acks, a)
	k.mu.Unlock()
	k.wake()
	return true
}

// again sees a redelivery of what Poll has had: it brings a fresh way to
// acknowledge it.
func (k *Consumer[V]) again(part *consumerPart[V], m *nats.Msg, pos position) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if part.polled.offset == pos.stream {
		part.polled.reply, part.polled.epoch = m.Reply, part.epoch
		return
	}
	for i := range part.acks {
		if part.acks[i].offset == pos.stream {
			part.acks[i].reply, part.acks[i].epoch = m.Reply, part.epoch
			return
		}
	}
}

func (k *Consumer[V]) wake() {
	select {
	case k.ready <- struct{}{}:
	default:
	}
}

func (k *Consumer[V]) fail(err error) {
	k.mu.Lock()
	if k.err == nil {
		k.err = err
	}
	k.mu.Unlock()
	k.wake()
}

// Poll returns what has arrived, at least one record, and waits for it until ctx
// ends. Records of a partition come in order and without a hole. Once nothing
// more can be read, and all that had arrived has been returned, it gives the
// reason: *OffsetGoneError, *TopicNotFoundError, *GroupBusyError, ErrClosed.
func (k *Consumer[V]) Poll(ctx context.Context) ([]Record[V], error) {
	for {
		out, err := k.take()
		if len(out) > 0 || err != nil {
			return out, err
		}
		select {
		case <-k.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (k *Consumer[V]) take() ([]Record[V], error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, ErrClosed
	}
	if k.limit > 0 {
		return k.takeSome()
	}
	n, only := 0, -1
	for p, part := range k.parts {
		if len(part.buf) > 0 {
			only = p
			if n > 0 {
				only = -1
			}
			n += len(part.buf)
		}
	}
	if n == 0 {
		return nil, k.err
	}
	var out []Record[V]
	if only < 0 {
		out = make([]Record[V], 0, n)
	}
	for p, part := range k.parts {
		if len(part.buf) == 0 {
			continue
		}
		part.polled = part.acks[len(part.acks)-1]
		part.acks = part.acks[:0]
		if p == only {
			// Nothing to join: the records change hands without a copy.
			out = part.buf
			part.buf = make([]Record[V], 0, min(2*len(out), bufferRecords))
		} else {
			out = append(out, part.buf...)
			clear(part.buf)
			part.buf = part.buf[:0]
		}
		close(part.room)
		part.room = make(chan struct{})
	}
	return out, nil
}

// takeSome is take within the limit: partition after partition.
func (k *Consumer[V]) takeSome() ([]Record[V], error) {
	var out []Record[V]
	for _, part := range k.parts {
		n := min(len(part.buf), k.limit-len(out))
		if n == 0 {
			continue
		}
		out = append(out, part.buf[:n]...)
		part.polled = part.acks[n-1]
		part.buf, part.acks = part.buf[n:], part.acks[n:]
		close(part.room)
		part.room = make(chan struct{})
	}
	if len(out) == 0 {
		return nil, k.err
	}
	k.wake() // there may be more
	return out, nil
}

// Commit makes the positions behind everything that Poll has returned the
// group's, and returns when the server has confirmed that.
func (k *Consumer[V]) Commit(ctx context.Context) error {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return ErrClosed
	}
	k.mu.Unlock()
	parts := make([]int, len(k.parts))
	for p := range parts {
		parts[p] = p
	}
	return inParallel(parts, func(p int) error {
		if err := k.commit(ctx, p); err != nil {
			return fmt.Errorf("stream: commit group %q in topic %q partition %d: %w", k.group, k.spec.Name, p, err)
		}
		return nil
	})
}

func (k *Consumer[V]) commit(ctx context.Context, p int) error {
	part := k.parts[p]
	for {
		k.mu.Lock()
		at, acked, fresh := part.polled, part.acked, part.polled.epoch == part.epoch
		k.mu.Unlock()
		if at.offset <= acked {
			return nil
		}
		var err error
		if fresh {
			err = k.ack(ctx, at.reply)
		} else {
			// The way to acknowledge it was lost with an attachment. Moving the
			// durable says the same; the feed notices and attaches anew.
			err = k.c.StoreOffset(ctx, k.spec, k.group, p, at.offset+1)
		}
		if err == nil {
			k.mu.Lock()
			part.acked = max(part.acked, at.offset)
			k.mu.Unlock()
			return nil
		}
		k.c.log.Debug("commit is tried again", zap.String("topic", k.spec.Name), zap.Int("partition", p), zap.Error(err))
		if !fresh || errors.Is(err, nats.ErrConnectionClosed) || ctx.Err() != nil {
			return err
		}
		k.mu.Lock()
		if part.polled.epoch == at.epoch {
			part.polled.epoch = -1 // go the other way next time
		}
		k.mu.Unlock()
	}
}

// ack acknowledges and waits for the server to confirm it.
func (k *Consumer[V]) ack(ctx context.Context, reply string) error {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	_, err := k.c.nc.RequestWithContext(ctx, reply, []byte("+ACK"))
	return err
}

// CaughtUp says whether Poll has returned every record that was stored before
// the call.
func (k *Consumer[V]) CaughtUp(ctx context.Context) (bool, error) {
	for p, part := range k.parts {
		k.mu.Lock()
		at := max(part.polled.offset, part.acked)
		waiting, err := len(part.buf) > 0, k.err
		k.mu.Unlock()
		if err != nil {
			return false, err
		}
		if waiting {
			return false, nil
		}
		more, err := k.c.hasAfter(ctx, k.spec.BackingStream(p), at)
		if err != nil || more {
			return false, err
		}
	}
	return true, nil
}

// Close ends reading and waits for it. It does not commit. Further calls do
// nothing.
func (k *Consumer[V]) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.cancel()
	k.wg.Wait()
	k.wake()
}
