package join_test

import (
	"testing"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor/processortest/scenario"
)

// TestSemantics runs the scenario files of joins: see package scenario.
func TestSemantics(t *testing.T) {
	operators := scenario.Operators() // they may stand around a join, or in it
	operators["stream-stream-join"] = bindStreamStream
	scenario.Run(t, scenario.Suite{Folder: "testdata/semantics", Operators: operators, Owns: scenario.Operator.Joins})
}

// bindStreamStream makes {"join": "inner", "left" or "outer", "left", "right", "before_ms", "after_ms", "grace_ms", "joiner", "unmatched"}, the
// last one "on-close" (the default) or "eager". Left and right may be one topic.
func bindStreamStream(t *scenario.Topology, op scenario.Operator) (scenario.Result, error) {
	var spec struct {
		Kind      string          `json:"kind"`
		Join      string          `json:"join"`
		Left      scenario.Source `json:"left"`
		Right     scenario.Source `json:"right"`
		Before    int64           `json:"before_ms"`
		After     int64           `json:"after_ms"`
		Grace     int64           `json:"grace_ms"`
		Joiner    string          `json:"joiner"`
		Unmatched string          `json:"unmatched"`
	}
	if err := op.Decode(&spec); err != nil {
		return scenario.Result{}, err
	}
	joiner, err := scenario.Joiner(spec.Joiner)
	if err != nil {
		return scenario.Result{}, err
	}
	left, err := t.Values(spec.Left)
	if err != nil {
		return scenario.Result{}, err
	}
	right, err := t.Values(spec.Right)
	if err != nil {
		return scenario.Result{}, err
	}
	w := join.Window{
		Name: t.Name(), Before: scenario.Millis(spec.Before), After: scenario.Millis(spec.After), Grace: scenario.Millis(spec.Grace),
	}
	if w.Emit, err = emit(spec.Join, spec.Unmatched); err != nil {
		return scenario.Result{}, err
	}
	l, r := scenario.WithKeys(t, left), scenario.WithKeys(t, right)
	var out join.Result[scenario.Keyed, scenario.Keyed, string]
	switch spec.Join {
	case "inner":
		out = join.Inner(l, r, w, func(l, r scenario.Keyed) string { return joinedText(joiner, &l, &r) })
	case "left":
		out = join.Left(l, r, w, func(l scenario.Keyed, r *scenario.Keyed) string { return joinedText(joiner, &l, r) })
	case "outer":
		out = join.Outer(l, r, w, func(l, r *scenario.Keyed) string { return joinedText(joiner, l, r) })
	default:
		return scenario.Result{}, scenario.NotApplicable("there is no %s join of streams", spec.Join)
	}
	lateLeft, lateRight := out.Late()
	t.Late(scenario.WithoutKeys(lateLeft))
	t.Late(scenario.WithoutKeys(lateRight))
	return scenario.Pointers(out), nil
}

// emit says when a join speaks of records without a partner.
func emit(verb, unmatched string) (join.Emit, error) {
	switch {
	case unmatched == "" || unmatched == "on-close":
		return join.OnClose, nil
	case unmatched == "eager" && verb == "inner":
		return join.OnClose, nil // it has none to speak of
	case unmatched == "eager":
		return join.OnUpdate, nil
	}
	return join.OnClose, scenario.NotApplicable("unmatched %q is not known", unmatched)
}

// joinedText joins what there is of a pair. What the joiner has no value for is a failed record: a joiner of this package fails by a panic.
func joinedText(joiner func(key string, left, right *string) (string, error), l, r *scenario.Keyed) string {
	var key string
	var left, right *string
	if l != nil {
		key, left = l.Key, &l.Value
	}
	if r != nil {
		key, right = r.Key, &r.Value
	}
	value, err := joiner(key, left, right)
	if err != nil {
		panic(err)
	}
	return value
}
