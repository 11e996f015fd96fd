package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// closeTimeout bounds what Close asks of the server.
	closeTimeout = 5 * time.Second
	// pauseLook is how often Poll looks whether the server has confirmed, after a
	// pause, that the consumer still is a member.
	pauseLook = 10 * time.Millisecond
	// bufferRecords is how many records of a partition wait for Poll, chunkRecords
	// how many one Poll returns at most. The bytes are for large records.
	bufferRecords = 4096
	bufferBytes   = 16 << 20
	chunkRecords  = 512
	chunkBytes    = 1 << 20
)

// Position is where a consumer group begins in a partition in which it has no
// committed offset.
type Position int

const (
	// Earliest begins with the oldest record that exists.
	Earliest Position = iota
	// Latest begins with the first record after a member has taken the partition for
	// the first time.
	Latest
	// AtTime begins with the first record that was stored at or after StartTime.
	AtTime
	// AtOffset begins with StartOffset.
	AtOffset
)

// ConsumerConfig says who consumes, and how.
type ConsumerConfig struct {
	// Group names the consumer group, whose members share the partitions and under
	// which positions are kept: letters, digits, '_' and '-'. Required.
	Group string
	// Member is a static name: a consumer that comes back under it within the
	// SessionTimeout gets the partitions that it had, and nothing moves meanwhile;
	// Close does not give them away either. One process per name. Empty: none.
	Member string
	// SessionTimeout is after how much silence of a member the others take its
	// partitions. At least 100 ms. 0: DefaultSessionTimeout, 5 s.
	SessionTimeout time.Duration
	// Start is where a group without a position begins. Default: Earliest.
	Start Position
	// StartTime and StartOffset belong to AtTime and AtOffset.
	StartTime   time.Time
	StartOffset uint64
	// MaxPollRecords is how many records Poll returns at most: 1 lets Commit
	// confirm each record by itself. 0, or more than 512: 512.
	MaxPollRecords int
	// MaxInFlight is how many records of a partition may wait for Poll, on their way
	// or here, give or take one Poll. 0: 4096.
	MaxInFlight int
	// AutoCommit lets Poll, before it returns more, commit what it has returned
	// before, when so much time has passed since it last did; and before partitions are
	// revoked, and in Close. 0: only Commit and CommitOffset commit.
	AutoCommit time.Duration
	// OnAssigned is called by Poll with partitions that the consumer reads from now
	// on. It may set Next, to begin elsewhere: where a position is that was stored
	// together with results. After an error nothing is read of them, and the next
	// Poll calls it again; ctx is that of Poll, so one that takes longer than Poll may
	// needs another. nil: nothing is called, and reading begins at once.
	OnAssigned func(ctx context.Context, parts []Assignment) error
	// OnRevoked is called by Poll and Close with partitions that others will read,
	// before they can: everything that Poll returned has been processed by then, and
	// may still be committed. It is called again only where it returned an error.
	OnRevoked func(ctx context.Context, parts []int) error
	// OnLost is called by Poll with partitions that were taken away because the
	// consumer was silent for longer than its SessionTimeout: others may read them
	// already, and commits of them fail.
	OnLost func(ctx context.Context, parts []int) error
}

