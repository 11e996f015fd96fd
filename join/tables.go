package join

import (
	"time"

	"github.com/rossby-streams/rossby/processor"
)

// Primary says how rows of two tables that have the same key are joined.
type Primary struct {
	// Name is the name of the join, unique in the topology. State is kept under it. Required.
	Name string
	// Keep is where the rows of both sides are kept. Zero: see processor.Builder.KeepState.
	Keep processor.Medium
}

// Tables joins the rows of two tables that have the same key: joiner(l, r) where both are there. The result is a table, kept up to
// date by updates of either side; a row goes when one of its two goes. An update has the later event time of the two rows.
//
// Both tables must have the same number of partitions. An update on which joiner panics is a failed record. joiner must be pure: it is
// called for the value that is replaced, too.
func Tables[L, R, V any](left processor.Table[L], right processor.Table[R], p Primary, joiner func(L, R) V) processor.Table[V] {
	return joinTables(left, right, tableJoin{p, "Tables", joiner == nil}, func(l *L, r *R) *V {
		if l == nil || r == nil {
			return nil
		}
		return ptr(joiner(*l, *r))
	})
}

// TablesLeft is Tables for every row of the left table: joiner gets nil where the right one has no row.
func TablesLeft[L, R, V any](left processor.Table[L], right processor.Table[R], p Primary, joiner func(L, *R) V) processor.Table[V] {
	return joinTables(left, right, tableJoin{p, "TablesLeft", joiner == nil}, func(l *L, r *R) *V {
		if l == nil {
			return nil
		}
		return ptr(joiner(*l, r))
	})
}

// TablesOuter is Tables for every key that either table has: joiner gets nil for the row that is missing.
func TablesOuter[L, R, V any](left processor.Table[L], right processor.Table[R], p Primary, joiner func(*L, *R) V) processor.Table[V] {
	return joinTables(left, right, tableJoin{p, "TablesOuter", joiner == nil}, func(l *L, r *R) *V {
		if l == nil && r == nil {
			return nil
		}
		return ptr(joiner(l, r))
	})
}

func ptr[V any](v V) *V { return &v }

// tableJoin is the call that asks for a join of tables.
type tableJoin struct {
	Primary
	verb     string
	noJoiner bool
}

func joinTables[L, R, V any](left processor.Table[L], right processor.Table[R], asked tableJoin, match func(*L, *R) *V) processor.Table[V] {
	l, r := left.Updates(), right.Updates()
	if !present(l, r, asked.verb, asked.Name) {
		return processor.Table[V]{}
	}
	if asked.noJoiner {
		report(l, r, "%s %s: the joiner is nil", asked.verb, asked.Name)
	}
	return processor.TableOf(processor.Process(both(l, r), asked.Name, func(c *processor.Context[processor.Change[V]]) processor.Handler[tableSide[L, R]] {
		j := tables[L, R, V]{
			c: c, match: match,
			left:  processor.KeyValueStore[dated[L]](c, "left", asked.Keep),
			right: processor.KeyValueStore[dated[R]](c, "right", asked.Keep),
		}
		return processor.Handler[tableSide[L, R]]{Record: j.record}
	}))
}

// tableSide is an update of one of two tables.
type tableSide[L, R any] = side[*L, *R]

// dated is a row and the event time of its last update. The zero value is no row.
type dated[V any] struct {
	Value *V        `json:"v"`
	At    time.Time `json:"t"`
}

// Unwrap implements processor.Wrapped.
func (d dated[V]) Unwrap() (value any, at time.Time) { return d.Value, d.At }

// tables is a join of two tables in one task.
type tables[L, R, V any] struct {
	c     *processor.Context[processor.Change[V]]
	match func(*L, *R) *V
	left  *processor.KeyValue[dated[L]]
	right *processor.KeyValue[dated[R]]
}

func (j *tables[L, R, V]) record(rec processor.Record[tableSide[L, R]]) error {
	if rec.Key == "" {
		return errNoKey
	}
	l, _ := j.left.Get(rec.Key)
	r, _ := j.right.Get(rec.Key)
	old := j.match(l.Value, r.Value)
	at := rec.Time
	if rec.Value.isRight {
		at = later(at, l.At)
		r = dated[R]{rec.Value.right, rec.Time}
		keep(j.right, rec.Key, r)
	} else {
		at = later(at, r.At)
		l = dated[L]{rec.Value.left, rec.Time}
		keep(j.left, rec.Key, l)
	}
	change := processor.Change[V]{Old: old, New: j.match(l.Value, r.Value)}
	if change.Old == nil && change.New == nil {
		return nil
	}
	out := processor.With(rec, change)
	out.Time = at
	j.c.Forward(out)
	return nil
}

func keep[V any](rows *processor.KeyValue[dated[V]], key string, row dated[V]) {
	if row.Value == nil {
		rows.Delete(key)
		return
	}
	rows.Put(key, row)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
