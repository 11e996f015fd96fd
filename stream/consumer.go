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
	// bufferRecords is how many records of a partition wait for Poll, chunkRecords
	// how many one Poll returns at most. The bytes are for large records.
	bufferRecords = 4096
	bufferBytes   = 16 << 20
	chunkRecords  = 512
	chunkBytes    = 1 << 20
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
	// confirm each record by itself. 0, or more than 512: 512.
	MaxPollRecords int
}

func chunkLimit(maxPoll int) int {
	if maxPoll == 0 {
		return chunkRecords
	}
	return min(maxPoll, chunkRecords)
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
	// Tombstone says that the key has no value any more: the record has no data, and
	// its topic is compacted.
	Tombstone bool
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
	limit int // of records per Poll

	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	ready  chan struct{} // has a token when there may be something to poll
	parts  []*consumerPart[V]
	turn   int   // the partition that Poll looks at first
	err    error // nothing more can be read
	closed bool
}

// consumerPart is one partition of a Consumer. Its fields are guarded by the
// Consumer's mutex.
type consumerPart[V any] struct {
	chunks   []chunk[V]    // what waits for Poll, oldest first
	buffered int           // records in chunks
	bytes    int           // of the values in them
	room     chan struct{} // closed when Poll has made room
	polled   ackAt         // of the last record returned by Poll
	acked    uint64        // committed offset: the last one that needs no redelivery
	epoch    int           // attachments so far

	// filling is the chunk that grows; it belongs to the feed's goroutine.
	filling []Record[V]
	reply   string // of its last record
	size    int    // of the values in it
}

// chunk is what one Poll returns: records change hands together, without a copy
// and without a lock for each.
type chunk[V any] struct {
	records []Record[V]
	last    ackAt
	bytes   int
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
		return nil, fmt.Errorf("stream: ConsumerConfig.MaxPollRecords is %d, not a number of records (or 0 for 512)", cfg.MaxPollRecords)
	}
	run, cancel := context.WithCancel(context.Background())
	k := &Consumer[V]{
		c: c, topic: topic, spec: spec, group: cfg.Group, codec: topic.codec(),
		limit:  chunkLimit(cfg.MaxPollRecords),
		cancel: cancel,
		ready:  make(chan struct{}, 1),
		parts:  make([]*consumerPart[V], spec.Partitions),
	}
	feeds := make([]*feed, spec.Partitions)
	parts := make([]int, spec.Partitions)
	for p := range parts {
		parts[p] = p
		k.parts[p] = &consumerPart[V]{room: make(chan struct{})}
	}
	err := inParallel(parts, func(p int) error {
		f, err := k.open(ctx, run, p, cfg.Start)
		if err != nil {
			return fmt.Errorf("stream: consume topic %q partition %d as group %q: %w", spec.Name, p, cfg.Group, err)
		}
		feeds[p] = f
		return nil
	})
	if err != nil {
		cancel()
		for _, f := range feeds {
			if f != nil {
				f.close()
			}
		}
		return nil, err
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
	keys := k.spec.keyReader(p)
	f := &feed{c: k.c, stream: k.spec.BackingStream(p), gapless: !k.spec.Compact, last: floor}
	f.errs = k.spec.feedErrors(p)
	f.errs.busy = func() error {
		return &GroupBusyError{Topic: k.spec.Name, Partition: p, Group: k.group}
	}
	checked := true
	f.attach = func(ctx context.Context, _ uint64) (string, error) {
		k.mu.Lock()
		next := part.acked + 1
		part.epoch++
		k.mu.Unlock()
		if !checked {
			// Somebody may have deleted the durable meanwhile.
			if _, _, err := k.c.openGroup(ctx, k.spec, k.group, p); err != nil {
				return "", err
			}
		}
		checked = false
		if err := k.c.resetGroup(ctx, k.spec, k.group, p, next); err != nil {
			return "", err
		}
		return k.group, nil
	}
	f.skipped = func(m *nats.Msg, pos position) { k.again(part, m, pos) }
	f.handle = func(m *nats.Msg, pos position) bool {
		part.filling = append(part.filling, k.record(p, keys, m, pos))
		part.reply = m.Reply
		part.size += len(m.Data)
		if len(part.filling) < k.limit && part.size < chunkBytes {
			return true
		}
		return k.put(run, part)
	}
	f.idle = func() bool { return k.put(run, part) }
	return f, f.open(ctx)
}

// record decodes a message.
func (k *Consumer[V]) record(p int, keys keyReader, m *nats.Msg, pos position) Record[V] {
	key, headers := keys.read(m.Subject, Headers(m.Header))
	r := Record[V]{
		Topic:     k.spec.Name,
		Partition: p,
		Offset:    pos.stream,
		Key:       key,
		Headers:   headers,
		Data:      m.Data,
	}
	if k.spec.Compact && len(m.Data) == 0 {
		r.Tombstone = true
		r.Time, r.Err = Topic[V]{}.EventTime(r.Value, r.Headers, pos.time())
		return r
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

// put hands the growing chunk to Poll and blocks while there is no room.
func (k *Consumer[V]) put(run context.Context, part *consumerPart[V]) bool {
	n := len(part.filling)
	if n == 0 {
		return true
	}
	k.mu.Lock()
	for part.buffered >= bufferRecords || part.bytes >= bufferBytes {
		room := part.room
		k.mu.Unlock()
		select {
		case <-room:
		case <-run.Done():
			return false
		}
		k.mu.Lock()
	}
	last := ackAt{offset: part.filling[n-1].Offset, reply: part.reply, epoch: part.epoch}
	part.chunks = append(part.chunks, chunk[V]{records: part.filling, last: last, bytes: part.size})
	part.buffered += n
	part.bytes += part.size
	k.mu.Unlock()
	part.filling, part.size = make([]Record[V], 0, min(2*n, k.limit)), 0
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
	for i := range part.chunks {
		if last := &part.chunks[i].last; last.offset == pos.stream {
			last.reply, last.epoch = m.Reply, part.epoch
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

// Poll returns records that have arrived, at least one, and waits for them until
// ctx ends. They are of one partition, in order and without a hole; partitions
// take turns. Once nothing more can be read, and all that had arrived has been
// returned, it gives the reason: *OffsetGoneError, *TopicNotFoundError,
// *GroupBusyError, ErrClosed.
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
	for range k.parts {
		part := k.parts[k.turn]
		k.turn = (k.turn + 1) % len(k.parts)
		if len(part.chunks) == 0 {
			continue
		}
		c := part.chunks[0]
		part.chunks[0] = chunk[V]{} // its records are the caller's now
		part.chunks = part.chunks[1:]
		part.buffered -= len(c.records)
		part.bytes -= c.bytes
		part.polled = c.last
		close(part.room)
		part.room = make(chan struct{})
		return c.records, nil
	}
	return nil, k.err
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
		waiting, err := part.buffered > 0, k.err
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
