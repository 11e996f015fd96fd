package alerting

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// latest is what a rule that is evaluated at times of its own knows of the samples of one alarm.
type latest[V any] struct {
	// Time is that of the newest sample, Sample its value; Gone says that it was a stale marker.
	Time   time.Time `json:"time"`
	Sample float64   `json:"sample"`
	Gone   bool      `json:"gone,omitzero"`
	// Error is why the value of the newest sample cannot be judged.
	Error   string         `json:"error,omitzero"`
	Value   V              `json:"value"`
	Headers stream.Headers `json:"headers,omitempty"`
	Closes  time.Time      `json:"closes,omitzero"`
	// Series are the newest samples of each series, where the rule combines several.
	Series map[string]point `json:"series,omitempty"`
	// Next is the next evaluation, Done the last one. Zero: there is none.
	Next time.Time `json:"next,omitzero"`
	Done time.Time `json:"done,omitzero"`
}

// take keeps a sample for the next evaluation.
func (t *threshold[V]) take(r processor.Record[V]) error {
	if r.Key == "" {
		return errNoKey
	}
	if t.rule.Select != nil && !t.rule.Select(r.Value) {
		return nil
	}
	id := t.identify(&r)
	value := t.rule.valueOf(r.Value)
	p := point{At: r.Time.UnixNano(), Value: value, Gone: isStale(value)}
	var bad error
	if p.Gone {
		p.Value = 0
	} else if math.IsNaN(value) || math.IsInf(value, 0) {
		bad = fmt.Errorf("the value %v is not a finite number", value)
		if t.rule.OnError == KeepLast {
			return t.failure(bad)
		}
		p.Value, p.Gone = 0, true
	}
	l, known := t.latest.Get(id.store)
	if t.rule.Series != nil {
		l.Series = withPoint(l.Series, t.rule.Series(r.Value), p)
	} else if t.history.measure.windowed() && !p.Gone {
		t.history.add(id.store, r.Time, p.Value)
	}
	if !known || !r.Time.Before(l.Time) {
		l.Time, l.Sample, l.Gone, l.Value, l.Headers, l.Closes, l.Error = r.Time, p.Value, p.Gone, r.Value, r.Headers, r.Window.Closes, ""
		if bad != nil {
			l.Error = bad.Error()
		}
	}
	err := t.plan(id, &l, t.evaluationFor(r.Time))
	t.latest.Put(id.store, l)
	if state, ok := t.states.Get(id.store); ok {
		err = errors.Join(err, t.enrich(id, state, &r))
	}
	return err
}

func withPoint(series map[string]point, name string, p point) map[string]point {
	if old, ok := series[name]; ok && old.At > p.At {
		return series
	}
	series = maps.Clone(series) // values in a store are replaced, never changed
	if series == nil {
		series = make(map[string]point, 2)
	}
	series[name] = p
	return series
}

// evaluationFor is the time of the first evaluation that a sample counts for.
func (t *threshold[V]) evaluationFor(at time.Time) time.Time {
	over := at.UnixNano() % int64(t.rule.Every)
	if over == 0 {
		return at
	}
	return at.Add(t.rule.Every - time.Duration(over))
}

// plan sets the next evaluation, unless an earlier one is set or that one is done.
func (t *threshold[V]) plan(id identity, l *latest[V], next time.Time) error {
	if !next.After(l.Done) {
		next = l.Done.Add(t.rule.Every)
	}
	if !l.Next.IsZero() && !next.Before(l.Next) {
		return nil
	}
	l.Next = next
	// One instant later: when all samples of that time have come.
	return t.c.Schedule(id.store, t.later(next.Add(1)))
}

// evaluate judges what is there at the time of an evaluation.
func (t *threshold[V]) evaluate(id identity, l latest[V]) error {
	at := l.Next
	l.Next, l.Done = time.Time{}, at
	state, _ := t.states.Get(id.store)
	f, err := t.find(id, &l, &state)
	if err != nil && t.rule.OnError == KeepLast {
		return errors.Join(processor.Partial(t.failure(err)), t.goOn(id, l, true))
	}
	if state.Alarm != nil || f.outcome != (Outcome{}) {
		state.Last = at
		if err := t.judge(state, f); err != nil {
			return err
		}
		state, _ = t.states.Get(id.store)
	}
	lasting := state.Alarm != nil
	if f.outcome.Kind == Missing && t.stale(&l, at) && !lasting {
		t.latest.Delete(id.store) // the series has ended
		return nil
	}
	idle := f.outcome.Kind == Missing && t.stale(&l, at) && t.settled(state.Alarm)
	return t.goOn(id, l, !idle)
}

// settled says that further evaluations without data change nothing.
func (t *threshold[V]) settled(e *episode) bool {
	switch t.rule.OnNoData {
	case KeepLast:
		return true
	case OwnAlarm:
		return e.State == NoData || e.State == Expired
	case AsBreach:
		return (e.State == Firing || e.State == Expired) && e.Flaps.Changes == 0 && !e.Flaps.Flapping
	}
	return false
}

// goOn keeps what is known and sets the evaluation after this one, if there is one without a sample.
func (t *threshold[V]) goOn(id identity, l latest[V], more bool) error {
	var err error
	if more {
		err = t.plan(id, &l, l.Done.Add(t.rule.Every))
	}
	t.latest.Put(id.store, l)
	return err
}

