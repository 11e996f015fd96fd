package processor

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// Delivery is a record on its way to something that is no topic.
type Delivery[V any] struct {
	Record[V]
	// Token names the record, as app/task/commit/index. A record that is handed over again has the same one, and no other record ever
	// has: give it to the other side as its idempotency key, or remember it there.
	Token string
}

// Deliver hands records to something that is no topic: a web hook, a mail, a database. send is called once the commit that made the
// records is in the journal, with those of one task and one commit, in order, and never twice at a time for a task. It must return when
// its context ends.
//
// A record that a crash undoes is never handed over. One that send has been given when the app crashed, or before send had returned nil,
// is given to it again, with the same Token: at least once, and exactly once where the other side knows tokens.
//
// When send returns an error, or panics, it is called again with the same batch, for as long as it takes: after a pause that grows from
// 100 ms to 10 s. Meanwhile the task goes on for one more batch and then waits. Sink.OnFailure says otherwise: after the last attempt
// (the first, without Retry) the batch becomes dead letters, is skipped, or stops the app. Redrive passes over such letters, since the rest of
// the record's work is done. name is unique in the topology.
func (s Stream[V]) Deliver(name string, send func(ctx context.Context, batch []Delivery[V]) error) Sink {
	if s.n == nil {
		return Sink{}
	}
	at := callSite()
	v := s.b.add(&vertex{kind: kindDeliver, name: name, at: at, parents: []*vertex{s.n.vertex}})
	if !legalName.MatchString(name) {
		s.b.mistake(at, "Deliver: the name %q must be made of letters, digits, '-' and '_'", name)
	}
	if send == nil {
		s.b.mistake(at, "Deliver %s needs a function, got nil", name)
	}
	v.send = func(ctx context.Context, batch []stream.Outgoing) error { return handOver(ctx, batch, send) }
	s.n.takers = append(s.n.takers, func(w *wiring) func(*Record[V]) { return parcelTo[V](w, v) })
	return Sink{b: s.b, v: v}
}

// parcel is a record in an outbox, for an operator that delivers.
type parcel[V any] struct {
	Time   time.Time `json:"t"`
	Window Window    `json:"w,omitzero"`
	Value  V         `json:"v"`
	Origin origin    `json:"o,omitzero"`
}

// origin is where the record was read that a parcel comes from; zero: from a timer.
type origin struct {
	Topic     string `json:"t"`
	Partition int    `json:"p"`
	Offset    uint64 `json:"n"`
}

func originOf(raw *engine.Raw) origin {
	if raw == nil {
		return origin{}
	}
	return origin{raw.Topic, raw.Partition, raw.Offset}
}

// parcelTo returns the function that puts records into the outbox.
func parcelTo[V any](w *wiring, v *vertex) func(*Record[V]) {
	op := v.operator(w)
	encode := func(r Record[V]) ([]byte, error) {
		data, err := storeCodec[parcel[V]]{}.Encode(parcel[V]{r.Time, r.Window, r.Value, originOf(op.task.Current())})
		if err != nil {
			return nil, fmt.Errorf("encode the value: %w", err)
		}
		return data, nil
	}
	return func(r *Record[V]) {
		data, ok := guard(op, encode, *r)
		if !ok {
			return
		}
		if err := op.task.Emit(&engine.Emitted{Sink: v.rank, Key: r.Key, Headers: r.Headers, Data: data}); err != nil {
			op.fail(err, 1)
		}
	}
}

// handOver calls send with the records of a batch.
func handOver[V any](ctx context.Context, batch []stream.Outgoing, send func(context.Context, []Delivery[V]) error) (err error) {
	defer recoverInto(&err)
	all := make([]Delivery[V], len(batch))
	for i, o := range batch {
		p, err := storeCodec[parcel[V]]{}.Decode(o.Data)
		if err != nil {
			return fmt.Errorf("decode a record of an older version of this app: %w", err)
		}
		all[i] = Delivery[V]{Record[V]{Key: o.Key, Value: p.Value, Time: p.Time, Headers: o.Headers, Window: p.Window}, o.ID}
	}
	return send(ctx, all)
}

