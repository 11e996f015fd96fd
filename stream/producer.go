package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Acks says when a record counts as stored.
type Acks int

const (
	// AcksAll: when all replicas that make a majority have it. The default.
	AcksAll Acks = iota
	// AcksLeader: when the partition's leader has it. JetStream's leaders
	// acknowledge after the majority, so on topics with replicas this is
	// AcksAll; on topics with one copy the two are the same anyway.
	AcksLeader
	// AcksNone: when it has been sent. Records are lost without notice when the
	// connection or the server fails; nothing is sent twice.
	AcksNone
)

// stickyRecords is how many records without a key go to one partition before
// the next one has its turn.
const stickyRecords = 512

// ProducerConfig says how to produce.
type ProducerConfig struct {
	// Acks says when a record counts as stored. Default: AcksAll.
	Acks Acks
	// MaxInFlight is how many records per partition may wait for their
	// acknowledgement before Send blocks. 0: 4096. At least 2.
	MaxInFlight int
}

// ProducerRecord is a record to send.
type ProducerRecord[V any] struct {
	// Key decides the partition and the order: records of one key stay in the
	// order in which they were sent. Empty: any partition.
	Key string
	// Value is encoded by the topic's codec.
	Value V
	// Time is the event time, where it is another one than the topic's Time
	// gives for the value. It travels as a header. Zero: none.
	Time time.Time
	// Headers go with it. nil: none, which is what readers like best.
	Headers Headers
	// ID is the message id by which the server drops what comes twice within
	// the topic's duplicate window. Empty: none.
	ID string
}

// Producer sends records to a topic without waiting for each to be stored. Its
// methods may be called from several goroutines; records of one key then keep
// the order of the calls of Send.
//
// A failed send is repeated until it succeeds or Flush's or Close's context
// ends, and repeating never reorders. Where the server's answer is lost with
// the only server, a record may be stored twice; give ids where that matters.
type Producer[V any] struct {
	c     *Client
	topic Topic[V]
	spec  TopicSpec
	codec Codec[V]
	cfg   ProducerConfig
	lanes []*lane

	wake chan struct{} // has a token when something was sent
	stop context.CancelFunc
	done chan struct{}

	mu     sync.Mutex
	closed bool
	sticky int // records without a key so far
}

// NewProducer makes a producer for a topic that exists.
func NewProducer[V any](c *Client, topic Topic[V], cfg ProducerConfig) (*Producer[V], error) {
	spec := topic.Spec()
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if cfg.Acks < AcksAll || cfg.Acks > AcksNone {
		return nil, fmt.Errorf("stream: ProducerConfig.Acks is %d, not AcksAll, AcksLeader or AcksNone", cfg.Acks)
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = publishWindow
	}
	if cfg.MaxInFlight < 2 {
		return nil, fmt.Errorf("stream: ProducerConfig.MaxInFlight is %d, not at least 2 (or 0 for %d)", cfg.MaxInFlight, publishWindow)
	}
	acks, err := c.router()
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.Background())
	p := &Producer[V]{
		c: c, topic: topic, spec: spec, codec: topic.codec(), cfg: cfg,
		wake: make(chan struct{}, 1),
		stop: stop,
		done: make(chan struct{}),
	}
	for i := range spec.Partitions {
		p.lanes = append(p.lanes, c.newLane(acks, spec, i, cfg.MaxInFlight))
	}
	go p.watch(run)
	return p, nil
}

// watch drives the lanes' timers while anything is in flight, and sleeps
// otherwise.
func (p *Producer[V]) watch(ctx context.Context) {
	defer close(p.done)
	tick := time.NewTicker(linger)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		tick.Reset(linger)
		for busy := true; busy; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			busy = false
			for _, l := range p.lanes {
				busy = l.tick(ctx) || busy
			}
		}
		tick.Stop()
	}
}

// Send takes a record on its way and returns. It blocks while MaxInFlight
// records of its partition wait for their acknowledgement. An error of Send is
// about this record, which is not sent then: an *EncodeError, or a
// *TooLargeError. What happens to it later is told by Flush.
func (p *Producer[V]) Send(ctx context.Context, r ProducerRecord[V]) error {
	data, err := p.codec.Encode(r.Value)
	if err != nil {
		return &EncodeError{Topic: p.spec.Name, Key: r.Key, Err: err}
	}
	part, err := p.partition(r.Key)
	if err != nil {
		return err
	}
	l := p.lanes[part]
	o := Outgoing{Key: r.Key, Data: data, Headers: r.Headers, ID: r.ID}
	if !r.Time.IsZero() && (p.topic.Time == nil || !p.topic.Time(r.Value).Equal(r.Time)) {
		o.Headers = o.Headers.Clone()
		o.Headers.Set(TimeHeader, r.Time.Format(time.RFC3339Nano))
	}
	m, err := p.c.outgoing(l, &o)
	if err != nil {
		return err
	}
	if p.cfg.Acks == AcksNone {
		err = p.c.sendBare(m)
	} else {
		err = l.add(ctx, m, false)
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	if err != nil {
		return fmt.Errorf("stream: send to topic %q key %q: %w", p.spec.Name, r.Key, err)
	}
	return nil
}

// partition chooses where a record goes.
func (p *Producer[V]) partition(key string) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, ErrClosed
	}
	if key != "" {
		return Partition(key, p.spec.Partitions), nil
	}
	p.sticky++
	return (p.sticky - 1) / stickyRecords % p.spec.Partitions, nil
}

// Flush returns when everything sent before it is acknowledged, or ctx ends. The
// error joins what became of records since the last Flush: *PublishError for
// those that the server refused for good, *TopicNotFoundError for those of a
// topic that has vanished. They were not stored and are not tried again.
func (p *Producer[V]) Flush(ctx context.Context) error {
	if p.cfg.Acks == AcksNone {
		if err := p.c.nc.FlushWithContext(ctx); err != nil {
			return fmt.Errorf("stream: flush topic %q: %w", p.spec.Name, err)
		}
		return nil
	}
	// All lanes end their sessions first, then all are waited for.
	for _, l := range p.lanes {
		l.mu.Lock()
		if l.sess != nil && !l.sess.closing {
			l.finish()
		}
		l.mu.Unlock()
	}
	var errs []error
	for _, l := range p.lanes {
		if err := l.wait(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stream: flush topic %q partition %d: %w", p.spec.Name, l.part, err))
		}
		errs = append(errs, l.takeErrors()...)
	}
	return errors.Join(errs...)
}

// Close flushes and ends the producer; Send fails with ErrClosed from then on.
// What is not acknowledged when ctx ends may or may not be stored. Further calls
// do nothing.
func (p *Producer[V]) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		<-p.done
		return nil
	}
	p.closed = true
	p.mu.Unlock()
	err := p.Flush(ctx)
	p.stop()
	<-p.done
	for _, l := range p.lanes {
		l.close()
	}
	return err
}