func (t *threshold[V]) stale(l *latest[V], at time.Time) bool {
	return l.Gone && l.Error == "" || at.Sub(l.Time) >= t.rule.lookback()
}

// find is the finding at the time l.Done.
func (t *threshold[V]) find(id identity, l *latest[V], state *keyState) (finding[V], error) {
	at := l.Done
	f := finding[V]{id: id, at: at, sample: l.Sample}
	value, ok, err := t.valueAt(id, l)
	if err == nil && !ok {
		f.outcome = Outcome{Kind: Missing, Level: len(t.levels)}
		if t.rule.absence() {
			f.value = at.Sub(l.Time).Seconds()
		}
		f.reason = fmt.Sprintf("no data since %s", l.Time.UTC().Format(time.RFC3339))
		return f, nil
	}
	f.record = &processor.Record[V]{Key: id.key, Value: l.Value, Time: l.Time, Headers: l.Headers, Window: processor.Window{Closes: l.Closes}}
	if err == nil {
		current := 0
		if state.Alarm != nil {
			current = state.Alarm.Level
		}
		f.value = value
		f.outcome, err = t.levels.outcome(current, value, l.Value)
	}
	if err != nil {
		f.outcome, f.reason = Outcome{Kind: Errored, Level: len(t.levels)}, err.Error()
	}
	return f, err
}

// valueAt is the value that is judged at the time l.Done, and false if there is none.
func (t *threshold[V]) valueAt(id identity, l *latest[V]) (float64, bool, error) {
	at := l.Done
	if l.Error != "" && at.Sub(l.Time) < t.rule.lookback() {
		return 0, false, errors.New(l.Error)
	}
	value, ok := l.Sample, !t.stale(l, at)
	switch {
	case t.rule.Combine != nil:
		value, ok = t.rule.Combine(Latest{series: l.Series, at: at, lookback: t.rule.lookback()})
		if !ok {
			return 0, false, nil
		}
	case t.history.measure.kind == measureCount:
		value, ok = t.history.at(id.store, at)
		return value, ok, nil
	case !ok:
		return 0, false, nil
	case t.history.measure.windowed():
		value, ok = t.history.at(id.store, at)
		return value, ok, nil
	}
	return t.history.value(id.store, at, value)
}

// timer does what is due: alarms whose context is complete, an evaluation, absence, the end of MaxDuration.
func (t *threshold[V]) timer(tm processor.Timer) error {
	id := t.identified(tm.Key)
	if state, ok := t.states.Get(tm.Key); ok {
		if err := t.release(id, state, tm.At); err != nil {
			return err
		}
	}
	if t.latest != nil {
		if l, ok := t.latest.Get(tm.Key); ok && !l.Next.IsZero() && l.Next.Before(tm.At) {
			if err := t.evaluate(id, l); err != nil {
				return err
			}
		}
	}
	state, ok := t.states.Get(tm.Key)
	if ok && !state.Due.IsZero() && !state.Due.After(tm.At) {
		if err := t.absent(id, state, tm.At); err != nil {
			return err
		}
		state, ok = t.states.Get(tm.Key)
	}
	if ok && state.Alarm != nil {
		return t.expire(id, state, tm.At)
	}
	return nil
}

// release emits the alarms of a key whose context is complete now.
func (t *threshold[V]) release(id identity, state keyState, now time.Time) error {
	var waiting []held
	for _, h := range state.Held {
		if !h.Closes.Before(now) {
			waiting = append(waiting, h)
			continue
		}
		t.emit(id.key, h.Alarm, h.Headers)
	}
	state.Held = waiting
	return t.keep(id.store, state)
}

// absent looks at the absence of samples when it is due.
func (t *threshold[V]) absent(id identity, state keyState, now time.Time) error {
	if ends := state.Last.Add(t.rule.Lookback); ends.After(now) {
		state.Due = ends
		return errors.Join(t.c.Schedule(id.store, ends), t.keep(id.store, state))
	}
	f := finding[V]{
		id: id, at: now, outcome: Outcome{Kind: Missing, Level: len(t.levels)},
		reason: fmt.Sprintf("no data since %s", state.Last.UTC().Format(time.RFC3339)),
	}
	if t.rule.absence() {
		f.value = now.Sub(state.Last).Seconds()
	}
	return t.judge(state, f)
}

// expire ends an alarm that has lasted for MaxDuration.
func (t *threshold[V]) expire(id identity, state keyState, now time.Time) error {
	e := *state.Alarm
	before := e
	e.Machine = t.rule.machine(e.Machine)
	change := e.Expire(now)
	if e.State == before.State {
		return nil
	}
	state.Alarm = &e
	if e.State == Inactive && e.Flaps == (Flaps{}) {
		state.Alarm = nil
	}
	var err error
	if change != Inactive {
		f := finding[V]{id: id, at: now, value: e.Value, sample: e.Sample, reason: fmt.Sprintf("it has lasted for %v", t.rule.MaxDuration)}
		state, err = t.say(state, t.alarm(&f, change, &before, &e), &f, &e)
	}
	return errors.Join(err, t.keep(id.store, state))
}

func (t *threshold[V]) failure(err error) error { return fmt.Errorf("rule %s: %w", t.rule.Name, err) }
