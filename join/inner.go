package join

import "github.com/rossby-streams/rossby/processor"

// Inner emits joiner(l, r) for every left and every right record of one key whose times belong together, once, as soon as both
// are there. The result has the later of the two times, the left's headers and the left's window.
//
// Both streams must have the same number of partitions. Records without a key are failed records.
func Inner[L, R, V any](left processor.Upstream[L], right processor.Upstream[R], w Window, joiner func(L, R) V) Result[L, R, V] {
	b := check(left, w, "Inner")
	if w.Emit != OnClose {
		processor.Mistake(left, "Inner %s: a pair is emitted as soon as it is there, so Emit has no meaning", w.Name)
	}
	out := processor.Process(both(left, right), w.Name, func(c *processor.Context[outcome[L, R, V]]) processor.Handler[side[L, R]] {
		j := inner[L, R, V]{
			c: c, b: b, joiner: joiner,
			left:  processor.WindowStore[row[L]](c, "left", b.retention()),
			right: processor.WindowStore[row[R]](c, "right", b.retention()),
		}
		return processor.Handler[side[L, R]]{Record: j.record}
	})
	return split(out)
}

// inner is an Inner join in one task.
type inner[L, R, V any] struct {
	c      *processor.Context[outcome[L, R, V]]
	b      bounds
	joiner func(L, R) V
	left   *processor.Windowed[row[L]]
	right  *processor.Windowed[row[R]]
}

// record probes the other side and then takes its place in its own, so that every pair is found once, by whichever of the two
// is processed second (rule 24).
func (j *inner[L, R, V]) record(rec processor.Record[side[L, R]]) error {
	ok, err := gate(j.c, j.b, rec)
	if !ok {
		return err
	}
	if rec.Value.isRight {
		for id, l := range j.left.Range(rec.Key, rec.Time.Add(-j.b.after), rec.Time.Add(j.b.before)) {
			j.emit(rec, l, rec.Value.right, id)
		}
		j.right.Add(rec.Key, rec.Time, row[R]{rec.Value.right, rec.Headers})
		return nil
	}
	l := row[L]{rec.Value.left, rec.Headers}
	own := processor.RowID{Key: rec.Key, At: rec.Time}
	for id, r := range j.right.Range(rec.Key, rec.Time.Add(-j.b.before), rec.Time.Add(j.b.after)) {
		rec.Time = later(own.At, id.At)
		j.emit(rec, l, r.Value, own)
	}
	j.left.Add(own.Key, own.At, l)
	return nil
}

// emit forwards one pair. rec is the record that found it; left names the left row.
func (j *inner[L, R, V]) emit(rec processor.Record[side[L, R]], l row[L], r R, left processor.RowID) {
	j.c.Forward(processor.Record[outcome[L, R, V]]{
		Key: rec.Key, Time: later(rec.Time, left.At), Headers: l.Headers, Window: j.b.window(left.At),
		Value: outcome[L, R, V]{kind: matched, value: j.joiner(l.Value, r)},
	})
}
