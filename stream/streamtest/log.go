package streamtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rossby-streams/rossby/stream"
)

// maxPayload is the default of nats-server.
const maxPayload = 1 << 20

// Log holds topics and the positions of consumer groups in memory. It is safe for
// use by several goroutines and needs no Close.
type Log struct {
	mu     sync.Mutex
	now    time.Time
	topics map[string]*topicLog
	// changed is closed, and made anew, when a Poll may have something to do.
	changed chan struct{}
	members int // so far
}

type topicLog struct {
	spec   stream.TopicSpec
	parts  []partitionLog
	groups map[string]*group
}

type partitionLog struct {
	records []stored // those that are left, oldest first
	next    uint64
	ids     map[string]time.Time // when each id was stored
}

// stored is a record as the server would keep it.
type stored struct {
	offset  uint64
	key     string
	data    []byte
	headers stream.Headers
	at      time.Time
}

// NewLog gives an empty log, whose clock stands at the beginning of the year 2026, UTC.
func NewLog() *Log {
	return &Log{
		now:     time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC),
		topics:  make(map[string]*topicLog),
		changed: make(chan struct{}),
	}
}

// Now is the log's time: when records that are sent now count as stored.
func (l *Log) Now() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// Advance moves the clock: ids leave their duplicate window, and records and
// tombstones reach their age. The clock does not go back: d below 0 does nothing.
func (l *Log) Advance(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.now.Add(max(d, 0))
	for _, t := range l.topics {
		for p := range t.parts {
			t.parts[p].expire(t.spec, l.now)
		}
	}
	l.wake()
}

// wake is called with the mutex held.
func (l *Log) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// CreateTopic makes a topic; one that exists and is the same is left alone. The
// error is a *stream.SpecError, or a *stream.TopicMismatchError.
func (l *Log) CreateTopic(ctx context.Context, spec stream.TopicSpec) error {
	spec = withDefaults(spec)
	if err := errors.Join(ctx.Err(), spec.Validate()); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.topics[spec.Name]; old != nil {
		if spec.Replicas == 0 {
			spec.Replicas = old.spec.Replicas
		}
		if spec.Storage == stream.DefaultStorage {
			spec.Storage = old.spec.Storage
		}
		if old.spec == spec {
			return nil
		}
		return &stream.TopicMismatchError{Topic: spec.Name, Differences: []stream.Difference{{
			Setting: "description", Have: fmt.Sprintf("%+v", old.spec), Want: fmt.Sprintf("%+v", spec),
		}}}
	}
	t := &topicLog{spec: spec, parts: make([]partitionLog, spec.Partitions), groups: make(map[string]*group)}
	for p := range t.parts {
		t.parts[p] = partitionLog{next: 1, ids: make(map[string]time.Time)}
	}
	l.topics[spec.Name] = t
	return nil
}

// laidOut is what stream asks of a topic before it is written or read; nil where there
// is no such topic. It is called with the mutex held.
func (l *Log) laidOut(spec stream.TopicSpec) error {
	t := l.topics[spec.Name]
	if t == nil {
		return nil
	}
	type layout struct {
		Partitions int
		KeyIn      stream.KeyIn
		Compact    bool
	}
	have, want := layout{t.spec.Partitions, t.spec.KeyIn, t.spec.Compact}, layout{spec.Partitions, spec.KeyIn, spec.Compact}
	if have == want {
		return nil
	}
	return &stream.TopicMismatchError{Topic: spec.Name, Differences: []stream.Difference{{
		Setting: "layout", Have: fmt.Sprintf("%+v", have), Want: fmt.Sprintf("%+v", want),
	}}}
}

// withDefaults lets stream fill in what a description leaves open.
func withDefaults(s stream.TopicSpec) stream.TopicSpec {
	return stream.Topic[any]{
		Name: s.Name, Partitions: s.Partitions, Replicas: s.Replicas, Storage: s.Storage, MaxAge: s.MaxAge,
		MaxBytes: s.MaxBytes, MaxRecords: s.MaxRecords, Compact: s.Compact, TombstoneTTL: s.TombstoneTTL,
		Compression: s.Compression, DuplicateWindow: s.DuplicateWindow, KeyIn: s.KeyIn,
	}.Spec()
}

// Offsets gives the extent of every partition, in order. A topic that does not exist
// is a *stream.TopicNotFoundError.
func (l *Log) Offsets(ctx context.Context, spec stream.TopicSpec) ([]stream.PartitionOffsets, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.topics[spec.Name]
	if t == nil {
		return nil, &stream.TopicNotFoundError{Topic: spec.Name}
	}
	out := make([]stream.PartitionOffsets, len(t.parts))
	for p := range t.parts {
		part := &t.parts[p]
		out[p] = stream.PartitionOffsets{Partition: p, First: part.first(), Next: part.next, Records: uint64(len(part.records))}
	}
	return out, ctx.Err()
}

func (p *partitionLog) first() uint64 {
	if len(p.records) == 0 {
		return p.next
	}
	return p.records[0].offset
}

// from gives the records at or after an offset.
func (p *partitionLog) from(next uint64) []stored {
	i, _ := slices.BinarySearchFunc(p.records, next, func(r stored, at uint64) int { return cmp.Compare(r.offset, at) })
	return p.records[i:]
}

// after gives the offset of the first record that was stored at or after t.
func (p *partitionLog) after(t time.Time) uint64 {
	for _, r := range p.records {
		if !r.at.Before(t) {
			return r.offset
		}
	}
	return p.next
}

// append stores a record, unless its id was there within the duplicate window.
func (p *partitionLog) append(spec stream.TopicSpec, r stored, id string) {
	if id != "" {
		if at, ok := p.ids[id]; ok && r.at.Sub(at) < spec.DuplicateWindow {
			return
		}
		p.ids[id] = r.at
	}
	if spec.Compact {
		p.records = slices.DeleteFunc(p.records, func(old stored) bool { return old.key == r.key })
	}
	r.offset = p.next
	p.next++
	p.records = append(p.records, r)
	if most := int(spec.MaxRecords); most > 0 && len(p.records) > most {
		p.records = slices.Delete(p.records, 0, len(p.records)-most)
	}
}

// expire removes what has reached its age.
func (p *partitionLog) expire(spec stream.TopicSpec, now time.Time) {
	p.records = slices.DeleteFunc(p.records, func(r stored) bool {
		age := now.Sub(r.at)
		return spec.MaxAge > 0 && age >= spec.MaxAge || spec.Compact && len(r.data) == 0 && age >= spec.TombstoneTTL
	})
	for id, at := range p.ids {
		if now.Sub(at) >= spec.DuplicateWindow {
			delete(p.ids, id)
		}
	}
}