// Assignment is a partition that a consumer reads.
type Assignment struct {
	Partition int
	// Next is the offset to begin with.
	Next uint64
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

// Consumer is a member of a consumer group: it reads some of the topic's partitions,
// each in order, and the other members the rest. Partitions move when members come
// and go: a partition is read on from the group's committed offset, so what was
// polled after the last Commit comes again. A member beyond the number of partitions
// waits in Poll until one is free.
//
// All methods but Close, Pause and Resume are to be called from one goroutine at a time.
// A consumer must Poll for partitions to leave it: that is when all that it got has been
// processed.
type Consumer[V any] struct {
	c     *Client
	topic Topic[V]
	spec  TopicSpec
	cfg   ConsumerConfig
	codec Codec[V]
	limit int // of records per Poll

	member    *Membership
	run       context.Context //nolint:containedctx // that of the goroutines, which begin with each assignment
	cancel    context.CancelFunc
	wg        sync.WaitGroup
	committed time.Time // automatically, belongs to Poll

	mu       sync.Mutex
	ready    chan struct{} // has a token when there may be something to do
	parts    map[int]*consumerPart[V]
	order    []*consumerPart[V] // those to be polled
	turn     int                // the one that Poll looks at first
	paused   map[int]bool
	assigned []*consumerPart[V] // not told yet
	revoked  []int
	lost     []int
	err      error // nothing more can be read
	closed   bool
}

// consumerPart is one partition while a Consumer holds it. Its fields are guarded by
// the Consumer's mutex.
type consumerPart[V any] struct {
	number int
	opened chan struct{} // closed when next is known, or the partition cannot be read
	begin  chan struct{} // closed when OnAssigned has returned
	done   chan struct{} // closed when its goroutine has ended
	cancel context.CancelFunc
	told   bool // the user knows of it
	gone   bool // the user knows that it goes

	next     uint64        // where reading begins
	chunks   []chunk[V]    // what waits for Poll, oldest first
	buffered int           // records in chunks
	bytes    int           // of the values in them
	room     chan struct{} // closed when Poll has made room
	polled   uint64        // last offset that Poll has returned
	acked    uint64        // committed offset: the last one that is done

	// filling is the chunk that grows; it belongs to the part's goroutine.
	filling []Record[V]
	size    int // of the values in it
}

// chunk is what one Poll returns: records change hands together, without a copy
// and without a lock for each.
type chunk[V any] struct {
	records []Record[V]
	bytes   int
}

// Validate checks everything that can be checked without a server.
func (cfg ConsumerConfig) Validate() error {
	switch {
	case cfg.Start < Earliest || cfg.Start > AtOffset:
		return fmt.Errorf("stream: ConsumerConfig.Start is %d, not Earliest, Latest, AtTime or AtOffset", cfg.Start)
	case cfg.Start == AtTime && cfg.StartTime.IsZero():
		return errors.New("stream: ConsumerConfig.Start is AtTime without a StartTime")
	case cfg.Start == AtOffset && cfg.StartOffset == 0:
		return errors.New("stream: ConsumerConfig.Start is AtOffset without a StartOffset")
	case cfg.MaxPollRecords < 0:
		return fmt.Errorf("stream: ConsumerConfig.MaxPollRecords is %d, not a number of records (or 0 for 512)", cfg.MaxPollRecords)
	case cfg.MaxInFlight < 0:
		return fmt.Errorf("stream: ConsumerConfig.MaxInFlight is %d, not a number of records (or 0 for %d)", cfg.MaxInFlight, bufferRecords)
	case cfg.AutoCommit < 0:
		return fmt.Errorf("stream: ConsumerConfig.AutoCommit is %v, not an interval (or 0 for none)", cfg.AutoCommit)
	}
	return checkGroup(cfg.Group)
}

// NewConsumer joins the group, takes the partitions that are its share and free, and
// begins to read ahead. ctx bounds the opening; Close ends the Consumer.
func NewConsumer[V any](ctx context.Context, c *Client, topic Topic[V], cfg ConsumerConfig) (*Consumer[V], error) {
	spec := topic.Spec()
	if err := errors.Join(spec.Validate(), cfg.Validate()); err != nil {
		return nil, err
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = bufferRecords
	}
	k := &Consumer[V]{
		c: c, topic: topic, spec: spec, cfg: cfg, codec: topic.codec(),
		limit:  min(chunkLimit(cfg.MaxPollRecords), cfg.MaxInFlight),
		ready:  make(chan struct{}, 1),
		parts:  make(map[int]*consumerPart[V]),
		paused: make(map[int]bool),
	}
	if err := k.open(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// Poll returns records that have arrived, at least one, and waits for them until
// ctx ends. They are of one partition, in order and without a hole; partitions
// take turns. It calls OnAssigned, OnRevoked and OnLost; an error of theirs is returned.
// Once nothing more can be read, and all that had arrived has been returned, it
// gives the reason: *OffsetGoneError, *TopicNotFoundError, *MemberReplacedError,
// ErrClosed.
func (k *Consumer[V]) Poll(ctx context.Context) ([]Record[V], error) {
	for {
		if err := k.rebalance(ctx); err != nil {
			return nil, err
		}
		if err := k.autoCommit(ctx); err != nil {
			return nil, err
		}
		fresh := k.member.Fresh()
		out, err := k.take(fresh)
		if len(out) > 0 || err != nil {
			return out, err
		}
		if err := k.wait(ctx, fresh); err != nil {
			return nil, err
		}
	}
}

// wait ends when there may be something to do.
func (k *Consumer[V]) wait(ctx context.Context, fresh bool) error {
	var tick <-chan time.Time
	limit := k.cfg.AutoCommit
	if !fresh {
		limit = pauseLook
	}
	if limit > 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		tick = t.C
	}
	select {
	case <-k.ready:
	case <-tick:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// take gives the oldest chunk of the partition whose turn it is; nothing where the
// consumer may have lost what it holds.
func (k *Consumer[V]) take(fresh bool) ([]Record[V], error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, ErrClosed
	}
	if !fresh && k.err == nil {
		return nil, nil
	}
	for range k.order {
		k.turn %= len(k.order)
		part := k.order[k.turn]
		k.turn++
		if len(part.chunks) == 0 || k.paused[part.number] {
			continue
		}
		c := part.chunks[0]
		part.chunks[0] = chunk[V]{} // its records are the caller's now
		part.chunks = part.chunks[1:]
		part.buffered -= len(c.records)
		part.bytes -= c.bytes
		part.polled = c.records[len(c.records)-1].Offset
		close(part.room)
		part.room = make(chan struct{})
		return c.records, nil
	}
	return nil, k.err
}

// Pause keeps Poll from returning records of those partitions until Resume, also
// when they leave and come back. Reading ahead goes on until the buffer is full.
func (k *Consumer[V]) Pause(parts ...int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range parts {
		k.paused[p] = true
	}
}

// Resume undoes Pause.
func (k *Consumer[V]) Resume(parts ...int) {
	k.mu.Lock()
	for _, p := range parts {
		delete(k.paused, p)
	}
	k.mu.Unlock()
	k.wake()
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
	for part.buffered >= k.cfg.MaxInFlight || part.bytes >= bufferBytes {
		room := part.room
		k.mu.Unlock()
		select {
		case <-room:
		case <-run.Done():
			return false
		}
		k.mu.Lock()
	}
	part.chunks = append(part.chunks, chunk[V]{records: part.filling, bytes: part.size})
	part.buffered += n
	part.bytes += part.size
	k.mu.Unlock()
	part.filling, part.size = make([]Record[V], 0, min(2*n, k.limit)), 0
	k.wake()
	return true
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

// CaughtUp says whether Poll has returned every record of the consumer's partitions
// that was stored before the call.
func (k *Consumer[V]) CaughtUp(ctx context.Context) (bool, error) {
	k.mu.Lock()
	err := k.err
	at := make(map[int]uint64)
	for p, part := range k.parts {
		if part.buffered > 0 || k.paused[p] && len(part.chunks) > 0 || part.next == 0 {
			k.mu.Unlock()
			return false, err
		}
		at[p] = max(part.polled, part.next-1)
	}
	k.mu.Unlock()
	if err != nil {
		return false, err
	}
	for p, offset := range at {
		more, err := k.c.hasAfter(ctx, k.spec.BackingStream(p), offset)
		if err != nil || more {
			return false, err
		}
	}
	return true, nil
}
