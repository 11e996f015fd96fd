package join

import (
	"errors"
	"fmt"
	"time"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// Lookup says how records of a stream find their row of a table.
type Lookup struct {
	// Name is the name of the join, unique in the topology. State is kept under it. Required.
	Name string
	// History makes the join ask for the row as it was at the record's event time, and is how far back it can ask, in event time. A
	// record that is older finds nothing. Zero: the row as it is when the record is processed, whatever the times.
	History time.Duration
	// Grace is how long a record waits, in event time, for updates of the table that come out of order. It needs a History that
	// is at least as long. Zero: records are joined at once (rule 36).
	Grace time.Duration
	// Keep is where the rows are kept, and the records that wait. Zero: see processor.Builder.KeepState.
	Keep processor.Medium
}

// Table joins each record of a stream with the row of its key: joiner(l, r) if there is one, and nothing if there is none. Only the
// stream triggers; an update of the table gives nothing. The result has the record's key, time, headers and window.
//
// Stream and table must have the same number of partitions. Records without a key are failed records, and so is one on which joiner
// panics.
func Table[L, R, V any](left processor.Upstream[L], right processor.Table[R], l Lookup, joiner func(L, R) V) processor.Stream[V] {
	if joiner == nil {
		report(left, right.Updates(), "Table %s: the joiner is nil", l.Name)
	}
	return lookUp(left, right, l, func(record L, found *R) answer[V] {
		if found == nil {
			return answer[V]{}
		}
		return answer[V]{joiner(record, *found), true}
	})
}

// TableLeft is Table for every record: joiner gets nil where there is no row.
func TableLeft[L, R, V any](left processor.Upstream[L], right processor.Table[R], l Lookup, joiner func(L, *R) V) processor.Stream[V] {
	if joiner == nil {
		report(left, right.Updates(), "TableLeft %s: the joiner is nil", l.Name)
	}
	return lookUp(left, right, l, func(record L, found *R) answer[V] { return answer[V]{joiner(record, found), true} })
}

// answer is what a record and its row give, if they give something.
type answer[V any] struct {
	value V
	ok    bool
}

func lookUp[L, R, V any](left processor.Upstream[L], right processor.Table[R], l Lookup, match func(L, *R) answer[V]) processor.Stream[V] {
	updates := right.Updates()
	if !present(left, updates, "Table", l.Name) {
		return processor.Stream[V]{}
	}
	switch {
	case l.History < 0 || l.Grace < 0:
		report(left, updates, "Table %s: History (%v) and Grace (%v) must not be negative", l.Name, l.History, l.Grace)
	case l.Grace > l.History:
		report(left, updates, "Table %s: a Grace of %v needs a History of as much at least, got %v: a record that has waited must still find its row", l.Name, l.Grace, l.History)
	}
	return processor.Process(both(left, updates), l.Name, func(c *processor.Context[V]) processor.Handler[side[L, *R]] {
		c.StateDependsOn(fmt.Sprintf("history %v, grace %v", l.History, l.Grace))
		j := lookup[L, R, V]{c: c, grace: l.Grace, match: match}
		if l.History == 0 {
			j.rows = rowsNow[R]{processor.KeyValueStore[*R](c, "rows", l.Keep)}
		} else {
			j.rows = rowsThen[R]{processor.VersionedStore[*R](c, "rows", l.History, l.Keep)}
		}
		h := processor.Handler[side[L, *R]]{Record: j.record}
		if l.Grace > 0 {
			j.waiting = processor.WindowStore[waiting[L]](c, "waiting", l.Grace+1, l.Keep)
			h.Timer = j.release
		}
		return h
	})
}

// lookup is a join of a stream with a table in one task.
type lookup[L, R, V any] struct {
	c       *processor.Context[V]
	grace   time.Duration
	match   func(L, *R) answer[V]
	rows    rows[R]
	waiting *processor.Windowed[waiting[L]] // nil: nothing waits
}

// waiting is a record that waits for its grace.
type waiting[L any] struct {
	Value   L                `json:"v"`
	Headers stream.Headers   `json:"h,omitzero"`
	Window  processor.Window `json:"w,omitzero"`
}

// Unwrap implements processor.Wrapped.
func (w waiting[L]) Unwrap() (value any, at time.Time) { return w.Value, time.Time{} }

// rows is the table's side: as it is, or as it was.
type rows[R any] interface {
	update(key string, at time.Time, value *R)
	find(key string, at time.Time) *R
}

type rowsNow[R any] struct{ store *processor.KeyValue[*R] }

func (r rowsNow[R]) update(key string, _ time.Time, value *R) {
	if value == nil {
		r.store.Delete(key)
		return
	}
	r.store.Put(key, value)
}

func (r rowsNow[R]) find(key string, _ time.Time) *R {
	found, _ := r.store.Get(key)
	return found
}

type rowsThen[R any] struct{ store *processor.Versioned[*R] }

func (r rowsThen[R]) update(key string, at time.Time, value *R) {
	if value == nil {
		r.store.Delete(key, at)
		return
	}
	r.store.Put(key, at, value)
}

func (r rowsThen[R]) find(key string, at time.Time) *R {
	found, _, _ := r.store.GetAsOf(key, at)
	return found
}

func (j *lookup[L, R, V]) record(rec processor.Record[side[L, *R]]) error {
	if rec.Key == "" {
		return errNoKey
	}
	if rec.Value.isRight {
		j.rows.update(rec.Key, rec.Time, rec.Value.right)
		return nil
	}
	due := rec.Time.Add(j.grace)
	if j.grace == 0 || !due.After(j.c.StreamTime()) {
		return j.join(processor.With(rec, rec.Value.left))
	}
	if err := j.c.Schedule(rec.Key, due); err != nil {
		return err
	}
	j.waiting.Add(rec.Key, rec.Time, waiting[L]{rec.Value.left, rec.Headers, rec.Window})
	return nil
}

// release joins the records that have waited long enough. What they have been is dropped when stream time goes on.
func (j *lookup[L, R, V]) release(t processor.Timer) error {
	at := t.At.Add(-j.grace)
	var failed error
	for id, w := range j.waiting.Range(t.Key, at, at) {
		err := j.join(processor.Record[L]{Key: t.Key, Time: at, Headers: w.Headers, Window: w.Window, Value: w.Value})
		if err != nil {
			failed = errors.Join(failed, failedOn(id, err))
		}
	}
	return processor.Partial(failed)
}

func (j *lookup[L, R, V]) join(rec processor.Record[L]) error {
	a, err := call(j.match, rec.Value, j.rows.find(rec.Key, rec.Time))
	if err == nil && a.ok {
		j.c.Forward(processor.With(rec, a.value))
	}
	return err
}
