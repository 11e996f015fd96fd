package streamtest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rossby-streams/rossby/stream"
)

// stickyRecords is that of stream: records without a key go to one partition so long.
const stickyRecords = 512

// Producer sends records to a topic of a Log. Its methods may be called from several
// goroutines.
type Producer[V any] struct {
	log   *Log
	topic stream.Topic[V]
	spec  stream.TopicSpec
	codec stream.Codec[V]

	mu     sync.Mutex
	closed bool
	sticky int // records without a key so far
	errs   []error
}

// NewProducer makes a producer. As with a server, a topic that is laid out otherwise is a
// *stream.TopicMismatchError, and one that does not exist is told by Flush.
func NewProducer[V any](l *Log, topic stream.Topic[V]) (*Producer[V], error) {
	spec := topic.Spec()
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.laidOut(spec); err != nil {
		return nil, err
	}
	return &Producer[V]{log: l, topic: topic, spec: spec, codec: codecOf(topic)}, nil
}

func codecOf[V any](t stream.Topic[V]) stream.Codec[V] {
	if t.Codec == nil {
		return stream.JSON[V]()
	}
	return t.Codec
}

// Send stores a record and tells Done. An error is about this record, which is not stored
// then: a *stream.EncodeError, *stream.KeyError, *stream.TooLargeError or stream.ErrClosed.
func (p *Producer[V]) Send(ctx context.Context, r stream.ProducerRecord[V]) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	kept, err := p.encode(&r)
	if err != nil {
		return err
	}
	d, err := p.place(kept, r.ID)
	if err == nil && r.Done != nil {
		r.Done(d)
	}
	return err
}

// encode gives what will be stored.
func (p *Producer[V]) encode(r *stream.ProducerRecord[V]) (stored, error) {
	kept := stored{key: r.Key, headers: r.Headers.Clone()}
	if !r.Tombstone {
		data, err := p.codec.Encode(r.Value)
		if err != nil {
			return kept, &stream.EncodeError{Topic: p.spec.Name, Key: r.Key, Err: err}
		}
		kept.data = data
	} else if !p.spec.Compact {
		return kept, &stream.KeyError{Topic: p.spec.Name, Key: r.Key, Problem: "it cannot be deleted by a tombstone: the topic is not compacted (make the topic with Compact)"}
	}
	if !r.Time.IsZero() && (r.Tombstone || p.topic.Time == nil || !p.topic.Time(r.Value).Equal(r.Time)) {
		kept.headers.Set(stream.TimeHeader, r.Time.Format(time.RFC3339Nano))
	}
	if err := p.spec.CheckKey(r.Key); err != nil {
		return kept, err
	}
	if size := int64(len(kept.data)); size > maxPayload {
		return kept, &stream.TooLargeError{Topic: p.spec.Name, Key: r.Key, Size: size, Max: maxPayload}
	}
	return kept, nil
}

// place stores a record in its partition. The delivery says what became of it there.
func (p *Producer[V]) place(r stored, id string) (stream.Delivery, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return stream.Delivery{}, stream.ErrClosed
	}
	d := stream.Delivery{Partition: stream.Partition(r.key, p.spec.Partitions)}
	if r.key == "" {
		d.Partition = p.sticky / stickyRecords % p.spec.Partitions
		p.sticky++
	}
	if d.Err = p.store(d.Partition, r, id); d.Err != nil {
		p.errs = append(p.errs, d.Err)
	}
	return d, nil
}

// store is called with the mutex held.
func (p *Producer[V]) store(part int, r stored, id string) error {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	t := p.log.topics[p.spec.Name]
	if t == nil || part >= len(t.parts) {
		return &stream.TopicNotFoundError{Topic: p.spec.Name, Partition: part}
	}
	r.at = p.log.now
	if id != "" {
		r.headers.Set("Nats-Msg-Id", id)
	}
	t.parts[part].append(t.spec, r, id)
	p.log.wake()
	return nil
}

// Flush gives what became of records since the last Flush.
func (p *Producer[V]) Flush(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := errors.Join(p.errs...)
	p.errs = nil
	return errors.Join(ctx.Err(), err)
}

// Close flushes; Send fails with stream.ErrClosed from then on.
func (p *Producer[V]) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	return p.Flush(ctx)
}
