package processor

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// The reasons for which a source refuses a record before any operator sees it.
var (
	errTombstone = errors.New("the record has no value (a tombstone), which only tables take")
)

// Event times outside this range do not fit nanoseconds, or lie before the epoch (SEMANTICS rule: negative timestamps are
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

// bindTopic connects a source of a user's topic to its input.
func bindTopic[V any](w *wiring, n *node[V], topic stream.Topic[V]) {
	next := n.wire(w)
	codec := topic.Codec
	if codec == nil {
		codec = stream.JSON[V]()
	}
	var slot Record[V] // the head of the input, until it is its turn
	w.task.Bind(n.rank, engine.Source{
		Decode: func(raw *engine.Raw) (ts int64, err error) {
			defer recoverInto(&err) // codec and extractor are the user's
			if len(raw.Data) == 0 {
				return 0, errTombstone
			}
			value, err := codec.Decode(raw.Data)
			if err != nil {
				return 0, fmt.Errorf("decode the value: %w", err)
			}
			at, err := topic.EventTime(value, raw.Headers, raw.Stored)
			if err != nil {
				return 0, err
			}
			if ts, err = checkTime(at); err != nil {
				return 0, err
			}
			slot = Record[V]{Key: raw.Key, Value: value, Time: at, Headers: userHeaders(raw.Headers)}
			return ts, nil
		},
		Process: func() { next(&slot) },
	})
}

func recoverInto(err *error) {
	if p := recover(); p != nil {
		*err = &PanicError{Value: p, Stack: debug.Stack()}
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
	return header == stream.TimeHeader || strings.HasPrefix(header, "Nats-")
}

// bindRepartition connects the reading end of a KeyBy to its input.
func bindRepartition[V any](w *wiring, n *node[V], codec stream.Codec[V]) {
	next := n.wire(w)
	var slot Record[V]
	w.task.Bind(n.rank, engine.Source{
		Decode: func(raw *engine.Raw) (int64, error) {
			value, err := codec.Decode(raw.Data)
			if err != nil {
				return 0, fmt.Errorf("decode the value: %w", err)
			}
			slot = Record[V]{
				Key: raw.Key, Value: value, Time: fromNanos(raw.Time), Headers: raw.Headers, Window: windowFromEngine(raw.Window),
			}
			return raw.Time, nil
		},
		Process: func() { next(&slot) },
	})
}

// sinkTo returns the function that writes records to a topic.
func sinkTo[V any](w *wiring, v *vertex, topic stream.Topic[V]) func(*Record[V]) {
	op := v.operator(w)
	codec := topic.Codec
	if codec == nil {
		codec = stream.JSON[V]()
	}
	encode := func(value V) encoded {
		data, err := codec.Encode(value)
		return encoded{data, err}
	}
	spec := topic.Spec()
	return func(r *Record[V]) {
		out, ok := guard(op, encode, r.Value)
		if !ok {
			return
		}
		if out.err != nil {
			op.fail(fmt.Errorf("encode the value: %w", out.err))
			return
		}
		headers := r.Headers
		if topic.Time == nil {
			headers = headers.Clone()
			if headers == nil {
				headers = make(stream.Headers, 1)
			}
			headers.Set(stream.TimeHeader, r.Time.UTC().Format(time.RFC3339Nano))
		}
		err := op.task.Emit(&engine.Emitted{
			Sink: v.rank, Partition: partitionOf(op.task, r.Key, spec.Partitions), Key: r.Key, Headers: headers, Data: out.data,
		})
		if err != nil {
			op.fail(err)
		}
	}
}

type encoded struct {
	data []byte
	err  error
}

// partitionOf keeps records without a key in the order in which their task made them.
func partitionOf(t *engine.Task, key string, partitions int) int {
	if key == "" {
		return t.Partition() % partitions
	}
	return stream.Partition(key, partitions)
}
