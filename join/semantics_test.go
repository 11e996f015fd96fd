package join_test

import (
	"testing"
	"time"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest/scenario"
)

// TestSemantics runs the scenario files of joins: see package scenario.
func TestSemantics(t *testing.T) {
	scenario.Run(t, scenario.Suite{
		Folder:    "testdata/semantics",
		Operators: map[string]scenario.Bind{"stream-stream-join": bindStreamStream},
		Owns:      scenario.IsJoin,
	})
}

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
	if spec.Join != "inner" {
		return scenario.Result{}, scenario.NotApplicable("there is no %s join of streams", spec.Join)
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
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	w := join.Window{Name: t.Name(), Before: ms(spec.Before), After: ms(spec.After), Grace: ms(spec.Grace)}
	out := join.Inner(scenario.WithKeys(t, left), right, w, func(l scenario.Keyed, r string) string {
		return mustJoin(joiner(l.Key, &l.Value, &r))
	})
	lateLeft, lateRight := out.Late()
	t.Late(processor.Map(lateLeft, func(l scenario.Keyed) string { return l.Value }))
	t.Late(lateRight)
	return scenario.Pointers(out), nil
}

// mustJoin makes a failed record of a pair for which the joiner has an error: a joiner of this package fails by a panic.
func mustJoin(value string, err error) string {
	if err != nil {
		panic(err)
	}
	return value
}
