package processor

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// The reasons for which a source refuses a record before any operator sees it.
var (
	errTombstone = errors.New("the record has no value (a tombstone), which only tables take")
)

// Event times outside this range do not fit nanoseconds, or lie before the epoch (negative timestamps are
// dropped), and would close every window there is.
var (
	minEventTime = time.Unix(0, 0)
	maxEventTime = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
)

func checkTime(t time.Time) (int64, error) {
	if t.Before(minEventTime) || t.After(maxEventTime) {
		return 0, fmt.Errorf("the event time %s is outside of 1970 to 2262", t.UTC().Format(time.RFC3339))
	}
	return t.UnixNano(), nil
}

// bindTopic connects a source of a user's topic to its input. of makes what flows of a value, or of a tombstone.
func bindTopic[V, N any](w *wiring, n *node[N], topic stream.Topic[V], of func(value V, deleted bool) (N, error)) {
	next := n.wire(w)
	codec := topic.Codec
	if codec == nil {
		codec = stream.JSON[V]()
	}
	op := n.operator(w)
	var slot Record[N] // the head of the input, until it is its turn
	untimed := topic
	untimed.Time = nil // there is no value that would say when it was deleted
	decode := func(raw *engine.Raw) (ts int64, err error) {
		var value V
		timed, deleted := &topic, len(raw.Data) == 0
		if deleted {
			timed = &untimed
		} else if value, err = codec.Decode(raw.Data); err != nil {
			return 0, fmt.Errorf("decode the value: %w", err)
		}
		flows, err := of(value, deleted)
		if err != nil {
			return 0, err
		}
		at, err := timed.EventTime(value, raw.Headers, raw.Stored)
		if err != nil {
			return 0, err
		}
		if ts, err = checkTime(at); err != nil {
			return 0, err
		}
		slot = Record[N]{Key: raw.Key, Value: flows, Time: at, Headers: userHeaders(raw.Headers)}
		return ts, nil
	}
	w.task.Bind(n.rank, engineSource(op, decode, func() { next(&slot) }))
}

// engineSource is what the engine has of a source: decoding is a call like those of other operators, since codec and event time are the
// user's.
func engineSource(op *operator, decode func(*engine.Raw) (int64, error), process func()) engine.Source {
	tries := 0
	return engine.Source{
		Decode: func(raw *engine.Raw) (ts int64, err error) {
			ts, tries, err = persist(op, decode, raw)
			return ts, err
		},
		Failed:  func(err error) { op.fail(err, tries) },
		Process: process,
	}
}

// userHeaders leaves out what belongs to the message that carried the record and not to the record itself: a message id or
// an event time that went on with it would be wrong in the next topic.
func userHeaders(h stream.Headers) stream.Headers {
	carried := 0
	for name := range h {
		if !ofMessage(name) {
			carried++
		}
	}
	if carried == 0 {
		return nil
	}
	if carried == len(h) {
		return h
	}
	out := make(stream.Headers, carried)
	for name, values := range h {
		if !ofMessage(name) {
			out[name] = values
		}
	}
	return out
}

func ofMessage(header string) bool {
	return header == stream.TimeHeader || header == AttemptHeader || strings.HasPrefix(header, "Nats-")
}

// bindRepartition connects the reading end of a KeyBy to its input.
func bindRepartition[V any](w *wiring, n *node[V], codec stream.Codec[V]) {
	next := n.wire(w)
	var slot Record[V]
	decode := func(raw *engine.Raw) (int64, error) {
		value, err := codec.Decode(raw.Data)
		if err != nil {
			return 0, fmt.Errorf("decode the value: %w", err)
		}
		slot = Record[V]{
			Key: raw.Key, Value: value, Time: fromNanos(raw.Time), Headers: userHeaders(raw.Headers), Window: windowFromEngine(raw.Window),
		}
		return raw.Time, nil
	}
	w.task.Bind(n.rank, engineSource(n.operator(w), decode, func() { next(&slot) }))
}

// sinkTo returns the function that writes records to a topic. write encodes what flows; no bytes are a tombstone.
func sinkTo[V, N any](w *wiring, v *vertex, topic stream.Topic[V], write func(stream.Codec[V], N) ([]byte, error)) func(*Record[N]) {
	op := v.operator(w)
	codec := topic.Codec
	if codec == nil {
		codec = stream.JSON[V]()
	}
	encode := func(value N) ([]byte, error) {
		data, err := write(codec, value)
		if err != nil {
			return nil, fmt.Errorf("encode the value: %w", err)
		}
		return data, nil
	}
	spec := topic.Spec()
	return func(r *Record[N]) {
		data, ok := guard(op, encode, r.Value)
		if !ok {
			return
		}
		headers := r.Headers
		if topic.Time == nil || len(data) == 0 { // a tombstone has no value that would say its time
			headers = headers.Clone()
			if headers == nil {
				headers = make(stream.Headers, 1)
			}
			headers.Set(stream.TimeHeader, r.Time.UTC().Format(time.RFC3339Nano))
		}
		err := op.task.Emit(&engine.Emitted{
			Sink: v.rank, Partition: partitionOf(op.task, r.Key, spec.Partitions), Key: r.Key, Headers: headers, Data: data,
		})
		if err != nil {
			op.fail(err, 1)
		}
	}
}

// partitionOf keeps records without a key in the order in which their task made them.
func partitionOf(t *engine.Task, key string, partitions int) int {
	if key == "" {
		return t.Partition() % partitions
	}
	return stream.Partition(key, partitions)
}
