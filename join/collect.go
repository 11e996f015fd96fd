package join

import "github.com/rossby-streams/rossby/processor"

// Collect gives each left record with all right records of its window, in the order of their time, also when there are none.
//
// With Emit: OnClose each left record gives one result, when its window has closed; results come in the order of the left
// records' time. With OnUpdate it gives one at once, with the right records that are there, and another one for each right record
// that comes into its window later. Results have the left record's key, time, headers and window, so that results of one left
// record can be told by key and time.
//
// The slice that joiner gets may be kept, but not changed. Both streams must have the same number of partitions. Records without
// a key are failed records.
func Collect[L, R, V any](left processor.Upstream[L], right processor.Upstream[R], w Window, joiner func(L, []R) V) Result[L, R, V] {
	b := check(left, w, "Collect")
	out := processor.Process(both(left, right), w.Name, func(c *processor.Context[outcome[L, R, V]]) processor.Handler[side[L, R]] {
		j := collect[L, R, V]{
			c: c, b: b, joiner: joiner, emit: w.Emit,
			left:  processor.WindowStore[row[L]](c, "left", b.retention()),
			right: processor.WindowStore[R](c, "right", b.retention()),
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
	joiner func(L, []R) V
	emit   Emit
	left   *processor.Windowed[row[L]]
	right  *processor.Windowed[R]
}

func (j *collect[L, R, V]) record(rec processor.Record[side[L, R]]) error {
	ok, err := gate(j.c, j.b, rec)
	if !ok {
		return err
	}
	if !rec.Value.isRight {
		return j.takeLeft(rec)
	}
	j.right.Add(rec.Key, rec.Time, rec.Value.right)
	if j.emit == OnUpdate {
		for id, l := range j.left.Range(rec.Key, rec.Time.Add(-j.b.after), rec.Time.Add(j.b.before)) {
			if !j.b.lateLeft(id.At, j.c.StreamTime()) { // its window has closed: nothing is added to it
				j.forward(id, l)
			}
		}
	}
	return nil
}

func (j *collect[L, R, V]) takeLeft(rec processor.Record[side[L, R]]) error {
	l := row[L]{rec.Value.left, rec.Headers}
	j.left.Add(rec.Key, rec.Time, l)
	if j.emit == OnUpdate {
		j.forward(processor.RowID{Key: rec.Key, At: rec.Time}, l)
		return nil
	}
	return j.c.Schedule(rec.Key, j.b.closes(rec.Time))
}

// close emits the left rows whose window has just closed (departure D4: whenever stream time advances, in the order of time).
func (j *collect[L, R, V]) close(t processor.Timer) error {
	at := j.b.opened(t.At)
	for id, l := range j.left.Range(t.Key, at, at) {
		j.forward(id, l)
	}
	return nil
}

// forward emits a left row with the right rows of its window.
func (j *collect[L, R, V]) forward(id processor.RowID, l row[L]) {
	w := j.b.window(id.At)
	j.c.Forward(processor.Record[outcome[L, R, V]]{
		Key: id.Key, Time: id.At, Headers: l.Headers, Window: w,
		Value: outcome[L, R, V]{kind: matched, value: j.joiner(l.Value, j.right.Rows(id.Key, w.Start, w.End))},
	})
}
