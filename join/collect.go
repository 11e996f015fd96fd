package join

import (
	"errors"

	"github.com/rossby-streams/rossby/processor"
)

// Collect gives each left record with all right records of its window, in the order of their time, then of their arrival,
// also when there are none.
//
// With Emit: OnClose each left record gives one result, when its window has closed; results come in the order of the left
// records' time. With OnUpdate it gives one at once, with the right records that are there, and another one for each right record
// that comes into its window later, and none when the window closes. Results have the left record's key, time, headers and
// window: key and time name the left record that a result speaks of, and the latest one is the most complete.
//
// The slice that joiner gets is never nil, and is the joiner's; CollectUpTo bounds it. Both streams must have the same number of
// partitions. Records without a key are failed records, and so is one on which joiner panics; other results come all the same.
func Collect[L, R, V any](left processor.Upstream[L], right processor.Upstream[R], w Window, joiner func(L, []R) V) Result[L, R, V] {
	if joiner == nil {
		report(left, right, "Collect %s: the joiner is nil", w.Name)
	}
	return collectJoin(left, right, w, collectVerb[L, R, V]{name: "Collect", joiner: func(l L, rights found[R]) V { return joiner(l, rights.all()) }})
}

// collectVerb says how the verbs differ that give each left record together with what its window holds.
type collectVerb[L, R, V any] struct {
	name   string
	joiner func(L, found[R]) V
}

// found are the right rows of a left row's window, where they are kept: a verb takes out what it speaks of.
type found[R any] struct {
	rows *processor.Windowed[R]
	key  string
	w    processor.Window
}

func (f found[R]) all() []R {
	if rows := f.rows.Rows(f.key, f.w.Start, f.w.End); rows != nil {
		return rows
	}
	return []R{} // costs nothing, and is "[]" in every JSON
}

func collectJoin[L, R, V any](left processor.Upstream[L], right processor.Upstream[R], w Window, verb collectVerb[L, R, V]) Result[L, R, V] {
	b, ok := check(left, right, w, verb.name)
	if !ok {
		return Result[L, R, V]{}
	}
	out := processor.Process(both(left, right), w.Name, func(c *processor.Context[outcome[L, R, V]]) processor.Handler[side[L, R]] {
		c.StateDependsOn(b.describe(verb.name, w.Emit))
		j := collect[L, R, V]{
			c: c, b: b, joiner: verb.joiner, emit: w.Emit,
			left:  processor.WindowStore[row[L]](c, "left", b.retention(), w.Keep),
			right: processor.WindowStore[R](c, "right", b.retention(), w.Keep),
		}
		h := processor.Handler[side[L, R]]{Record: j.record}
		if w.Emit == OnClose {
			h.Timer = j.close
		}
		return h
	})
	return split(out)
}

// collect is a Collect join in one task.
type collect[L, R, V any] struct {
	c      *processor.Context[outcome[L, R, V]]
	b      bounds
	joiner func(L, found[R]) V
	emit   Emit
	left   *processor.Windowed[row[L]]
	right  *processor.Windowed[R] // without headers: a result has the left's
}

func (j *collect[L, R, V]) record(rec processor.Record[side[L, R]]) error {
	if ok, err := gate(j.c, j.b, j.left.Len()+j.right.Len(), &rec); !ok {
		return err
	}
	if rec.Value.isRight {
		return j.takeRight(&rec)
	}
	return j.takeLeft(&rec)
}

func (j *collect[L, R, V]) takeLeft(rec *processor.Record[side[L, R]]) error {
	l := row[L]{Value: rec.Value.left, Headers: rec.Headers}
	if j.emit == OnUpdate {
		j.left.Add(rec.Key, rec.Time, l)
		return processor.Partial(j.forward(processor.RowID{Key: rec.Key, At: rec.Time}, &l))
	}
	// The timer first: a row whose timer is refused, since it lies beyond the last event time there is, must not stay.
	if err := j.c.Schedule(rec.Key, j.b.closes(rec.Time)); err != nil {
		return err
	}
	j.left.Add(rec.Key, rec.Time, l)
	return nil
}

func (j *collect[L, R, V]) takeRight(rec *processor.Record[side[L, R]]) error {
	j.right.Add(rec.Key, rec.Time, rec.Value.right)
	if j.emit == OnClose {
		return nil
	}
	var failed error
	now := j.c.StreamTime()
	for id, l := range j.left.Range(rec.Key, rec.Time.Add(-j.b.after), rec.Time.Add(j.b.before)) {
		if !j.b.lateLeft(id.At, now) { // its window has closed: nothing is added to it
			failed = errors.Join(failed, j.forward(id, &l))
		}
	}
	return processor.Partial(failed)
}

// close emits the left rows whose window has just closed (departure D4: whenever stream time advances, in the order of time).
func (j *collect[L, R, V]) close(t processor.Timer) error {
	var failed error
	at := j.b.opened(t.At)
	for id, l := range j.left.Range(t.Key, at, at) {
		failed = errors.Join(failed, j.forward(id, &l))
	}
	return processor.Partial(failed)
}

// forward emits a left row with the right rows of its window.
func (j *collect[L, R, V]) forward(id processor.RowID, l *row[L]) error {
	w := j.b.window(id.At)
	value, err := call(j.joiner, l.Value, found[R]{rows: j.right, key: id.Key, w: w})
	if err != nil {
		return failedOn(id, err)
	}
	j.c.Forward(processor.Record[outcome[L, R, V]]{
		Key: id.Key, Time: id.At, Headers: l.Headers, Window: w, Value: outcome[L, R, V]{value: value},
	})
	return nil
}
