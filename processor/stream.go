package processor

import (
	"fmt"
	"strconv"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// Stream is a flow of records of one type. It is a description: nothing runs until an App runs the topology. Operations
// that keep the type are methods; those that change it are functions (Map, FlatMap, KeyBy, Process). The zero Stream is part of
// no topology: operations on it do nothing and give zero Streams.
type Stream[V any] struct {
	b *Builder
	n *node[V]
}

// Upstream is what every verb takes: a Stream, or a result that has one inside (a windowed join, an alarm).
type Upstream[V any] interface {
	AsStream() Stream[V]
}

// AsStream returns the stream itself. It makes Stream, and every struct that embeds one, an Upstream.
func (s Stream[V]) AsStream() Stream[V] { return s }

// node is a vertex with its type: it knows who takes its records.
type node[V any] struct {
	*vertex
	takers []func(*wiring) func(*Record[V])
}

// wiring makes the operators of one task: every node once, however many paths lead to it.
type wiring struct {
	task  *engine.Task
	sub   *subTopology
	made  map[*vertex]any
	probe *probe // set while Build looks at what operators declare
}

// notMade says that the function that makes an operator has panicked: a mistake for Build, the end of the task later.
func (w *wiring) notMade(v *vertex, err error) {
	if w.probe != nil {
		w.probe.mistake(v.at, "%s: making its handler failed: %v", v.label(), err)
		return
	}
	w.task.Stop(fmt.Errorf("%s (%s): making its handler failed: %w", v.label(), v.at, err))
}

// wire returns the function that hands a record to everyone who takes it.
func (n *node[V]) wire(w *wiring) func(*Record[V]) {
	if made, ok := w.made[n.vertex]; ok {
		return made.(func(*Record[V]))
	}
	takers := make([]func(*Record[V]), len(n.takers))
	for i, take := range n.takers {
		takers[i] = take(w)
	}
	emit := fanOut(takers)
	w.made[n.vertex] = emit
	return emit
}

func fanOut[V any](takers []func(*Record[V])) func(*Record[V]) {
	switch len(takers) {
	case 0:
		return func(*Record[V]) {}
	case 1:
		return takers[0]
	}
	return func(r *Record[V]) {
		for _, take := range takers {
			take(r)
		}
	}
}

// derive adds a vertex below the given parents and returns its stream.
func derive[V any](b *Builder, k kind, name, at string, parents ...*vertex) Stream[V] {
	v := b.add(&vertex{kind: k, name: name, at: at, parents: parents})
	return Stream[V]{b: b, n: &node[V]{vertex: v}}
}

// From reads a topic. Records are decoded with the topic's codec; their event time is the topic's Time of the value, or the
// time header, or else the time at which the server stored them. A topic can be read once in a topology; keep the Stream in
// a variable to use it twice.
//
// A record that cannot be decoded, a tombstone (no bytes at all) and an event time before 1970 or after 2262 are failed
// records: see FailurePolicy.
func From[V any](b *Builder, topic stream.Topic[V]) Stream[V] {
	return source(b, "From", topic, func(value V, deleted bool) (V, error) {
		if deleted {
			return value, errTombstone
		}
		return value, nil
	})
}

// OnOffsetGone sets what becomes of a task whose position in the topic of the source is none any more, and gives s back. Its state stays
// as it is, whatever the policy. Without it, it is GoneStop. It has no effect but on what From gave.
func (s Stream[V]) OnOffsetGone(p GonePolicy) Stream[V] {
	switch {
	case s.n == nil:
	case s.n.kind != kindSource:
		s.b.mistake(callSite(), "OnOffsetGone is for what From gives, not for %s", s.n.label())
	case p < GoneStop || p > GoneLatest:
		s.b.mistake(callSite(), "OnOffsetGone knows no policy %v: use GoneStop, GoneEarliest or GoneLatest", p)
	default:
		s.n.gone = p
	}
	return s
}

// source adds a source of which flows what of makes of values and tombstones.
func source[V, N any](b *Builder, verb string, topic stream.Topic[V], of func(value V, deleted bool) (N, error)) Stream[N] {
	at := callSite()
	s := derive[N](b, kindSource, topic.Name, at)
	s.n.topic, s.n.timed = topic.Spec(), topic.Time != nil
	if err := s.n.topic.Validate(); err != nil {
		b.mistake(at, "%s: %v", verb, err)
	}
	node := s.n
	node.bind = func(w *wiring) { bindTopic(w, node, topic, of) }
	return s
}

// Filter keeps the records whose value pleases keep.
func (s Stream[V]) Filter(keep func(V) bool) Stream[V] {
	if s.n == nil {
		return s
	}
	out := derive[V](s.b, kindFilter, "", callSite(), s.n.vertex)
	out.needs(keep == nil, "Filter")
	s.n.takers = append(s.n.takers, func(w *wiring) func(*Record[V]) {
		next, op, call := out.n.wire(w), out.n.operator(w), infallible(keep)
		return func(r *Record[V]) {
			if pass, ok := guard(op, call, r.Value); ok && pass {
				next(r)
			}
		}
	})
	return out
}

// Peek calls look with every record and passes it on. It must not change what the record refers to.
func (s Stream[V]) Peek(look func(Record[V])) Stream[V] {
	if s.n == nil {
		return s
	}
	out := derive[V](s.b, kindPeek, "", callSite(), s.n.vertex)
	out.needs(look == nil, "Peek")
	s.n.takers = append(s.n.takers, func(w *wiring) func(*Record[V]) {
		next, op := out.n.wire(w), out.n.operator(w)
		call := func(r Record[V]) (struct{}, error) { look(r); return struct{}{}, nil }
		return func(r *Record[V]) {
			if _, ok := guard(op, call, *r); ok {
				next(r)
			}
		}
	})
	return out
}

// Branch splits a stream: each record goes to the first of the branches whose condition its value pleases, or to rest. There are as
// many branches as conditions, in their order.
func (s Stream[V]) Branch(conditions ...func(V) bool) (branches []Stream[V], rest Stream[V]) {
	branches = make([]Stream[V], len(conditions))
	if s.n == nil {
		return branches, s
	}
	at := callSite()
	for i, condition := range conditions {
		branches[i] = derive[V](s.b, kindBranch, strconv.Itoa(i+1), at, s.n.vertex)
		branches[i].needs(condition == nil, "Branch")
	}
	rest = derive[V](s.b, kindBranch, "rest", at, s.n.vertex)
	s.n.takers = append(s.n.takers, func(w *wiring) func(*Record[V]) {
		calls, ops, nexts := make([]func(V) (bool, error), len(branches)), make([]*operator, len(branches)), make([]func(*Record[V]), len(branches))
		for i, b := range branches {
			calls[i], ops[i], nexts[i] = infallible(conditions[i]), b.n.operator(w), b.n.wire(w)
		}
		otherwise := rest.n.wire(w)
		return func(r *Record[V]) {
			for i, call := range calls {
				pleased, ok := guard(ops[i], call, r.Value)
				if !ok {
					return
				}
				if pleased {
					nexts[i](r)
					return
				}
			}
			otherwise(r)
		}
	})
	return branches, rest
}

// Union is Merge for whatever has a stream inside: the results of joins, the branches of a Branch. The records of one task are
// processed in the order of their event time.
func Union[V any](first Upstream[V], others ...Upstream[V]) Stream[V] {
	streams := make([]Stream[V], len(others))
	for i, other := range others {
		streams[i] = other.AsStream()
	}
	return first.AsStream().Merge(streams...)
}

// needs reports a function that is missing.
func (s Stream[V]) needs(missing bool, verb string) {
	if missing {
		s.b.mistake(s.n.at, "%s needs a function, got nil", verb)
	}
}

// Merge brings streams of one type together. Records of one task are processed in the order of their event time.
func (s Stream[V]) Merge(others ...Stream[V]) Stream[V] {
	if s.n == nil {
		return s
	}
	at := callSite()
	all := append([]Stream[V]{s}, others...)
	parents := make([]*vertex, 0, len(all))
	for _, in := range all {
		if in.n == nil || in.b != s.b {
			s.b.mistake(at, "streams that meet must come from one Builder: one of these comes from another, or is a zero Stream")
			return s
		}
		parents = append(parents, in.n.vertex)
	}
	out := derive[V](s.b, kindMerge, "", at, parents...)
	for _, in := range all {
		in.n.takers = append(in.n.takers, out.n.wire)
	}
	return out
}

// To writes the records to a topic, in partitions by their key. Every record has an identity there, so that what a crash
// makes the app send again is stored once. A topic whose Time is nil gets the event time in a header.
func (s Stream[V]) To(topic stream.Topic[V]) Sink {
	return sink(s, topic, stream.Codec[V].Encode)
}

// sink adds a sink to which write encodes what flows.
func sink[V, N any](s Stream[N], topic stream.Topic[V], write func(stream.Codec[V], N) ([]byte, error)) Sink {
	if s.n == nil {
		return Sink{}
	}
	at := callSite()
	v := s.b.add(&vertex{kind: kindSink, name: topic.Name, at: at, parents: []*vertex{s.n.vertex}, topic: topic.Spec()})
	if err := v.topic.Validate(); err != nil {
		s.b.mistake(at, "To: %v", err)
	}
	s.n.takers = append(s.n.takers, func(w *wiring) func(*Record[N]) { return sinkTo(w, v, topic, write) })
	return Sink{b: s.b, v: v}
}
