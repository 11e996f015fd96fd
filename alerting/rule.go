package alerting

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rossby-streams/rossby/stream"
)

// Rule says when values of a stream are alarming.
//
// When evaluates what: with every sample, at the time of the sample; or, with Every, at each multiple of Every, with the newest
// sample of each key by then, as Prometheus does.
type Rule[V any] struct {
	// Name is the rule's name, unique in the topology: letters, digits, '-' and '_'. State is kept under it. Required.
	Name string
	// Select says which records are samples of the rule. Nil: all.
	Select func(V) bool
	// Value gives the value of a sample. Required, but for rules that count samples or watch for their absence.
	Value func(V) float64
	// Over makes the value that is judged of several samples, an average for instance. The zero Measure: the value itself.
	Over Measure
	// Combine, if set, makes the value of the latest samples of several series of one key, as Ratio does; Series tells them apart.
	// It reports false if there is none. It needs Every, for samples of one time come one after the other.
	Combine func(Latest) (float64, bool)
	Series  func(V) string

	// When, If and Severity are the level of a rule that has one only; Levels are those of a rule with several severities, the worst
	// last. Levels of one rule are one alarm: going from one to another is an update of it. A rule with none of them watches for
	// absence: it needs Lookback and OnNoData.
	When     Condition
	If       func(V) (bool, error)
	Severity string
	Levels   []Level[V]

	// For is how long a breach must last before the alarm fires. Zero: it fires with the first one.
	For time.Duration
	// KeepFiringFor is how long the alarm keeps firing when the breach is over, so that one that comes and goes is one alarm: it is
	// resolved by the first evaluation that is at least that long after the one that cleared it, without a breach between. Zero: at once.
	KeepFiringFor time.Duration
	// MaxDuration resolves an alarm so long after its first breach; it is silent then until the breach is over. Zero: never.
	MaxDuration time.Duration
	// Every is the time between evaluations. Zero: every sample is one.
	Every time.Duration
	// Lookback is how old the newest sample of a key may be: from that age on there is no data. Zero: five minutes for a rule with
	// Every, for ever for others. Only keys that have had a sample can have no data.
	Lookback time.Duration
	// OnNoData says what no data means, OnError what it means when the value is not a finite number or If fails. With KeepLast, the
	// default, an error makes a failed record.
	OnNoData, OnError Policy
	// Flap says when an alarm changes too often to be heard of. The zero Flap: never.
	Flap Flap

	// Labels are passed on in every alarm. By adds labels that a record has; there is one alarm for each rule, key and set of labels.
	Labels map[string]string
	By     func(V) map[string]string
	// Annotations are texts for people, templates of text/template with the fields of TemplateData. They are bounded: see
	// TemplateData. A mistake in one is a mistake of the topology.
	Annotations map[string]string
	// Context gives what the alarm carries of the joined value of the first breach; it is encoded as JSON. It is called for that
	// record only. Nil: the whole value. Text that is not UTF-8 is replaced rather than refused: a log line must not cost an alarm.
	Context func(V) any
}

// defaultLookback is that of Prometheus.
const defaultLookback = 5 * time.Minute

