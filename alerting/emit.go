package alerting

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// alarm is what a change is told as; before is the alarm as it was, e as it is now.
func (t *threshold[V]) alarm(f *finding[V], change State, before, e *episode) Alarm {
	since, level := e.Since, e.Level
	switch {
	case change == Flapping:
		since = e.Flaps.Since
	case change == Resolved && before.Flaps.Flapping:
		since = before.Flaps.Since
	case change == Resolved:
		since = before.Since
	}
	if level == 0 {
		level = before.Level
	}
	if level == 0 {
		level = len(t.levels)
	}
	a := Alarm{
		Rule: t.rule.Name, Key: strings.ToValidUTF8(f.id.key, "\uFFFD"), State: change, Severity: t.levels[level-1].Severity,
		Value: f.value, Threshold: t.levels[level-1].When.Threshold(), Since: since, At: f.at, Labels: f.id.labels, Reason: f.reason,
		Peak: e.Peak, Context: e.Context,
	}
	if t.rule.absence() {
		a.Threshold = t.rule.lookback().Seconds()
	}
	if t.history.measure.kind != measureNone || t.rule.Combine != nil {
		a.Sample = f.sample
	}
	if f.outcome.Kind != Judged && !t.rule.absence() {
		a.Value = e.Value
	}
	if change == Flapping {
		a.Reason = fmt.Sprintf("it has changed too often: %.0f percent", e.Flaps.Percent())
	}
	if a.Context == nil {
		a.Context = []byte("null")
	}
	return a
}

// emit hands an alarm on, with its annotations. headers are those of the record that it speaks of; without any it has the trace context of
// the record that has moved time so far, if one has.
func (t *threshold[V]) emit(key string, a Alarm, headers stream.Headers) {
	a.Annotations = t.texts.fill(&a)
	if headers == nil {
		headers = t.c.Trace()
	}
	t.c.Forward(processor.Record[Alarm]{Key: key, Value: a, Time: a.At, Headers: headers})
}

// context encodes what the alarm carries. Maps are written in a fixed order, so that equal contexts have equal bytes.
func (t *threshold[V]) context(v V) ([]byte, error) {
	data, err := t.rule.encodeContext(v)
	if err != nil {
		return nil, fmt.Errorf("rule %s: encode the context: %w", t.rule.Name, err)
	}
	return data, nil
}

func (r *Rule[V]) encodeContext(v V) ([]byte, error) {
	var value any = v
	if r.Context != nil {
		value = r.Context(v)
	}
	return json.Marshal(value, json.Deterministic(true), jsonv1.FormatDurationAsNano(true), jsonv1.OmitEmptyWithLegacySemantics(true), jsontext.AllowInvalidUTF8(true))
}
