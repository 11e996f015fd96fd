package processor

import (
	"errors"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// Map changes the value of every record; key, time, headers and window stay.
func Map[V, O any](in Upstream[V], change func(V) O) Stream[O] {
	return transform(in, kindMap, "Map", change == nil, func(op *operator, next func(*Record[O])) func(*Record[V]) {
		call := infallible(change)
		var slot Record[O] // reused: whoever takes a record is done with it on return
		return func(r *Record[V]) {
			if value, ok := guard(op, call, r.Value); ok {
				slot = With(*r, value)
				next(&slot)
			}
		}
	})
}

// MapRecord is Map for values that are made of more than the value: of the key, the event time, the window of a windowed result, or
// headers.
func MapRecord[V, O any](in Upstream[V], change func(Record[V]) O) Stream[O] {
	return transform(in, kindMap, "MapRecord", change == nil, func(op *operator, next func(*Record[O])) func(*Record[V]) {
		call := infallible(change)
		var slot Record[O]
		return func(r *Record[V]) {
			if value, ok := guard(op, call, *r); ok {
				slot = With(*r, value)
				next(&slot)
			}
		}
	})
}

// FlatMap replaces every record by any number of records, none included, with the same key, time, headers and window.
func FlatMap[V, O any](in Upstream[V], expand func(V) []O) Stream[O] {
	return transform(in, kindFlatMap, "FlatMap", expand == nil, func(op *operator, next func(*Record[O])) func(*Record[V]) {
		call := infallible(expand)
		var slot Record[O]
		return func(r *Record[V]) {
			values, ok := guard(op, call, r.Value)
			if !ok {
				return
			}
			for _, value := range values {
				slot = With(*r, value)
				next(&slot)
			}
		}
	})
}

// transform makes a stream of another type that has what handle passes on.
func transform[V, O any](in Upstream[V], k kind, verb string, missing bool, handle func(*operator, func(*Record[O])) func(*Record[V])) Stream[O] {
	s := in.AsStream()
	if s.n == nil {
		return Stream[O]{}
	}
	out := derive[O](s.b, k, "", callSite(), s.n.vertex)
	out.needs(missing, verb)
	s.n.takers = append(s.n.takers, func(w *wiring) func(*Record[V]) {
		return handle(out.n.operator(w), out.n.wire(w))
	})
	return out
}

// errNoKey is why a keyed operator refuses a record.
var errNoKey = errors.New("the record has no key, and this operator needs one")

// KeyBy gives every record a new key and moves it to the partition of that key, through the internal topic "<app>-<name>"
// with as many partitions as the topics that the stream comes from. Values travel as JSON. An empty key is a failed record.
// The records of one old key keep their order if they get one new key; between old keys there is none.
func KeyBy[V any](in Upstream[V], name string, key func(V) string) Stream[V] {
	s := in.AsStream()
	if s.n == nil {
		return s
	}
	at := callSite()
	from := s.b.add(&vertex{kind: kindKeyBy, name: name, at: at, parents: []*vertex{s.n.vertex}})
	if !legalName.MatchString(name) {
		s.b.mistake(at, "KeyBy: the name %q must be made of letters, digits, '-' and '_'", name)
	}
	out := derive[V](s.b, kindRepartition, name, at)
	out.needs(key == nil, "KeyBy "+name)
	out.n.fedBy = from
	out.n.topic = stream.Topic[V]{Name: s.b.app + "-" + name}.Spec()
	from.topic = out.n.topic
	node := out.n
	codec := stream.JSON[V]()
	node.bind = func(w *wiring) { bindRepartition(w, node, codec) }
	s.n.takers = append(s.n.takers, func(w *wiring) func(*Record[V]) {
		return repartitionTo(w, from, node.vertex, key, codec)
	})
	return out
}

// repartitionTo returns the writing end of a KeyBy.
func repartitionTo[V any](w *wiring, from, to *vertex, key func(V) string, codec stream.Codec[V]) func(*Record[V]) {
	op := from.operator(w)
	type addressed struct {
		key  string
		data []byte
	}
	call := func(value V) (a addressed, err error) {
		if a.key = key(value); a.key == "" {
			return a, errNoKey
		}
		a.data, err = codec.Encode(value)
		return a, err
	}
	return func(r *Record[V]) {
		a, ok := guard(op, call, r.Value)
		if !ok {
			return
		}
		err := op.task.Emit(&engine.Emitted{
			Sink: from.rank, Partition: stream.Partition(a.key, to.topic.Partitions), Key: a.key,
			Time: r.Time.UnixNano(), Window: windowToEngine(r.Window), Headers: r.Headers, Data: a.data,
		})
		if err != nil {
			op.fail(err, 1)
		}
	}
}
