package alerting

import (
	"errors"
	"maps"
	"time"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// Threshold raises alarms by a rule: one alarm per rule, key and set of labels. What it takes may be plain samples, or windowed
// results such as those of join.Collect, of which the first for a time is judged and the others complete the context. Alarms have
// the key of the record, the time At, and the headers of the record that made the change.
func Threshold[V any](in processor.Upstream[V], rule Rule[V]) processor.Stream[Alarm] {
	if err := rule.Validate(); err != nil {
		processor.Mistake(in, "Threshold %s: %v", rule.Name, err)
	}
	texts, err := rule.annotations()
	if err != nil {
		processor.Mistake(in, "Threshold %s: %v", rule.Name, err)
	}
	rule.Labels = maps.Clone(rule.Labels)
	return processor.Process(in, rule.Name, func(c *processor.Context[Alarm]) processor.Handler[V] {
		t := &threshold[V]{c: c, rule: rule, levels: rule.levels(), texts: texts, states: processor.KeyValueStore[keyState](c, "alarms")}
		if rule.timed() {
			t.latest = processor.KeyValueStore[latest[V]](c, "latest")
		}
		t.history = newHistory(c, rule.Over, rule.Every)
		if rule.timed() {
			return processor.Handler[V]{Record: t.take, Timer: t.timer}
		}
		return processor.Handler[V]{Record: t.record, Timer: t.timer}
	})
}

// keyState is what a rule knows of one alarm. Keys that are calm have none, unless the rule watches for absence.
type keyState struct {
	// Last is the time of the sample judged last, Closes when nothing more can come for it.
	Last   time.Time `json:"last"`
	Closes time.Time `json:"closes,omitzero"`
	// Alarm is the one in hand.
	Alarm *episode `json:"alarm,omitzero"`
	// Held are alarms that have been resolved and wait for the rest of their context.
	Held []held `json:"held,omitempty"`
	// Due is when the absence of samples is looked at next.
	Due time.Time `json:"due,omitzero"`
}

// episode is an alarm from its first breach on.
type episode struct {
	Machine
	// Of is the time of the sample of the first breach, Closes when its context is complete; zero: it is.
	Of      time.Time `json:"of,omitzero"`
	Closes  time.Time `json:"closes,omitzero"`
	Context []byte    `json:"context,omitempty"`
	// Value and Sample are those of the last evaluation with a breach, Peak the worst value so far.
	Value  float64 `json:"value,omitzero"`
	Sample float64 `json:"sample,omitzero"`
	Peak   float64 `json:"peak,omitzero"`
}

// held is a resolved alarm on its way.
type held struct {
	Alarm   Alarm          `json:"alarm"`
	Headers stream.Headers `json:"headers,omitempty"`
	Of      time.Time      `json:"of"`
	Closes  time.Time      `json:"closes"`
}

// threshold is a rule in one task.
type threshold[V any] struct {
	c       *processor.Context[Alarm]
	rule    Rule[V]
	levels  levels[V]
	texts   annotations
	states  *processor.KeyValue[keyState]
	latest  *processor.KeyValue[latest[V]] // of timed rules
	history history
	// prefix is what the keys of its state begin with, where rules share their stores.
	prefix string
}

// finding is one evaluation.
type finding[V any] struct {
	id      identity
	at      time.Time
	outcome Outcome
	// value is what was judged, sample the newest sample.
	value, sample float64
	reason        string
	// record is the one that was judged; nil if there was none.
	record *processor.Record[V]
}

var errNoKey = errors.New("the record has no key, and an alarm needs one")

// record takes a sample of a rule that is evaluated with every sample.
func (t *threshold[V]) record(r processor.Record[V]) error {
	if r.Key == "" {
		return errNoKey
	}
	if t.rule.Select != nil && !t.rule.Select(r.Value) {
		return nil
	}
	id := t.identify(&r)
	state, known := t.states.Get(id.store)
	if known && !r.Time.After(state.Last) {
		return t.enrich(id, state, &r)
	}
	f := finding[V]{id: id, at: r.Time, sample: t.rule.valueOf(r.Value), record: &r}
	value, ok, err := t.history.value(id.store, r.Time, f.sample)
	switch {
	case err != nil:
		f.outcome = Outcome{Kind: Errored, Level: len(t.levels)}
	case !ok:
		f.outcome = Outcome{Kind: Missing, Level: len(t.levels)}
	default:
		current := 0
		if state.Alarm != nil {
			current = state.Alarm.Level
		}
		f.value = value
		f.outcome, err = t.levels.outcome(current, value, r.Value)
	}
	if err != nil && t.rule.OnError == KeepLast {
		return t.failure(err)
	}
	if err != nil {
		f.reason = err.Error()
	}
	if state.Alarm == nil && f.outcome == (Outcome{}) && t.rule.Lookback == 0 {
		return nil // calm, and nothing is kept for it: what is there waits for its timers
	}
	state.Last, state.Closes = r.Time, r.Window.Closes
	return t.judge(state, f)
}

// judge steps the alarm. Values in the store are replaced, never changed.
func (t *threshold[V]) judge(state keyState, f finding[V]) error {
	var e episode
	if state.Alarm != nil {
		e = *state.Alarm
	}
	before := e
	e.Machine = t.rule.machine(e.Machine)
	change := e.Judge(f.at, f.outcome)
	if err := t.begin(&e, &f); err != nil {
		return err
	}
	if f.outcome.Kind == Judged && f.outcome.Level > 0 {
		e.note(t.levels[f.outcome.Level-1].When, &f.value, &f.sample)
	}
	state.Alarm = nil
	if e.State != Inactive || e.Flaps != (Flaps{}) {
		state.Alarm = &e
	}
	if err := t.watch(&state, &e, f); err != nil {
		return err
	}
	var err error
	if change != Inactive {
		state, err = t.say(state, t.alarm(&f, change, &before, &e), &f, &e)
	}
	if e.State == Inactive && e.Flaps != (Flaps{}) {
		state.Alarm = &episode{Machine: e.Machine} // a later alarm begins with nothing but what flapping needs
	}
	return errors.Join(err, t.keep(f.id.store, state))
}

// begin keeps the context of the first breach.
func (t *threshold[V]) begin(e *episode, f *finding[V]) error {
	if e.Level == 0 || e.Context != nil || f.record == nil || e.State == Inactive {
		return nil
	}
	context, err := t.context(f.record.Value)
	if err != nil {
		return err
	}
	e.Context, e.Of, e.Closes = context, f.record.Time, f.record.Window.Closes
	return nil
}

// note remembers the value of a breach.
func (e *episode) note(when Condition, value, sample *float64) {
	if e.Value == 0 && e.Peak == 0 || (*value-e.Peak)*when.direction > 0 {
		e.Peak = *value
	}
	e.Value, e.Sample = *value, *sample
}

// say emits an alarm, or holds it back while its context is open.
func (t *threshold[V]) say(state keyState, alarm Alarm, f *finding[V], e *episode) (keyState, error) {
	var headers stream.Headers
	if f.record != nil {
		headers = f.record.Headers
	}
	if alarm.State == Resolved && !e.Closes.IsZero() && !e.Closes.Before(t.c.StreamTime()) {
		state.Held = append(append([]held(nil), state.Held...), held{alarm, headers, e.Of, e.Closes})
		return state, t.c.Schedule(f.id.store, e.Closes.Add(1))
	}
	t.emit(f.id.key, alarm, headers)
	return state, nil
}

// watch sets the timers of an alarm: the end of MaxDuration, and absence.
func (t *threshold[V]) watch(state *keyState, e *episode, f finding[V]) error {
	var err error
	if ends, ok := e.Expires(); ok {
		err = t.c.Schedule(f.id.store, t.later(ends))
	}
	if t.rule.timed() || t.rule.Lookback == 0 {
		return err
	}
	due := state.Last.Add(t.rule.Lookback)
	switch {
	case f.outcome.Kind != Missing || f.record != nil:
	case e.State == Pending:
		due = e.Since.Add(e.For)
	case e.State == Recovering:
		due = e.Calm.Add(e.KeepFiringFor)
	default:
		state.Due = time.Time{} // nothing more to come of it
		return err
	}
	if state.Due.IsZero() || f.record == nil {
		state.Due = due
		err = errors.Join(err, t.c.Schedule(f.id.store, t.later(due)))
	}
	return err
}

// later is at, or the next instant if that is past.
func (t *threshold[V]) later(at time.Time) time.Time {
	if now := t.c.StreamTime(); !at.After(now) {
		return now.Add(1)
	}
	return at
}

// keep stores the state of an alarm, or forgets it once nothing can come that it is needed for: further results for a breach that is
// over would look like new ones.
func (t *threshold[V]) keep(store string, state keyState) error {
	now := t.c.StreamTime()
	open := !state.Closes.Before(now)
	if state.Alarm != nil || len(state.Held) > 0 || !state.Due.IsZero() || open {
		t.states.Put(store, state)
		if state.Alarm == nil && open {
			return t.c.Schedule(store, state.Closes.Add(1))
		}
		return nil
	}
	t.states.Delete(store)
	return nil
}

// enrich takes a further result for a sample that has been judged: it replaces the context of the alarm whose first breach it is.
func (t *threshold[V]) enrich(id identity, state keyState, r *processor.Record[V]) error {
	if state.Alarm != nil && state.Alarm.Of.Equal(r.Time) {
		context, err := t.context(r.Value)
		if err != nil {
			return err
		}
		e := *state.Alarm
		e.Context = context
		state.Alarm = &e
		t.states.Put(id.store, state)
		return nil
	}
	for i, h := range state.Held {
		if !h.Of.Equal(r.Time) {
			continue
		}
		context, err := t.context(r.Value)
		if err != nil {
			return err
		}
		state.Held = append([]held(nil), state.Held...)
		state.Held[i].Alarm.Context = context
		t.states.Put(id.store, state)
		return nil
	}
	return nil
}
