package alerting

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// Version orders the changes of one rule.
type Version struct {
	// Epoch is that of whatever counts the revisions, such as the time when a bucket was created: counting may begin anew in a later one.
	Epoch    int64  `json:"epoch"`
	Revision uint64 `json:"revision"`
}

// Before reports whether v is older than w.
func (v Version) Before(w Version) bool {
	return v.Epoch < w.Epoch || v.Epoch == w.Epoch && v.Revision < w.Revision
}

// RuleChange is what a rule is from now on.
type RuleChange struct {
	// Name is the name of the rule.
	Name string `json:"name"`
	// Version orders the changes of the rule: one that is not newer than what has come is passed over.
	Version Version `json:"version"`
	// Text is the text of the rule. Empty: the rule is removed.
	Text string `json:"text,omitzero"`
	// From is the event time from which on it holds, so that a replay changes rules where life did. Zero: at once.
	From time.Time `json:"from,omitzero"`
}

// RuleChanges returns a topic for changes of rules. It has as many partitions as the stream that the rules look at, and each change goes to
// all of them: package rulebucket does that. Changes have no event time of their own, so that they never make a record late; in a
// replay from the beginning they come first.
func RuleChanges(name string, partitions int) stream.Topic[RuleChange] {
	return stream.Topic[RuleChange]{Name: name, Partitions: partitions, Time: func(RuleChange) time.Time { return time.Unix(0, 0) }}
}

// Loaded is a rule that was read from the text of a change.
type Loaded[V any] struct {
	Rule Rule[V]
	// Series are the names of the series that the rule looks at. None: it looks at all records.
	Series []string
	// From is RuleChange.From.
	From time.Time
	// Basis is a text of what makes the identity of the alarms and the values that are judged. While a change leaves it as it was, alarms
	// that fire go on, and so does what the rule remembers of the samples.
	Basis string
}

// waiting are the changes that are still to come when one more does: those that hold from a time on before its own. An earlier version
// that would hold later is not what anybody wants any more.
func waiting(changes []RuleChange, c RuleChange) []RuleChange {
	kept := slices.DeleteFunc(slices.Clone(changes), func(w RuleChange) bool { return !w.From.Before(c.From) })
	if c.From.IsZero() {
		return nil
	}
	return append(kept, c)
}

// told says that somebody has heard of the alarm as one that goes on.
func (e *episode) told() bool {
	switch e.State {
	case Firing, Recovering, NoData, Failed:
		return true
	}
	return e.Flaps.Flapping
}

// withPrefix are the rows of a store whose keys begin with prefix, in order.
func withPrefix[V any](s *processor.KeyValue[V], prefix string) []string {
	var keys []string
	for key := range s.All() {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// carryOn is called when the rule has been changed and its alarms are the same: what fires goes on firing, what was pending begins anew.
func (t *threshold[V]) carryOn() error {
	var errs []error
	for _, store := range withPrefix(t.states, t.prefix) {
		state, _ := t.states.Get(store)
		if state.Alarm == nil {
			continue
		}
		e := *state.Alarm
		e.Machine = t.rule.machine(e.Machine)
		e.Level = min(e.Level, len(t.levels))
		state.Alarm = &e
		if e.State == Pending {
			e = episode{Machine: e.rest()}
			state.Alarm = &e
		}
		if e.State == Inactive && e.Flaps == (Flaps{}) {
			state.Alarm = nil
		}
		if ends, ok := e.Expires(); ok {
			errs = append(errs, t.c.Schedule(store, t.later(ends)))
		}
		errs = append(errs, t.keep(store, state))
	}
	return errors.Join(errs...)
}

// end is called when the rule is no more: what fires is resolved, the rest forgotten.
func (t *threshold[V]) end(now time.Time, reason string) {
	for _, store := range withPrefix(t.states, t.prefix) {
		state, _ := t.states.Get(store)
		id := t.identified(store)
		for _, h := range state.Held {
			t.emit(id.key, h.Alarm, h.Headers)
		}
		if e := state.Alarm; e != nil && e.told() {
			for len(t.levels) < e.Level { // a rule that cannot be read any more
				t.levels = append(t.levels, Level[V]{})
			}
			over := *e
			over.Machine = e.rest()
			f := finding[V]{id: id, at: now, value: e.Value, sample: e.Sample, reason: reason}
			t.emit(id.key, t.alarm(&f, Resolved, e, &over), nil)
		}
		t.states.Delete(store)
	}
}
