package alerting_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/alerting"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func at(seconds int) time.Time { return time.Unix(1_700_000_000+int64(seconds), 0).UTC() }

// run steps a machine with one sample every step seconds and returns the change after each.
func run(when alerting.Condition, hold time.Duration, step int, values ...float64) []alerting.State {
	m := alerting.Machine{For: hold}
	changes := make([]alerting.State, len(values))
	for i, v := range values {
		changes[i] = m.Judge(at(i*step), outcome(when, v))
	}
	return changes
}

// outcome is what a condition finds.
func outcome(when alerting.Condition, v float64) alerting.Outcome {
	switch {
	case when.Breached(v):
		return alerting.Outcome{Level: 1}
	case when.Cleared(v):
		return alerting.Outcome{}
	}
	return alerting.Outcome{Held: true, Level: 1}
}

// TestTimingIsThatOfPrometheus: for 0 fires in the first evaluation, 3m with an evaluation a minute at exactly +3m, 2m30s at +3m.
func TestTimingIsThatOfPrometheus(t *testing.T) {
	const none, p, f, r = alerting.Inactive, alerting.Pending, alerting.Firing, alerting.Resolved
	above := alerting.Above(80)
	for name, c := range map[string]struct {
		hold   time.Duration
		values []float64
		want   []alerting.State
	}{
		"for 0":                       {0, []float64{90, 90, 80}, []alerting.State{f, none, r}},
		"for 3m":                      {3 * time.Minute, []float64{90, 90, 90, 90, 90}, []alerting.State{p, none, none, f, none}},
		"for 2m30s":                   {150 * time.Second, []float64{90, 90, 90, 90}, []alerting.State{p, none, none, f}},
		"pending clears silently":     {3 * time.Minute, []float64{90, 90, 70, 90}, []alerting.State{p, none, none, p}},
		"the threshold is no breach":  {0, []float64{80, 80.001, 80}, []alerting.State{none, f, r}},
		"resolved and back":           {time.Minute, []float64{90, 90, 10, 90, 90}, []alerting.State{p, f, r, p, f}},
		"a gap counts as time passed": {2 * time.Minute, []float64{90, 90, 90}, []alerting.State{p, none, f}},
	} {
		require.Equal(t, c.want, run(above, c.hold, 60, c.values...), name)
	}
}

// TestKeepFiringForIsThatOfPrometheus: 1m with an evaluation a minute gives exactly one extra firing evaluation.
func TestKeepFiringForIsThatOfPrometheus(t *testing.T) {
	const none, f, r = alerting.Inactive, alerting.Firing, alerting.Resolved
	for name, c := range map[string]struct {
		keep   time.Duration
		values []float64
		want   []alerting.State
	}{
		"1m":                        {time.Minute, []float64{90, 70, 70, 70}, []alerting.State{f, none, r, none}},
		"2m30s":                     {150 * time.Second, []float64{90, 70, 70, 70, 70}, []alerting.State{f, none, none, none, r}},
		"a breach starts it again":  {2 * time.Minute, []float64{90, 70, 70, 90, 70, 70, 70}, []alerting.State{f, none, none, none, none, none, r}},
		"the same alarm afterwards": {time.Hour, []float64{90, 70, 90, 70, 90}, []alerting.State{f, none, none, none, none}},
	} {
		m := alerting.Machine{KeepFiringFor: c.keep}
		for i, v := range c.values {
			require.Equal(t, c.want[i], m.Judge(at(i*60), outcome(alerting.Above(80), v)), "%s, sample %d", name, i)
			if m.State == f || m.State == alerting.Recovering {
				require.Equal(t, at(0), m.Since, name)
			}
		}
	}
}

func TestHysteresis(t *testing.T) {
	const none, f, r = alerting.Inactive, alerting.Firing, alerting.Resolved
	require.Equal(t, []alerting.State{none, f, none, none, none, r, none, f},
		run(alerting.Above(80).ClearAt(70), 0, 1, 75, 81, 79, 70.5, 85, 70, 75, 81))
	require.Equal(t, []alerting.State{none, f, none, r},
		run(alerting.Below(10).ClearAt(20), 0, 1, 15, 9, 19, 20))
}

func TestConditionsThatMakeNoSense(t *testing.T) {
	for _, c := range []alerting.Condition{
		{}, alerting.Above(80).ClearAt(81), alerting.Below(10).ClearAt(9), alerting.Above(math.NaN()), alerting.Above(1).ClearAt(math.Inf(-1)),
	} {
		require.Error(t, c.Validate())
	}
	require.NoError(t, alerting.Above(80).ClearAt(80).Validate())
}

// TestMachineEqualsItsDefinition compares every step with a judgement of the whole history.
func TestMachineEqualsItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const threshold, clear = 10.0, 6.0
		when := alerting.Above(threshold).ClearAt(clear)
		hold := time.Duration(rapid.IntRange(0, 5).Draw(t, "hold")) * time.Second
		values := rapid.SliceOfN(rapid.Float64Range(0, 15), 1, 40).Draw(t, "values")
		times := make([]int, len(values))
		now := 0
		for i := range times {
			now += rapid.IntRange(1, 3).Draw(t, "gap")
			times[i] = now
		}
		keep := time.Duration(rapid.IntRange(0, 5).Draw(t, "keep")) * time.Second
		m := alerting.Machine{For: hold, KeepFiringFor: keep}
		for i := range values {
			change := m.Judge(at(times[i]), outcome(when, values[i]))
			state, since := judge(times[:i+1], values[:i+1], limits{threshold, clear, hold, keep})
			before, _ := judge(times[:i], values[:i], limits{threshold, clear, hold, keep})
			if m.State == alerting.Recovering {
				require.Equal(t, alerting.Firing, state)
			} else {
				require.Equal(t, state, m.State)
			}
			if state != alerting.Inactive {
				require.Equal(t, at(since), m.Since)
			}
			want := alerting.Inactive
			if state != before {
				want = state
				if before == alerting.Firing {
					want = alerting.Resolved
				} else if state == alerting.Inactive {
					want = alerting.Inactive
				}
			}
			require.Equal(t, want, change)
		}
	})
}

type limits struct {
	threshold, clear float64
	hold, keep       time.Duration
}

// judge says from the whole history what state an alarm is in after its last sample.
func judge(times []int, values []float64, l limits) (alerting.State, int) {
	seconds := func(from, to int) time.Duration { return time.Duration(times[to]-times[from]) * time.Second }
	first, calm, fired := -1, -1, false // the breach that the alarm in hand began with, where it was over, whether it has fired
	for i, v := range values {
		switch {
		case first < 0 && v > l.threshold:
			first = i
		case first >= 0 && v > l.threshold:
			calm = -1
		case first >= 0 && v <= l.clear && calm < 0:
			calm = i
		}
		if first < 0 {
			continue
		}
		fired = fired || v > l.clear && seconds(first, i) >= l.hold
		if v <= l.clear && (!fired || seconds(calm, i) >= l.keep) {
			first, calm, fired = -1, -1, false
		}
	}
	switch {
	case first < 0:
		return alerting.Inactive, 0
	case fired:
		return alerting.Firing, times[first]
	}
	return alerting.Pending, times[first]
}
