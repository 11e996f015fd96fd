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

// NewProducer makes a producer. As with a server, a topic that does not exist is told by
// Flush.
func NewProducer[V any](l *Log, topic stream.Topic[V]) (*Producer[V], error) {
	spec := topic.Spec()
	if err := spec.Validate(); err != nil {
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

// Send stores a record. An error is about this record, which is not stored then: a
// *stream.EncodeError, *stream.KeyError, *stream.TooLargeError or stream.ErrClosed.
func (p *Producer[V]) Send(ctx context.Context, r stream.ProducerRecord[V]) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	data, err := p.codec.Encode(r.Value)
	if err != nil {
		return &stream.EncodeError{Topic: p.spec.Name, Key: r.Key, Err: err}
	}
	headers := r.Headers.Clone()
	if !r.Time.IsZero() && (p.topic.Time == nil || !p.topic.Time(r.Value).Equal(r.Time)) {
		headers.Set(stream.TimeHeader, r.Time.Format(time.RFC3339Nano))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return stream.ErrClosed
	}
	if err := p.spec.CheckKey(r.Key); err != nil {
		return err
	}
	if size := int64(len(data)); size > maxPayload {
		return &stream.TooLargeError{Topic: p.spec.Name, Key: r.Key, Size: size, Max: maxPayload}
	}
	part := stream.Partition(r.Key, p.spec.Partitions)
	if r.Key == "" {
		part = p.sticky / stickyRecords % p.spec.Partitions
		p.sticky++
	}
	p.store(part, stored{key: r.Key, data: data, headers: headers}, r.ID)
	return nil
}

// store is called with the mutex held.
func (p *Producer[V]) store(part int, r stored, id string) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	t := p.log.topics[p.spec.Name]
	if t == nil || part >= len(t.parts) {
		p.errs = append(p.errs, &stream.TopicNotFoundError{Topic: p.spec.Name, Partition: part})
		return
	}
	r.at = p.log.now
	if id != "" {
		r.headers.Set("Nats-Msg-Id", id)
	}
	t.parts[part].append(t.spec, r, id)
	p.log.wake()
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
