package join

import (
	"errors"
	"time"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// Left is Inner that also speaks of left records without a partner: joiner gets nil for the right record then. With Emit: OnClose it
// does so once, when the left record's window has closed and nothing has come. With OnUpdate it does so at once when nothing is
// there yet, and each partner that comes later gives its pair.
//
// A result without partner has the left record's own time, headers and window.
func Left[L, R, V any](left processor.Upstream[L], right processor.Upstream[R], w Window, joiner func(L, *R) V) Result[L, R, V] {
	return outerJoin(left, right, w, outerVerb[L, R, V]{name: "Left", nilJoiner: joiner == nil, pairs: true, joiner: func(l *L, r *R) V { return joiner(*l, r) }})
}

// Outer is Left for both sides: joiner gets nil for whichever record is missing, never for both. A right record at time r waits
// until the windows of all left records that could meet it have closed: r + Before + Grace.
//
// A result without partner has the record's own time and headers. Its window is that in which it has waited for a partner: for a
// right record from r - After to r + Before.
func Outer[L, R, V any](left processor.Upstream[L], right processor.Upstream[R], w Window, joiner func(*L, *R) V) Result[L, R, V] {
	return outerJoin(left, right, w, outerVerb[L, R, V]{name: "Outer", nilJoiner: joiner == nil, pairs: true, both: true, joiner: joiner})
}

// Absence emits joiner(l) for each left record that no right record has met when its window has closed: what should have
// followed and has not. Results come in the order in which windows close, with the left record's key, time, headers and
// window. Emit must be left at zero. On topics that may fall silent it needs CloseOnIdle: see Builder.CloseOnIdle of processor.
func Absence[L, R, V any](left processor.Upstream[L], right processor.Upstream[R], w Window, joiner func(L) V) Result[L, R, V] {
	if w.Emit == OnUpdate {
		report(left, right, "Absence %s: what is absent is known when the window has closed, so leave Emit at zero", w.Name)
	}
	return outerJoin(left, right, w, outerVerb[L, R, V]{name: "Absence", nilJoiner: joiner == nil, joiner: func(l *L, _ *R) V { return joiner(*l) }})
}

// outerVerb says how the verbs of this file differ.
type outerVerb[L, R, V any] struct {
	name      string
	nilJoiner bool
	pairs     bool // speaks of pairs
	both      bool // speaks of right records without partner, too
	joiner    func(*L, *R) V
}

func outerJoin[L, R, V any](left processor.Upstream[L], right processor.Upstream[R], w Window, verb outerVerb[L, R, V]) Result[L, R, V] {
	b, ok := check(left, right, w, verb.name)
	if !ok {
		return Result[L, R, V]{}
	}
	if verb.nilJoiner {
		report(left, right, "%s %s: the joiner is nil", verb.name, w.Name)
	}
	out := processor.Process(both(left, right), w.Name, func(c *processor.Context[outcome[L, R, V]]) processor.Handler[side[L, R]] {
		c.StateDependsOn(b.describe(verb.name, w.Emit))
		j := outer[L, R, V]{
			c: c, b: b, outerVerb: verb, emit: w.Emit,
			left:  processor.WindowStore[row[L]](c, "left", b.retention(), w.Keep),
			right: processor.WindowStore[row[R]](c, "right", b.retention(), w.Keep),
		}
		h := processor.Handler[side[L, R]]{Record: j.record}
		if w.Emit == OnClose {
			h.Timer = j.close
		}
		return h
	})
	return split(out)
}

// outer is a join in one task that speaks of records without a partner.
type outer[L, R, V any] struct {
	outerVerb[L, R, V]
	c     *processor.Context[outcome[L, R, V]]
	b     bounds
	emit  Emit
	left  *processor.Windowed[row[L]]
	right *processor.Windowed[row[R]]
}

func (j *outer[L, R, V]) record(rec processor.Record[side[L, R]]) error {
	if ok, err := gate(j.c, j.b, j.left.Len()+j.right.Len(), &rec); !ok {
		return err
	}
	if rec.Value.isRight {
		return j.takeRight(&rec)
	}
	return j.takeLeft(&rec)
}

func (j *outer[L, R, V]) takeLeft(rec *processor.Record[side[L, R]]) error {
	id := processor.RowID{Key: rec.Key, At: rec.Time}
	l := row[L]{Value: rec.Value.left, Headers: rec.Headers}
	var failed error
	for at, r := range j.right.Range(rec.Key, rec.Time.Add(-j.b.before), rec.Time.Add(j.b.after)) {
		l.Matched = true
		if j.both && !r.Matched {
			r.Matched = true
			j.right.Set(at, r)
		}
		failed = errors.Join(failed, j.match(id, &l, at.At, &r))
	}
	switch {
	case l.Matched:
	case j.emit == OnUpdate:
		failed = j.leftAlone(id, &l)
	default:
		if err := j.c.Schedule(rec.Key, rec.Time.Add(j.b.knownAfterLeft())); err != nil {
			return err
		}
	}
	j.left.Add(rec.Key, rec.Time, l)
	return processor.Partial(failed)
}

func (j *outer[L, R, V]) takeRight(rec *processor.Record[side[L, R]]) error {
	r := row[R]{Value: rec.Value.right}
	var failed error
	for id, l := range j.left.Range(rec.Key, rec.Time.Add(-j.b.after), rec.Time.Add(j.b.before)) {
		r.Matched = true
		if !l.Matched {
			l.Matched = true
			j.left.Set(id, l)
		}
		failed = errors.Join(failed, j.match(id, &l, rec.Time, &r))
	}
	if j.both && !r.Matched {
		r.Headers = rec.Headers // a pair has the left's
	}
	switch {
	case r.Matched || !j.both:
	case j.emit == OnUpdate:
		failed = j.rightAlone(processor.RowID{Key: rec.Key, At: rec.Time}, &r)
	default:
		if err := j.c.Schedule(rec.Key, rec.Time.Add(j.b.knownAfterRight())); err != nil {
			return err
		}
	}
	j.right.Add(rec.Key, rec.Time, r)
	return processor.Partial(failed)
}

// close tells of the rows whose windows have just closed and that have met nobody (departures D3 and D4).
func (j *outer[L, R, V]) close(t processor.Timer) error {
	var failed error
	at := t.At.Add(-j.b.knownAfterLeft())
	for id, l := range j.left.Range(t.Key, at, at) {
		if !l.Matched {
			failed = errors.Join(failed, j.leftAlone(id, &l))
			once(j.left, id, l, j.b.after)
		}
	}
	if !j.both {
		return processor.Partial(failed)
	}
	at = t.At.Add(-j.b.knownAfterRight())
	for id, r := range j.right.Range(t.Key, at, at) {
		if !r.Matched {
			failed = errors.Join(failed, j.rightAlone(id, &r))
			once(j.right, id, r, j.b.before)
		}
	}
	return processor.Partial(failed)
}

// once keeps a row from being told again by the timer of a later row with its key and time. Where the bound is not below zero there
// is none: such a row would be late.
func once[V any](rows *processor.Windowed[row[V]], id processor.RowID, r row[V], bound time.Duration) {
	if bound < 0 {
		r.Matched = true
		rows.Set(id, r)
	}
}

func (j *outer[L, R, V]) match(id processor.RowID, l *row[L], at time.Time, r *row[R]) error {
	if !j.pairs {
		return nil
	}
	if at.Before(id.At) {
		at = id.At
	}
	value, err := call(j.joiner, &l.Value, &r.Value)
	if err != nil {
		return failedOn(id, err)
	}
	j.forward(id.Key, at, j.b.window(id.At), l.Headers, value)
	return nil
}

func (j *outer[L, R, V]) leftAlone(id processor.RowID, l *row[L]) error {
	value, err := call(j.joiner, &l.Value, nil)
	if err != nil {
		return failedOn(id, err)
	}
	j.forward(id.Key, id.At, j.b.window(id.At), l.Headers, value)
	return nil
}

func (j *outer[L, R, V]) rightAlone(id processor.RowID, r *row[R]) error {
	value, err := call(j.joiner, nil, &r.Value)
	if err != nil {
		return failedOnRight(id, err)
	}
	j.forward(id.Key, id.At, j.b.windowOfRight(id.At), r.Headers, value)
	return nil
}

func (j *outer[L, R, V]) forward(key string, at time.Time, w processor.Window, h stream.Headers, value V) {
	j.c.Forward(processor.Record[outcome[L, R, V]]{Key: key, Time: at, Headers: h, Window: w, Value: outcome[L, R, V]{value: value}})
}
