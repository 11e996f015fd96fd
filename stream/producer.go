package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Acks says when a record counts as stored.
type Acks int

const (
	// AcksAll: when a majority of the replicas has it. The default.
	AcksAll Acks = iota
	// AcksLeader: when the partition's leader has it. It is here for users of
	// Kafka and does what AcksAll does: a leader of JetStream acknowledges after
	// the majority, never before, and with one copy the leader is all there is.
	AcksLeader
	// AcksNone: when it has been handed to the connection. Records are lost
	// without notice when the connection or the server fails, or refuses them;
	// nothing is sent twice, and nothing waits: MaxInFlight does not count.
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
	// MaxInFlightBytes is how many bytes they may have, with subjects and
	// headers. One record may always be in flight. 0: 8 MiB. The producer's
	// memory is bounded by both, times the number of partitions.
	MaxInFlightBytes int
	// Linger is how long a batch stays open for more records once there are
	// none. It delays no record: they leave at once, and a batch has no other
	// limit than MaxInFlight. It delays the acknowledgement of the last ones,
	// which Flush asks for without delay. 0: 5 ms. At least 1 ms.
	Linger time.Duration
	// Unmarked spares records the mark (MarkHeader) by which the producer finds
	// out whether they are stored when the server's answer was lost. Sending and
	// reading become about a quarter faster. In exchange a record may be stored
	// twice over a restart of the server or a cut connection; one with an ID is
	// still dropped the second time, within the topic's duplicate window.
	Unmarked bool
}

// limits checks the configuration.
func (cfg ProducerConfig) limits() (limits, error) {
	most := defaultLimits
	if cfg.Acks < AcksAll || cfg.Acks > AcksNone {
		return most, fmt.Errorf("stream: ProducerConfig.Acks is %d, not AcksAll, AcksLeader or AcksNone", cfg.Acks)
	}
	if cfg.MaxInFlight != 0 {
		most.records = cfg.MaxInFlight
	}
	if most.records < 2 {
		return most, fmt.Errorf("stream: ProducerConfig.MaxInFlight is %d, not at least 2 (or 0 for %d)", cfg.MaxInFlight, publishWindow)
	}
	if cfg.MaxInFlightBytes != 0 {
		most.bytes = cfg.MaxInFlightBytes
	}
	if most.bytes < 1 {
		return most, fmt.Errorf("stream: ProducerConfig.MaxInFlightBytes is %d, not positive (or 0 for %d)", cfg.MaxInFlightBytes, windowBytes)
	}
	if cfg.Linger != 0 {
		most.linger = cfg.Linger
	}
	if most.linger < time.Millisecond {
		return most, fmt.Errorf("stream: ProducerConfig.Linger is %v, not at least 1ms (or 0 for %v)", cfg.Linger, defaultLinger)
	}
	return most, nil
}

// ProducerRecord is a record to send.
type ProducerRecord[V any] struct {
	// Key decides the partition and the order: records of one key stay in the
	// order in which they were sent. Empty: the record has no key and goes to any
	// partition, 512 in a row to the same one. Compacted topics need a key.
	Key string
	// Value is encoded by the topic's codec.
	Value V
	// Tombstone makes this the record that deletes its key, in a compacted topic;
	// elsewhere it is refused with a *KeyError. It has no data: Value is not
	// used, and what the topic's Time says is not asked.
	Tombstone bool
	// Time is the event time, where it is another one than the topic's Time
	// gives for the value. It travels as a header. Zero: none.
	Time time.Time
	// Headers go with it. nil: none, which is what readers like best.
	Headers Headers
	// ID is the message id by which the server drops what comes twice within
	// the topic's duplicate window. Empty: none.
	ID string
	// Done, if set, is told what became of the record once that is known, after
	// Send has accepted it: in order within a partition, and before the Flush
	// that covers it returns. It is called from goroutines of the producer and
	// from its methods: it must return soon, not call the producer, and not wait
	// for anybody who does. There is no offset to tell: the server says how many
	// records of a batch it has stored, not where.
	Done func(Delivery)
}

// Producer sends records to a topic without waiting for each to be stored. Its
// methods may be called from several goroutines; records of one key then keep
// the order of the calls of Send.
//
// A failed send is repeated until it succeeds or Close's context ends. Repeating
// neither reorders nor duplicates, whatever fails: after a lost connection the
// server is asked how much of the batch it has, and where it does not know that
// any more the producer looks for its marks at the end of the partition. For that
// each record carries a mark; see ProducerConfig.Unmarked for the exception.
type Producer[V any] struct {
	c     *Client
	topic Topic[V]
	spec  TopicSpec
	codec Codec[V]
	bare  bool // no acknowledgements
	most  limits
	lanes []*lane

	wake    chan struct{} // has a token when something was sent
	stop    context.CancelFunc
	watched chan struct{} // closed when watch has ended
	done    chan struct{} // closed when everything has

	unsure atomic.Bool // the server has not said yet how the topic is laid out
	asking sync.Mutex  // held while it is asked
	closed atomic.Bool
	sticky atomic.Uint64 // records without a key so far
}