// External is what a task delivers to beside topics, by the names of their sinks; it is for processortest.
type External map[string]func(context.Context, []stream.Outgoing) error

// externalTopic is the name of a sink that is no topic. No topic can have it.
func externalTopic(name string) string { return "deliver:" + name }

// deliverer hands batches over until they are taken, or given up.
type deliverer struct {
	vertex  *vertex
	owned   stream.Owned
	letters stream.TopicSpec
	log     *zap.Logger
	calling *atomic.Pointer[vertex] // says who is at it
}

// deliver is told how dead letters are published.
func (d *deliverer) deliver(ctx context.Context, batch []stream.Outgoing, publish func(context.Context, []stream.Outgoing) error) error {
	d.calling.Store(d.vertex)
	defer d.calling.Store(nil)
	p := Retry{Attempts: math.MaxInt}.policy() // unless told otherwise, patience has no end
	if d.vertex.ownPolicy {
		p = *d.vertex.policy
	}
	for tries := 1; ; tries++ {
		if err := d.owned(ctx, false); err != nil {
			return err
		}
		err := d.vertex.send(ctx, batch)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", d.vertex.label(), err)
		}
		if !p.retry || tries >= p.attempts {
			letters, err := d.giveUp(batch, p.then, tries, err)
			if err != nil {
				return err
			}
			return publish(ctx, letters)
		}
		pause := p.pause(tries)
		d.log.Warn("a delivery has failed; there is another attempt", zap.String("operator", d.vertex.label()), zap.Int("records", len(batch)),
			zap.Int("attempt", tries), zap.Duration("pause", pause), zap.Error(err))
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%s: %w", d.vertex.label(), err)
		case <-timer.C:
		}
	}
}

// giveUp does what the policy says of a batch that nobody takes.
func (d *deliverer) giveUp(batch []stream.Outgoing, then Outcome, tries int, err error) (letters []stream.Outgoing, stop error) {
	told := fmt.Errorf("%s: attempt %d: %w", d.vertex.place(), tries, err)
	switch then {
	case Stop:
		return nil, fmt.Errorf("%w: %w", ErrFailedRecord, told)
	case Skip:
		d.log.Warn("a delivery was skipped", zap.Int("records", len(batch)), zap.Error(told))
		return nil, nil
	}
	for i := range batch {
		letters = append(letters, d.letter(&batch[i], tries, err))
	}
	return letters, nil
}

// letter makes the dead letter of a record. The work of the record that it comes from is done but for this, so Redrive passes it over.
func (d *deliverer) letter(o *stream.Outgoing, tries int, err error) stream.Outgoing {
	headers := o.Headers.Clone()
	if headers == nil {
		headers = make(stream.Headers)
	}
	var p parcel[jsontext.Value]
	if json.Unmarshal(o.Data, &p) != nil {
		p.Value = o.Data
	} else {
		headers.Set(stream.TimeHeader, p.Time.UTC().Format(time.RFC3339Nano))
	}
	if p.Origin.Topic != "" {
		headers.Set(DeadTopic, p.Origin.Topic)
		headers.Set(DeadPartition, strconv.Itoa(p.Origin.Partition))
		headers.Set(DeadOffset, strconv.FormatUint(p.Origin.Offset, 10))
	}
	headers.Set(DeadPartial, "true")
	setFailure(headers, d.vertex.place(), err, tries, time.Now())
	key := o.Key
	if d.letters.CheckKey(key) != nil {
		headers.Set(stream.KeyHeader, stream.EscapeKey(key))
		key = ""
	}
	return stream.Outgoing{
		Topic: d.letters, Partition: stream.Partition(key, d.letters.Partitions), Key: key, Headers: headers, Data: p.Value, ID: d.letterID(o.ID),
	}
}

// letterID names the letter of a record. Its writer is one of its own, for it is not written in the order of the others.
func (d *deliverer) letterID(token string) string {
	id, ok := stream.ParseRecordID(token)
	if !ok {
		return token + "/dead"
	}
	return fmt.Sprintf("%s/%s/%d/%d", id.Writer, d.vertex.name, id.Commit, id.Index)
}
