package streamtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/rossby-streams/rossby/stream"
)

// pollRecords is the most that one Poll returns, as with a server.
const pollRecords = 512

// Consumer is a member of a consumer group that reads a topic of a Log. It is to be
// used from one goroutine at a time, but Close may come from another one.
type Consumer[V any] struct {
	log    *Log
	topic  stream.Topic[V]
	codec  stream.Codec[V]
	cfg    stream.ConsumerConfig
	member string
	limit  int

	// Guarded by the Log's mutex:
	on     *topicLog
	group  *group
	next   map[int]uint64 // what Poll returns next, in each partition that it reads
	paused map[int]bool
	turn   int
	commit time.Time // the last automatic one
	closed bool
}

// NewConsumer joins the group and takes the partitions that are its share and free. A
// topic that does not exist is a *stream.TopicNotFoundError; a static Member that has not
// left a *stream.MemberReplacedError, which a server would give to the older one.
func NewConsumer[V any](ctx context.Context, l *Log, topic stream.Topic[V], cfg stream.ConsumerConfig) (*Consumer[V], error) {
	spec := topic.Spec()
	if err := errors.Join(ctx.Err(), spec.Validate(), cfg.Validate()); err != nil {
		return nil, err
	}
	k := &Consumer[V]{
		log: l, topic: topic, codec: codecOf(topic), cfg: cfg, limit: pollRecords,
		next: make(map[int]uint64), paused: make(map[int]bool),
	}
	if cfg.MaxPollRecords > 0 {
		k.limit = min(cfg.MaxPollRecords, pollRecords)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.on = l.topics[spec.Name]; k.on == nil {
		return nil, &stream.TopicNotFoundError{Topic: spec.Name}
	}
	if err := l.laidOut(spec); err != nil {
		return nil, err
	}
	k.group, k.commit = k.on.group(cfg.Group), l.now
	k.member = cfg.Member
	if k.member == "" {
		l.members++
		k.member = "member-" + strconv.Itoa(l.members)
	}
	if slices.Contains(k.group.members, k.member) {
		return nil, fmt.Errorf("streamtest: group %q: %w", cfg.Group, &stream.MemberReplacedError{Group: cfg.Group, Member: k.member})
	}
	k.group.members = append(k.group.members, k.member)
	if cfg.OnAssigned == nil {
		k.takeFree()
	}
	l.wake()
	return k, nil
}

// takeFree gives the partitions that the member begins to read. It is called with the
// mutex held.
func (k *Consumer[V]) takeFree() []stream.Assignment {
	var fresh []stream.Assignment
	for _, p := range slices.Sorted(maps.Keys(k.group.share(k.member, len(k.on.parts)))) {
		if k.group.holder[p] != "" {
			continue
		}
		k.group.holder[p] = k.member
		if k.group.next[p] == 0 {
			k.group.next[p] = k.start(&k.on.parts[p])
		}
		k.next[p] = k.group.next[p]
		fresh = append(fresh, stream.Assignment{Partition: p, Next: k.next[p]})
	}
	return fresh
}

func (k *Consumer[V]) start(part *partitionLog) uint64 {
	switch k.cfg.Start {
	case stream.Latest:
		return part.next
	case stream.AtTime:
		return part.after(k.cfg.StartTime)
	case stream.AtOffset:
		return k.cfg.StartOffset
	}
	return part.first()
}

// Assigned gives the partitions that the consumer reads now, in order.
func (k *Consumer[V]) Assigned() []int {
	k.log.mu.Lock()
	defer k.log.mu.Unlock()
	return slices.Sorted(maps.Keys(k.next))
}

// Member is the name of this member in its group.
func (k *Consumer[V]) Member() string { return k.member }

// Poll returns records of one partition, at least one, in order, and waits for them until
// ctx ends. It gives up the partitions that are others' share, and takes its own.
func (k *Consumer[V]) Poll(ctx context.Context) ([]stream.Record[V], error) {
	for {
		if err := k.rebalance(ctx); err != nil {
			return nil, err
		}
		k.log.mu.Lock()
		p, batch, err := k.take()
		changed := k.log.changed
		k.log.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if len(batch) > 0 {
			return k.decode(p, batch), nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

// rebalance gives and takes partitions; callbacks run without the mutex.
func (k *Consumer[V]) rebalance(ctx context.Context) error {
	k.log.mu.Lock()
	if k.closed {
		k.log.mu.Unlock()
		return stream.ErrClosed
	}
	if k.cfg.AutoCommit > 0 && k.log.now.Sub(k.commit) >= k.cfg.AutoCommit {
		k.commit = k.log.now
		maps.Copy(k.group.next, k.next)
	}
	var revoked []int
	mine := k.group.share(k.member, len(k.on.parts))
	for p := range k.next {
		if !mine[p] {
			revoked = append(revoked, p)
		}
	}
	slices.Sort(revoked)
	k.log.mu.Unlock()
	if err := k.giveUp(ctx, revoked); err != nil {
		return err
	}
	k.log.mu.Lock()
	fresh := k.takeFree()
	k.log.mu.Unlock()
	if len(fresh) == 0 || k.cfg.OnAssigned == nil {
		return nil
	}
	err := k.cfg.OnAssigned(ctx, fresh)
	k.log.mu.Lock()
	defer k.log.mu.Unlock()
	for _, a := range fresh {
		if _, ok := k.next[a.Partition]; ok {
			k.next[a.Partition] = max(a.Next, 1)
		}
	}
	return err
}

func (k *Consumer[V]) giveUp(ctx context.Context, parts []int) error {
	if len(parts) == 0 {
		return nil
	}
	if k.cfg.AutoCommit > 0 {
		if err := k.Commit(ctx); err != nil {
			return err
		}
	}
	if k.cfg.OnRevoked != nil {
		if err := k.cfg.OnRevoked(ctx, parts); err != nil {
			return err
		}
	}
	k.log.mu.Lock()
	defer k.log.mu.Unlock()
	k.release(parts)
	return nil
}

// release is called with the mutex held.
func (k *Consumer[V]) release(parts []int) {
	for _, p := range parts {
		delete(k.next, p)
		delete(k.group.holder, p)
	}
	k.log.wake()
}

// take gives records of the partition whose turn it is.
func (k *Consumer[V]) take() (int, []stored, error) {
	if k.closed {
		return 0, nil, stream.ErrClosed
	}
	order := slices.Sorted(maps.Keys(k.next))
	for range order {
		p := order[k.turn%len(order)]
		k.turn++
		part, next := &k.on.parts[p], k.next[p]
		if k.paused[p] {
			continue
		}
		if first := part.first(); next < first && !k.on.spec.Compact {
			return 0, nil, &stream.OffsetGoneError{Topic: k.on.spec.Name, Partition: p, Wanted: next, First: first}
		}
		batch := part.from(next)
		if len(batch) == 0 {
			continue
		}
		batch = slices.Clone(batch[:min(len(batch), k.limit)])
		k.next[p] = batch[len(batch)-1].offset + 1
		return p, batch, nil
	}
	return 0, nil, nil
}

func (k *Consumer[V]) decode(p int, batch []stored) []stream.Record[V] {
	out := make([]stream.Record[V], len(batch))
	for i, s := range batch {
		r := &out[i]
		*r = stream.Record[V]{
			Topic: k.on.spec.Name, Partition: p, Offset: s.offset, Key: s.key,
			Time: s.at, Headers: s.headers.Clone(), Data: s.data,
		}
		if r.Tombstone = k.on.spec.Compact && len(s.data) == 0; r.Tombstone {
			continue
		}
		if r.Value, r.Err = k.codec.Decode(s.data); r.Err != nil {
			continue
		}
		var at time.Time
		if at, r.Err = k.topic.EventTime(r.Value, s.headers, s.at); r.Err == nil {
			r.Time = at
		}
	}
	return out
}

// Commit makes the positions behind everything that Poll has returned the group's.
func (k *Consumer[V]) Commit(ctx context.Context) error {
	k.log.mu.Lock()
	defer k.log.mu.Unlock()
	if k.closed {
		return stream.ErrClosed
	}
	maps.Copy(k.group.next, k.next)
	return ctx.Err()
}

// Seek lets Poll go on at next in a partition that the consumer reads; another one is a
// *stream.ClaimLostError.
func (k *Consumer[V]) Seek(_ context.Context, partition int, next uint64) error {
	k.log.mu.Lock()
	defer k.log.mu.Unlock()
	if _, ok := k.next[partition]; !ok {
		return &stream.ClaimLostError{Group: k.cfg.Group, Item: strconv.Itoa(partition)}
	}
	k.next[partition] = max(next, 1)
	return nil
}

// Pause keeps Poll from returning records of those partitions until Resume.
func (k *Consumer[V]) Pause(parts ...int) {
	k.log.mu.Lock()
	defer k.log.mu.Unlock()
	for _, p := range parts {
		k.paused[p] = true
	}
}

// Resume undoes Pause.
func (k *Consumer[V]) Resume(parts ...int) {
	k.log.mu.Lock()
	defer k.log.mu.Unlock()
	for _, p := range parts {
		delete(k.paused, p)
	}
	k.log.wake()
}

// Close leaves the group: its partitions are free at once, and what was polled and not
// committed comes again. It calls OnRevoked, and commits where AutoCommit is set.
// Further calls do nothing.
func (k *Consumer[V]) Close() {
	parts := k.Assigned()
	// What OnRevoked says cannot keep a member that leaves.
	_ = k.giveUp(context.Background(), parts)
	k.log.mu.Lock()
	defer k.log.mu.Unlock()
	if k.closed {
		return
	}
	k.closed = true
	k.release(slices.Collect(maps.Keys(k.next)))
	k.group.members = slices.DeleteFunc(k.group.members, func(m string) bool { return m == k.member })
}