// NewProducer makes a producer for a topic that exists. It asks the server how the
// topic is laid out: a number of partitions, say, that is not the described one is a
// *TopicMismatchError. A topic that does not exist is told by Flush. Where the server
// does not answer within a second, the first Send asks again.
func NewProducer[V any](c *Client, topic Topic[V], cfg ProducerConfig) (*Producer[V], error) {
	spec := topic.Spec()
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	most, err := cfg.limits()
	if err != nil {
		return nil, err
	}
	acks, err := c.router()
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.Background())
	p := &Producer[V]{
		c: c, topic: topic, spec: spec, codec: topic.codec(),
		bare:    cfg.Acks == AcksNone,
		most:    most,
		wake:    make(chan struct{}, 1),
		stop:    stop,
		watched: make(chan struct{}),
		done:    make(chan struct{}),
	}
	for i := range spec.Partitions {
		l := c.newLane(acks, spec, i, most)
		if !cfg.Unmarked {
			l.marks = newProducerMarks()
		}
		p.lanes = append(p.lanes, l)
	}
	ask, cancel := context.WithTimeout(context.Background(), ackTimeout)
	defer cancel()
	p.unsure.Store(true)
	if err := p.makeSure(ask); errors.As(err, new(*TopicMismatchError)) {
		stop()
		return nil, err
	}
	// Producers that send little and end would all fill the first partition.
	p.sticky.Store(uint64(rand.IntN(spec.Partitions)) * stickyRecords)
	go p.watch(run)
	return p, nil
}

// watch drives the lanes' timers while anything is in flight, and sleeps
// otherwise.
func (p *Producer[V]) watch(ctx context.Context) {
	defer close(p.watched)
	tick := time.NewTicker(p.most.linger)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		tick.Reset(p.most.linger)
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

// Send takes a record on its way and returns. It blocks while as much as may be
// in flight in its partition waits to be acknowledged. An error of Send is about
// this record, which is not sent then and not reported to Done: an
// *EncodeError, a *KeyError, a *TooLargeError, that of ctx, or ErrClosed; a
// *TopicMismatchError where NewProducer had no answer. What happens to it later is
// told to Done, and by Flush.
func (p *Producer[V]) Send(ctx context.Context, r ProducerRecord[V]) error {
	if p.closed.Load() {
		return ErrClosed
	}
	if p.unsure.Load() {
		if err := p.makeSure(ctx); err != nil {
			return err
		}
	}
	o, err := p.encode(&r)
	if err != nil {
		return err
	}
	l := p.lanes[p.partition(r.Key)]
	m, err := p.c.outgoing(l, &o)
	if err != nil {
		return err
	}
	if p.bare {
		if err = p.c.sendBare(m); err == nil && r.Done != nil {
			r.Done(Delivery{Partition: l.part})
		}
	} else {
		m.done = r.Done
		err = l.add(ctx, m, false)
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	if err != nil && !errors.Is(err, ErrClosed) {
		return fmt.Errorf("stream: send to topic %q key %q: %w", p.spec.Name, shortKey(r.Key), err)
	}
	return err
}

// makeSure asks how the topic is laid out, until ctx ends.
func (p *Producer[V]) makeSure(ctx context.Context) error {
	p.asking.Lock()
	defer p.asking.Unlock()
	if !p.unsure.Load() {
		return nil
	}
	if err := p.c.laidOut(ctx, p.spec); err != nil && !errors.As(err, new(*TopicNotFoundError)) {
		return fmt.Errorf("stream: produce to topic %q: %w", p.spec.Name, err)
	}
	p.unsure.Store(false)
	return nil
}

// encode gives what does not depend on the partition.
func (p *Producer[V]) encode(r *ProducerRecord[V]) (Outgoing, error) {
	o := Outgoing{Key: r.Key, Headers: r.Headers, ID: r.ID}
	if !r.Tombstone {
		data, err := p.codec.Encode(r.Value)
		if err != nil {
			return o, &EncodeError{Topic: p.spec.Name, Key: r.Key, Err: err}
		}
		o.Data = data
	} else if !p.spec.Compact {
		return o, &KeyError{Topic: p.spec.Name, Key: r.Key, Problem: "it cannot be deleted by a tombstone: the topic is not compacted (make the topic with Compact)"}
	}
	if !r.Time.IsZero() && (r.Tombstone || p.topic.Time == nil || !p.topic.Time(r.Value).Equal(r.Time)) {
		o.Headers = o.Headers.Clone()
		o.Headers.Set(TimeHeader, r.Time.Format(time.RFC3339Nano))
	}
	return o, nil
}

// partition chooses where a record goes.
func (p *Producer[V]) partition(key string) int {
	if key != "" {
		return Partition(key, p.spec.Partitions)
	}
	n := p.sticky.Add(1) - 1
	return int(n / stickyRecords % uint64(p.spec.Partitions))
}

// Flush returns when everything sent before it is acknowledged, or ctx ends. The
// error joins what became of records since the last Flush: *PublishError for
// those that the server refused for good, *TopicNotFoundError for those of a
// topic that has vanished. They were not stored and are not tried again.
func (p *Producer[V]) Flush(ctx context.Context) error {
	if p.bare {
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

// Close flushes and ends the producer; Send fails with ErrClosed from then on,
// also where it is waiting for room. What is not acknowledged when ctx ends is
// an *UndeliveredError for each partition, in the error and for Done. Further
// calls wait for the first one and do nothing.
func (p *Producer[V]) Close(ctx context.Context) error {
	if p.closed.Swap(true) {
		<-p.done
		return nil
	}
	for _, l := range p.lanes {
		l.seal()
	}
	errs := []error{p.Flush(ctx)}
	p.stop()
	<-p.watched
	for _, l := range p.lanes {
		errs = append(errs, l.close())
	}
	close(p.done)
	return errors.Join(errs...)
}
