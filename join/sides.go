package join

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// Result is the stream of a join's results, and what was too late for it.
type Result[L, R, V any] struct {
	processor.Stream[V]
	late func() (processor.Stream[L], processor.Stream[R])
}

// Late returns the records that came when their window had closed, of either side, with the key, time and headers that they
// came with. They were not joined and are not kept. A topology that does not ask for them drops them.
func (r Result[L, R, V]) Late() (left processor.Stream[L], right processor.Stream[R]) {
	if r.late == nil {
		return left, right
	}
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
	late  side[L, R]
}

type outcomeKind uint8

const (
	matched outcomeKind = iota
	lateLeft
	lateRight
)

// row is what a join keeps of a record with its headers. It is JSON in the journal.
type row[V any] struct {
	Value   V              `json:"v"`
	Headers stream.Headers `json:"h,omitzero"`
	Matched bool           `json:"m,omitzero"` // it has met a partner, where that matters
}

// Unwrap implements processor.Wrapped.
func (r row[V]) Unwrap() (value any, at time.Time) { return r.Value, time.Time{} }

// isZero reports whether in is no stream at all: it belongs to no topology.
func isZero[V any](in processor.Upstream[V]) bool {
	return in == nil || in.AsStream() == (processor.Stream[V]{})
}

// present reports whether there is anything to join, and tells Build of a side that is missing.
func present[L, R any](left processor.Upstream[L], right processor.Upstream[R], verb, name string) bool {
	switch {
	case isZero(left) && isZero(right):
		return false
	case isZero(left):
		report(left, right, "%s %s: the left side is a zero Stream or Table: start it with processor.From or TableFrom", verb, name)
	case isZero(right):
		report(left, right, "%s %s: the right side is a zero Stream or Table: start it with processor.From or TableFrom", verb, name)
	}
	return true
}

// report tells Build of a mistake, through whichever of the two streams belongs to a topology.
func report[L, R any](left processor.Upstream[L], right processor.Upstream[R], format string, args ...any) {
	if isZero(left) {
		processor.Mistake(right, format, args...)
		return
	}
	processor.Mistake(left, format, args...)
}

// both merges the two inputs into one stream of sides. One of them may be zero: Build knows of it, and the rest of the
// topology is described all the same.
func both[L, R any](left processor.Upstream[L], right processor.Upstream[R]) processor.Stream[side[L, R]] {
	toLeft := func(l L) side[L, R] { return side[L, R]{left: l} }
	toRight := func(r R) side[L, R] { return side[L, R]{right: r, isRight: true} }
	switch {
	case isZero(left):
		return processor.Map(right, toRight)
	case isZero(right):
		return processor.Map(left, toLeft)
	}
	return processor.Map(left, toLeft).Merge(processor.Map(right, toRight))
}

// split makes a Result of the outcomes of a join.
func split[L, R, V any](out processor.Stream[outcome[L, R, V]]) Result[L, R, V] {
	pick := func(kind outcomeKind) processor.Stream[outcome[L, R, V]] {
		return out.Filter(func(o outcome[L, R, V]) bool { return o.kind == kind })
	}
	return Result[L, R, V]{
		Stream: processor.Map(pick(matched), func(o outcome[L, R, V]) V { return o.value }),
		late: func() (processor.Stream[L], processor.Stream[R]) {
			return processor.Map(pick(lateLeft), func(o outcome[L, R, V]) L { return o.late.left }),
				processor.Map(pick(lateRight), func(o outcome[L, R, V]) R { return o.late.right })
		},
	}
}

// gate refuses records without a key, and those for which there is no room beside the rows kept, and sends late ones to Late; it reports
// whether the record may be joined.
func gate[L, R, V any](c *processor.Context[outcome[L, R, V]], b bounds, kept int, rec *processor.Record[side[L, R]]) (bool, error) {
	if rec.Key == "" {
		return false, errNoKey
	}
	late, kind := b.lateLeft, lateLeft
	if rec.Value.isRight {
		late, kind = b.lateRight, lateRight
	}
	if !late(rec.Time, c.StreamTime()) {
		if b.maxRows > 0 && kept >= b.maxRows {
			return false, full(b.maxRows)
		}
		return true, nil
	}
	c.CountLate()
	c.Forward(processor.With(*rec, outcome[L, R, V]{kind: kind, late: rec.Value}))
	return false, nil
}

// call guards a joiner: one poisonous pair must neither take the other pairs of a record with it, nor keep the record out of
// the windows where it belongs.
func call[L, R, V any](joiner func(L, R) V, l L, r R) (v V, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &processor.PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return joiner(l, r), nil
}

// failedOn says which left record a joiner has failed on.
func failedOn(left processor.RowID, err error) error { return failedOnSide("left", left, err) }

// failedOnRight is failedOn for a right record without partner.
func failedOnRight(right processor.RowID, err error) error { return failedOnSide("right", right, err) }

func failedOnSide(which string, id processor.RowID, err error) error {
	return fmt.Errorf("join the %s record of key %q at %s: %w", which, id.Key, id.At.UTC().Format(time.RFC3339Nano), err)
}
