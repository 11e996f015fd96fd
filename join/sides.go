package join

import (
	"errors"
	"time"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// errNoKey is why a join refuses a record.
var errNoKey = errors.New("the record has no key, and a join needs one")

// Result is the stream of a join's results, and what was too late for it.
type Result[L, R, V any] struct {
	processor.Stream[V]
	late func() (processor.Stream[L], processor.Stream[R])
}

// Late returns the records that came when their window had closed, of either side, with the key, time and headers that they
// came with. They were not joined and are not kept. It is called once at most.
func (r Result[L, R, V]) Late() (left processor.Stream[L], right processor.Stream[R]) {
	return r.late()
}

// side is a record of one of two streams, so that one operator can see both in the order of their time.
type side[L, R any] struct {
	left    L
	right   R
	isRight bool
}

// outcome is what a join gives: a result, or a record that was late.
type outcome[L, R, V any] struct {
	kind  outcomeKind
	value V
	left  L
	right R
}

type outcomeKind uint8

const (
	matched outcomeKind = iota
	lateLeft
	lateRight
)

// row is what a join keeps of a record.
type row[V any] struct {
	Value   V              `json:"v"`
	Headers stream.Headers `json:"h,omitzero"`
}

// both merges the two inputs into one stream of sides.
func both[L, R any](left processor.Upstream[L], right processor.Upstream[R]) processor.Stream[side[L, R]] {
	return processor.Map(left, func(l L) side[L, R] { return side[L, R]{left: l} }).
		Merge(processor.Map(right, func(r R) side[L, R] { return side[L, R]{right: r, isRight: true} }))
}

// split makes a Result of the outcomes of a join.
func split[L, R, V any](out processor.Stream[outcome[L, R, V]]) Result[L, R, V] {
	pick := func(kind outcomeKind) processor.Stream[outcome[L, R, V]] {
		return out.Filter(func(o outcome[L, R, V]) bool { return o.kind == kind })
	}
	return Result[L, R, V]{
		Stream: processor.Map(pick(matched), func(o outcome[L, R, V]) V { return o.value }),
		late: func() (processor.Stream[L], processor.Stream[R]) {
			return processor.Map(pick(lateLeft), func(o outcome[L, R, V]) L { return o.left }),
				processor.Map(pick(lateRight), func(o outcome[L, R, V]) R { return o.right })
		},
	}
}

// gate refuses records without a key and sends late ones to Late; it reports whether the record may be joined.
func gate[L, R, V any](c *processor.Context[outcome[L, R, V]], b bounds, rec processor.Record[side[L, R]]) (bool, error) {
	if rec.Key == "" {
		return false, errNoKey
	}
	now := c.StreamTime()
	o := outcome[L, R, V]{kind: lateLeft, left: rec.Value.left, right: rec.Value.right}
	late := b.lateLeft(rec.Time, now)
	if rec.Value.isRight {
		o.kind, late = lateRight, b.lateRight(rec.Time, now)
	}
	if late {
		c.Forward(processor.With(rec, o))
	}
	return !late, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
