package processor

import (
	"errors"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// Map changes the value of every record; key, time, headers and window stay.
func Map[V, O any](in Upstream[V], change func(V) O) Stream[O] {
	s := in.AsStream()
	if s.n == nil {
		return Stream[O]{}
	}
	out := derive[O](s.b, kindMap, "", callSite(), s.n.vertex)
	s.n.takers = append(s.n.takers, func(w *wiring) func(*Record[V]) {
		next, op := out.n.wire(w), out.n.operator(w)
		var slot Record[O] // reused: whoever takes a record is done with it on return
		return func(r *Record[V]) {
			value, ok := guard(op, change, r.Value)
			if !ok {
				return
			}
			slot = With(*r, value)
			next(&slot)
		}
	})
	return out
}

// FlatMap replaces every record by any number of records, none included, with the same key, time, headers and window.
func FlatMap[V, O any](in Upstream[V], expand func(V) []O) Stream[O] {
	s := in.AsStream()
	if s.n == nil {
		return Stream[O]{}
	}
	out := derive[O](s.b, kindFlatMap, "", callSite(), s.n.vertex)
	s.n.takers = append(s.n.takers, func(w *wiring) func(*Record[V]) {
		next, op := out.n.wire(w), out.n.operator(w)
		var slot Record[O]
		return func(r *Record[V]) {
			values, ok := guard(op, expand, r.Value)
			if !ok {
				return
			}
			for _, value := range values {
				slot = With(*r, value)
				next(&slot)
			}
		}
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
	out.n.fedBy = from
	out.n.topic = stream.Topic[V]{Name: s.b.app + "-" + name}.Spec()
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
	return func(r *Record[V]) {
		k, ok := guard(op, key, r.Value)
		if !ok {
			return
		}
		if k == "" {
			op.fail(errNoKey)
			return
		}
		data, err := codec.Encode(r.Value)
		if err != nil {
			op.fail(err)
			return
		}
		err = op.task.Emit(&engine.Emitted{
			Sink: from.rank, Partition: stream.Partition(k, to.topic.Partitions), Key: k,
			Time: r.Time.UnixNano(), Window: windowToEngine(r.Window), Headers: r.Headers, Data: data,
		})
		if err != nil {
			op.fail(err)
		}
	}
}
