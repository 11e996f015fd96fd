package alerting

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// Rule says when values of a stream are alarming.
type Rule[V any] struct {
	// Name is the rule's name, unique in the topology: letters, digits, '-' and '_'. State is kept under it. Required.
	Name string
	// Value gives the value of a record. Required.
	Value func(V) float64
	// When is the condition. Required.
	When Condition
	// For is how long a breach must last before the alarm fires. Zero: it fires with the first one.
	For time.Duration
	// KeepFiringFor is how long the alarm keeps firing when the breach is over, so that one that comes and goes is one alarm: it is
	// resolved by the first sample that is at least that long after the one that cleared it, without a breach between. Zero: at once.
	KeepFiringFor time.Duration
	// Severity and Labels are passed on in every alarm.
	Severity string
	Labels   map[string]string
	// Context gives what the alarm carries of the joined value of the first breach; it is encoded as JSON. It is called for that
	// record only. Nil: the whole value. Text that is not UTF-8 is replaced rather than refused: a log line must not cost an alarm.
	Context func(V) any
}

// Threshold raises alarms where the values of a stream breach a rule's condition: one alarm per rule and key. What it takes may be
// plain samples, or windowed results such as those of join.Collect, of which the first for a time is judged and the others
// complete the context. Alarms have the key of the record, the time At, and the headers of the record that made the change.
func Threshold[V any](in processor.Upstream[V], rule Rule[V]) processor.Stream[Alarm] {
	if rule.Value == nil {
		processor.Mistake(in, "Threshold %s: the rule has no Value", rule.Name)
	}
	if rule.For < 0 {
		processor.Mistake(in, "Threshold %s: For must be zero or more, got %v", rule.Name, rule.For)
	}
	if rule.KeepFiringFor < 0 {
		processor.Mistake(in, "Threshold %s: KeepFiringFor must be zero or more, got %v", rule.Name, rule.KeepFiringFor)
	}
	if err := rule.When.Validate(); err != nil {
		processor.Mistake(in, "Threshold %s: %v", rule.Name, err)
	}
	if _, err := stream.JSON[Alarm]().Encode(Alarm{Severity: rule.Severity, Labels: rule.Labels}); err != nil {
		processor.Mistake(in, "Threshold %s: Severity and Labels must be UTF-8: %v", rule.Name, err)
	}
	rule.Labels = maps.Clone(rule.Labels)
	return processor.Process(in, rule.Name, func(c *processor.Context[Alarm]) processor.Handler[V] {
		t := threshold[V]{c: c, rule: rule, states: processor.KeyValueStore[keyState](c, "alarms")}
		return processor.Handler[V]{Record: t.record, Timer: t.timer}
	})
}

// keyState is what a rule knows of one key. Keys that are calm have none.
type keyState struct {
	// Last is the time of the sample judged last, Closes when nothing more can come for it.
	Last   time.Time `json:"last"`
	Closes time.Time `json:"closes,omitzero"`
	// Alarm is the one in hand.
	Alarm *episode `json:"alarm,omitzero"`
	// Held are alarms that have been resolved and wait for the rest of their context.
	Held []held `json:"held,omitempty"`
}

// episode is an alarm from its first breach on.
type episode struct {
	Machine
	Closes  time.Time `json:"closes,omitzero"` // when the context of the first breach is complete; zero: it is
	Context []byte    `json:"context,omitempty"`
}

// held is a resolved alarm on its way.
type held struct {
	Alarm   Alarm          `json:"alarm"`
	Headers stream.Headers `json:"headers,omitempty"`
	Closes  time.Time      `json:"closes"`
}

// threshold is a rule in one task.
type threshold[V any] struct {
	c      *processor.Context[Alarm]
	rule   Rule[V]
	states *processor.KeyValue[keyState]
}

var errNoKey = errors.New("the record has no key, and an alarm needs one")

func (t *threshold[V]) record(r processor.Record[V]) error {
	if r.Key == "" {
		return errNoKey
	}
	state, known := t.states.Get(r.Key)
	if known && !r.Time.After(state.Last) {
		return t.enrich(state, r)
	}
	value := t.rule.Value(r.Value)
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return fmt.Errorf("rule %s: the value %v is not a finite number", t.rule.Name, value)
	}
	if state.Alarm == nil && !t.rule.When.Breached(value) {
		return nil // calm, and nothing is kept for it: what is there waits for its timers
	}
	return t.judge(state, r, value)
}