// Validate returns what is wrong with the rule.
func (r *Rule[V]) Validate() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"For", r.For}, {"KeepFiringFor", r.KeepFiringFor}, {"MaxDuration", r.MaxDuration}, {"Every", r.Every}, {"Lookback", r.Lookback},
	} {
		if d.value < 0 {
			return fmt.Errorf("%s must be zero or more, got %v", d.name, d.value)
		}
	}
	if err := errors.Join(r.Flap.Validate(), r.Over.Validate()); err != nil {
		return err
	}
	for _, p := range []Policy{r.OnNoData, r.OnError} {
		if p < KeepLast || p > OwnAlarm {
			return fmt.Errorf("there is no policy %d: use KeepLast, AsOK, AsBreach or OwnAlarm", p)
		}
	}
	switch {
	case r.MaxDuration > 0 && r.MaxDuration <= r.For:
		return fmt.Errorf("MaxDuration %v ends the alarm before it fires: it must be more than For %v", r.MaxDuration, r.For)
	case (r.Combine == nil) != (r.Series == nil) || r.Combine != nil && r.Every == 0:
		return errors.New("the rule has some of Combine, Series and Every, which go together: set all or leave Combine and Series out")
	case r.absence() && (r.Lookback == 0 || r.OnNoData < AsBreach):
		return errors.New("there is no condition: set When, If or Levels; or, to watch for absence, Lookback and OnNoData AsBreach or OwnAlarm")
	case r.Value == nil && !r.absence() && r.Over.kind != measureCount && !r.onlyIf():
		return errors.New("the rule has no Value")
	case len(r.Levels) > 0 && (r.When != Condition{} || r.If != nil || r.Severity != ""):
		return errors.New("the rule has Levels: put When, If and Severity into them")
	}
	return r.validateLevels()
}

func (r *Rule[V]) validateLevels() error {
	seen := make(map[string]bool, len(r.Levels))
	for i := range r.Levels {
		l := &r.Levels[i]
		if err := l.validate(len(r.Levels) > 1); err != nil {
			return err
		}
		if seen[l.Severity] {
			return fmt.Errorf("the severity %q has two levels: one is enough", l.Severity)
		}
		seen[l.Severity] = true
	}
	if len(r.Levels) > 0 || r.absence() {
		return r.validateText()
	}
	l := Level[V]{When: r.When, If: r.If}
	return errors.Join(l.validate(false), r.validateText())
}

func (r *Rule[V]) validateText() error {
	probe := Alarm{Severity: r.Severity, Labels: maps.Clone(r.Labels), Annotations: r.Annotations}
	for i := range r.Levels {
		probe.Severity += r.Levels[i].Severity
	}
	if _, err := stream.JSON[Alarm]().Encode(probe); err != nil {
		return fmt.Errorf("the texts of Severity, Labels and Annotations must be UTF-8: %w", err)
	}
	return nil
}

// absence says that the rule has no level and watches for samples that do not come.
func (r *Rule[V]) absence() bool {
	return r.When == (Condition{}) && r.If == nil && len(r.Levels) == 0
}

// onlyIf says that no level of the rule looks at the value.
func (r *Rule[V]) onlyIf() bool {
	return r.When == (Condition{}) && !slices.ContainsFunc(r.Levels, func(l Level[V]) bool { return l.When != Condition{} })
}

// timed says that the rule is evaluated at times of its own, and not with the samples.
func (r *Rule[V]) timed() bool { return r.Every > 0 }

// lookback is Lookback with its default.
func (r *Rule[V]) lookback() time.Duration {
	if r.Lookback == 0 && r.timed() {
		return defaultLookback
	}
	return r.Lookback
}

// levels are Levels, or the one that stands in the rule itself.
func (r *Rule[V]) levels() levels[V] {
	switch {
	case len(r.Levels) > 0:
		return slices.Clone(levels[V](r.Levels))
	case r.absence():
		never := func(V) (bool, error) { return false, nil }
		return levels[V]{{Severity: r.Severity, If: never}}
	}
	return levels[V]{{Severity: r.Severity, When: r.When, If: r.If}}
}

// valueOf is the value of a sample; of a rule that watches for absence the silence, which it ends.
func (r *Rule[V]) valueOf(v V) float64 {
	if r.Value == nil || r.When.direction == 0 && r.absence() {
		return 0
	}
	return r.Value(v)
}

// machine is the part of a machine that the rule gives.
func (r *Rule[V]) machine(m Machine) Machine {
	m.For, m.KeepFiringFor, m.MaxDuration = r.For, r.KeepFiringFor, r.MaxDuration
	m.OnNoData, m.OnError, m.Flap = r.OnNoData, r.OnError, r.Flap
	return m
}
