package alerting

import (
	"fmt"
	"math"
)

// Level is one severity of a rule: what a breach of that severity is.
type Level[V any] struct {
	// Severity is its name. Required where a rule has several levels.
	Severity string
	// When is the condition on the value. It may be the zero Condition where If is set.
	When Condition
	// If must hold besides: a breach is a value beyond the threshold and If. When it holds no more, the breach is over. An error is
	// an outcome of its own: see Rule.OnError. Nil: nothing besides.
	If func(V) (bool, error)
	// Until, if set, says alone when the breach is over; in between everything stays as it is.
	Until func(V) (bool, error)
}

func (l *Level[V]) validate(several bool) error {
	switch {
	case several && l.Severity == "":
		return fmt.Errorf("a level has no Severity: name each of several")
	case l.When == (Condition{}) && l.If == nil:
		return l.When.Validate()
	case l.When == (Condition{}):
		return nil
	}
	return l.When.Validate()
}

// breached says whether the level is breached.
func (l *Level[V]) breached(value float64, v V) (bool, error) {
	if l.When.direction != 0 && !l.When.Breached(value) {
		return false, nil
	}
	if l.If == nil {
		return true, nil
	}
	return l.If(v)
}

// cleared says whether what the level began is over.
func (l *Level[V]) cleared(value float64, v V) (bool, error) {
	switch {
	case l.Until != nil:
		return l.Until(v)
	case l.When.direction != 0 && l.When.Cleared(value):
		return true, nil
	case l.If == nil:
		return false, nil
	}
	holds, err := l.If(v)
	return !holds, err
}

// levels are those of a rule, the worst last.
type levels[V any] []Level[V]

// outcome judges a value while the alarm is at the level current, 0 for none. As in Kapacitor, the highest level that is breached
// counts; without one above the current, that stays until it is cleared, and what is left then is the highest breached below it.
func (ls levels[V]) outcome(current int, value float64, v V) (Outcome, error) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return Outcome{Kind: Errored, Level: len(ls)}, fmt.Errorf("the value %v is not a finite number", value)
	}
	for l := len(ls); l > 0; l-- {
		level := &ls[l-1]
		holds, err := level.breached(value, v)
		if err != nil || holds {
			return ls.outcomeOf(l, false, err), err
		}
		if l != current {
			continue
		}
		over, err := level.cleared(value, v)
		if err != nil || !over {
			return ls.outcomeOf(l, true, err), err
		}
	}
	return Outcome{}, nil
}

func (ls levels[V]) outcomeOf(level int, held bool, err error) Outcome {
	if err != nil {
		return Outcome{Kind: Errored, Level: len(ls)}
	}
	return Outcome{Level: level, Held: held}
}