// judge steps the alarm with a new sample. Values in the store are replaced, never changed.
func (t *threshold[V]) judge(state keyState, r processor.Record[V], value float64) error {
	var e episode
	if state.Alarm != nil {
		e = *state.Alarm
	}
	e.When, e.For, e.KeepFiringFor = t.rule.When, t.rule.For, t.rule.KeepFiringFor
	since := e.Since
	change := e.Step(r.Time, value)
	if state.Alarm == nil && e.State != Inactive {
		since = e.Since
		context, err := t.context(r)
		if err != nil {
			return err
		}
		e.Context, e.Closes = context, r.Window.Closes
	}
	state.Last, state.Closes = r.Time, r.Window.Closes
	state.Alarm = nil
	if e.State != Inactive {
		state.Alarm = &e
	}
	var err error
	if change != Inactive {
		alarm := Alarm{
			Rule: t.rule.Name, Key: strings.ToValidUTF8(r.Key, "\uFFFD"), State: change, Severity: t.rule.Severity, Value: value,
			Threshold: t.rule.When.Threshold(), Since: since, At: r.Time, Labels: t.rule.Labels, Context: e.Context,
		}
		if change == Resolved && !e.Closes.Before(t.c.StreamTime()) {
			state.Held = append(append([]held(nil), state.Held...), held{alarm, r.Headers, e.Closes})
			err = t.c.Schedule(r.Key, e.Closes.Add(1))
		} else {
			t.c.Forward(processor.Record[Alarm]{Key: r.Key, Value: alarm, Time: alarm.At, Headers: r.Headers})
		}
	}
	return errors.Join(err, t.keep(r.Key, state))
}

// keep stores the state of a key, or forgets it once nothing can come that it is needed for: further results for a breach that is
// over would look like new ones.
func (t *threshold[V]) keep(key string, state keyState) error {
	now := t.c.StreamTime()
	if state.Alarm != nil || len(state.Held) > 0 || !state.Closes.Before(now) {
		t.states.Put(key, state)
		if state.Alarm == nil && !state.Closes.Before(now) {
			return t.c.Schedule(key, state.Closes.Add(1))
		}
		return nil
	}
	t.states.Delete(key)
	return nil
}

// enrich takes a further result for a sample that has been judged: it replaces the context of the alarm whose first breach it is.
func (t *threshold[V]) enrich(state keyState, r processor.Record[V]) error {
	if state.Alarm != nil && state.Alarm.Since.Equal(r.Time) {
		context, err := t.context(r)
		if err != nil {
			return err
		}
		e := *state.Alarm
		e.Context = context
		state.Alarm = &e
		t.states.Put(r.Key, state)
		return nil
	}
	for i, h := range state.Held {
		if h.Alarm.Since.Equal(r.Time) {
			context, err := t.context(r)
			if err != nil {
				return err
			}
			state.Held = append([]held(nil), state.Held...)
			state.Held[i].Alarm.Context = context
			t.states.Put(r.Key, state)
			return nil
		}
	}
	return nil
}

// timer emits the alarms of a key whose context is complete now.
func (t *threshold[V]) timer(tm processor.Timer) error {
	state, ok := t.states.Get(tm.Key)
	if !ok {
		return nil
	}
	var waiting []held
	for _, h := range state.Held {
		if !h.Closes.Before(tm.At) {
			waiting = append(waiting, h)
			continue
		}
		t.c.Forward(processor.Record[Alarm]{Key: tm.Key, Value: h.Alarm, Time: h.Alarm.At, Headers: h.Headers})
	}
	state.Held = waiting
	return t.keep(tm.Key, state)
}

// context encodes what the alarm carries. Maps are written in a fixed order, so that equal contexts have equal bytes.
func (t *threshold[V]) context(r processor.Record[V]) ([]byte, error) {
	var value any = r.Value
	if t.rule.Context != nil {
		value = t.rule.Context(r.Value)
	}
	data, err := json.Marshal(value,
		json.Deterministic(true), jsonv1.FormatDurationAsNano(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return nil, fmt.Errorf("rule %s: encode the context: %w", t.rule.Name, err)
	}
	return data, nil
}
