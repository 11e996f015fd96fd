package processor

import "time"

// Aggregation says how values of one key, and of one window if there are windows, become one.
type Aggregation[V, A any] struct {
	// Name is the name of the operator, unique in the topology. State is kept under it. Required.
	Name string
	// Init returns the aggregate of nothing. Required.
	Init func() A
	// Add returns the aggregate with one value more. It must not change what the old one refers to (a slice, a map): results that
	// have been emitted refer to it, too. Required.
	Add func(A, V) A
	// Merge returns the aggregate of two sessions that have become one, the earlier one first. Required with Session.
	Merge func(A, A) A
	// Windows divides time. Zero: one aggregate for each key, for ever.
	Windows Windows
	// Grace is how much out of order records may come, in event time, and still be added. Zero: a record is late as soon as stream
	// time has passed its window.
	Grace time.Duration
	// Emit is when results are emitted. Default: OnUpdate.
	Emit Emit
	// Keep is where the aggregates are kept. Zero: see Builder.KeepState.
	Keep Medium
}

// Emit says when an aggregation emits.
type Emit int

const (
	// OnUpdate emits whenever a record changes an aggregate: the latest result for a key and window is the most complete one.
	OnUpdate Emit = iota
	// OnClose emits once for each key and window, when the window has closed; in the order of the windows' ends, then of keys.
	OnClose
)

// Aggregated is the stream of an aggregation's results. Each has the key, and the highest event time of what was added (of a
// session: its end); with windows, the window. Results that a record has made have its headers, those of OnClose have none.
type Aggregated[V, A any] struct {
	Stream[A]
	updates  Stream[update[V, A]]
	windowed bool
}

// Late returns the records that came when every window that holds them had closed. They were not added. A topology that does not ask
// for them drops them.
func (a Aggregated[V, A]) Late() Stream[V] {
	return Map(a.updates.Filter(func(u update[V, A]) bool { return u.late }), func(u update[V, A]) V { return u.value })
}

// Changes returns every result together with the one that it replaces. A session that has grown, or was merged into another, is told
// by a change without New that has its old window, before the change that tells of the new session.
func (a Aggregated[V, A]) Changes() Stream[Change[A]] {
	changed := a.updates.Filter(func(u update[V, A]) bool { return !u.late })
	return Map(changed, func(u update[V, A]) Change[A] {
		var c Change[A]
		if u.hadOld {
			c.Old = &u.old
		}
		if u.hasNew {
			c.New = &u.new
		}
		return c
	})
}

// Aggregate makes one value of all values of a key, or of a key and window. A window has closed when stream time has reached its end
// plus grace (tumbling, hopping, calendar windows), or passed it (sliding windows, and sessions, whose end is that of their gap); from
// then on nothing is added to it. Records without a key are failed records.
func Aggregate[V, A any](in Upstream[V], a Aggregation[V, A]) Aggregated[V, A] {
	f := folding[V, A]{verb: "Aggregate", name: a.Name, windows: a.Windows, grace: a.Grace, emit: a.Emit, keep: a.Keep, broken: a.Init == nil || a.Add == nil}
	f.add = func(agg A, has bool, value V) A {
		if !has {
			agg = a.Init()
		}
		return a.Add(agg, value)
	}
	if a.Merge != nil {
		f.merge = func(agg A, has bool, next A) A {
			if !has {
				agg = a.Init()
			}
			return a.Merge(agg, next)
		}
	}
	return fold(in, f)
}

// Reduction says how values of one key, and of one window if there are windows, become one of their own type. The fields mean what
// they mean in Aggregation.
type Reduction[V any] struct {
	Name string
	// Add returns what two values make, the earlier one first. The first value stands for itself. Sessions are merged with it. Required.
	Add     func(V, V) V
	Windows Windows
	Grace   time.Duration
	Emit    Emit
	Keep    Medium
}

// Reduce is Aggregate for values that are their own aggregate: a sum, a maximum, the latest.
func Reduce[V any](in Upstream[V], r Reduction[V]) Aggregated[V, V] {
	add := func(agg V, has bool, value V) V {
		if !has {
			return value
		}
		return r.Add(agg, value)
	}
	return fold(in, folding[V, V]{
		verb: "Reduce", name: r.Name, windows: r.Windows, grace: r.Grace, emit: r.Emit, keep: r.Keep, broken: r.Add == nil, add: add, merge: add,
	})
}

// Counting says what to count by. The fields mean what they mean in Aggregation.
type Counting struct {
	Name    string
	Windows Windows
	Grace   time.Duration
	Emit    Emit
	Keep    Medium
}

// Count counts the records of each key, or of each key and window.
func Count[V any](in Upstream[V], c Counting) Aggregated[V, int64] {
	return fold(in, folding[V, int64]{
		verb: "Count", name: c.Name, windows: c.Windows, grace: c.Grace, emit: c.Emit, keep: c.Keep,
		add:   func(n int64, _ bool, _ V) int64 { return n + 1 },
		merge: func(n int64, _ bool, m int64) int64 { return n + m },
	})
}
