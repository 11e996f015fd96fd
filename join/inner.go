package join

import (
	"errors"
	"time"

	"github.com/rossby-streams/rossby/processor"
)

// Inner emits joiner(l, r) for every left and every right record of one key whose times belong together, once, as soon as both
// are there. The result has the later of the two times, the left's headers and the left's window. What one record finds comes
// in the order of the time of its partners, then of their arrival.
//
// Both streams must have the same number of partitions. Records without a key are failed records, and so is one on which
// joiner panics; its other pairs are joined all the same.
func Inner[L, R, V any](left processor.Upstream[L], right processor.Upstream[R], w Window, joiner func(L, R) V) Result[L, R, V] {
	b, ok := check(left, right, w, "Inner")
	if !ok {
		return Result[L, R, V]{}
	}
	if joiner == nil {
		report(left, right, "Inner %s: the joiner is nil", w.Name)
	}
	if w.Emit == OnUpdate {
		report(left, right, "Inner %s: a pair is emitted as soon as both are there, so leave Emit at zero", w.Name)
	}
	out := processor.Process(both(left, right), w.Name, func(c *processor.Context[outcome[L, R, V]]) processor.Handler[side[L, R]] {
		c.StateDependsOn(b.describe("Inner", OnUpdate))
		j := inner[L, R, V]{
			c: c, b: b, joiner: joiner,
			left:  processor.WindowStore[row[L]](c, "left", b.retention(), w.Keep),
			right: processor.WindowStore[R](c, "right", b.retention(), w.Keep),
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
	right  *processor.Windowed[R] // without headers: a match has the left's
}

// record probes the other side and then takes its place in its own, so that every pair is found once, by whichever of the two
// is processed second (rule 24).
func (j *inner[L, R, V]) record(rec processor.Record[side[L, R]]) error {
	if ok, err := gate(j.c, j.b, j.left.Len()+j.right.Len(), &rec); !ok {
		return err
	}
	if rec.Value.isRight {
		return j.takeRight(&rec)
	}
	return j.takeLeft(&rec)
}

func (j *inner[L, R, V]) takeLeft(rec *processor.Record[side[L, R]]) error {
	var failed error
	l := row[L]{Value: rec.Value.left, Headers: rec.Headers}
	for id, r := range j.right.Range(rec.Key, rec.Time.Add(-j.b.before), rec.Time.Add(j.b.after)) {
		failed = errors.Join(failed, j.match(processor.RowID{Key: rec.Key, At: rec.Time}, &l, id.At, r))
	}
	j.left.Add(rec.Key, rec.Time, l)
	return processor.Partial(failed)
}

func (j *inner[L, R, V]) takeRight(rec *processor.Record[side[L, R]]) error {
	var failed error
	for id, l := range j.left.Range(rec.Key, rec.Time.Add(-j.b.after), rec.Time.Add(j.b.before)) {
		failed = errors.Join(failed, j.match(id, &l, rec.Time, rec.Value.right))
	}
	j.right.Add(rec.Key, rec.Time, rec.Value.right)
	return processor.Partial(failed)
}

// match forwards the pair of the left row id and a right row at a time.
func (j *inner[L, R, V]) match(id processor.RowID, l *row[L], at time.Time, r R) error {
	value, err := call(j.joiner, l.Value, r)
	if err != nil {
		return failedOn(id, err)
	}
	if at.Before(id.At) {
		at = id.At
	}
	j.c.Forward(processor.Record[outcome[L, R, V]]{
		Key: id.Key, Time: at, Headers: l.Headers, Window: j.b.window(id.At), Value: outcome[L, R, V]{value: value},
	})
	return nil
}
