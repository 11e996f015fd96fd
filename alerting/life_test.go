package alerting_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/alerting"
)

const (
	ok       = alerting.Inactive
	pending  = alerting.Pending
	firing   = alerting.Firing
	resolved = alerting.Resolved
)

var missing, errored = alerting.Outcome{Kind: alerting.Missing, Level: 2}, alerting.Outcome{Kind: alerting.Errored, Level: 2}

func level(n int) alerting.Outcome { return alerting.Outcome{Level: n} }

// live steps a machine with one outcome a minute and returns what people hear.
func live(m *alerting.Machine, outcomes ...alerting.Outcome) []alerting.State {
	heard := make([]alerting.State, len(outcomes))
	for i, o := range outcomes {
		heard[i] = m.Judge(at(i*60), o)
	}
	return heard
}

func TestLevelsOfOneAlarmAreUpdates(t *testing.T) {
	m := &alerting.Machine{For: time.Minute, KeepFiringFor: time.Minute}
	require.Equal(t, []alerting.State{pending, firing, firing, ok, firing, ok, firing, ok, resolved},
		live(m, level(1), level(1), level(2), level(2), level(1), level(0), level(2), level(0), level(0))) // the update of the level comes with the breach; recovering is silent
}

func TestPolicies(t *testing.T) {
	for name, c := range map[string]struct {
		machine alerting.Machine
		in      []alerting.Outcome
		want    []alerting.State
	}{
		"keep last":         {alerting.Machine{}, []alerting.Outcome{missing, level(1), missing, errored, level(0)}, []alerting.State{ok, firing, ok, ok, resolved}},
		"as ok":             {alerting.Machine{OnNoData: alerting.AsOK}, []alerting.Outcome{level(1), missing, missing}, []alerting.State{firing, resolved, ok}},
		"as ok, keeps":      {alerting.Machine{OnNoData: alerting.AsOK, KeepFiringFor: time.Minute}, []alerting.Outcome{level(1), missing, missing}, []alerting.State{firing, ok, resolved}},
		"as breach":         {alerting.Machine{OnError: alerting.AsBreach}, []alerting.Outcome{errored, level(0), level(1), errored}, []alerting.State{firing, resolved, firing, ok}},
		"as breach, for":    {alerting.Machine{OnNoData: alerting.AsBreach, For: time.Minute}, []alerting.Outcome{missing, missing}, []alerting.State{pending, firing}},
		"own":               {alerting.Machine{OnNoData: alerting.OwnAlarm}, []alerting.Outcome{missing, missing, level(0)}, []alerting.State{alerting.NoData, ok, resolved}},
		"own, from pending": {alerting.Machine{OnNoData: alerting.OwnAlarm, For: time.Minute}, []alerting.Outcome{level(1), missing, level(1), level(1)}, []alerting.State{pending, alerting.NoData, pending, firing}},
		"own, from firing":  {alerting.Machine{OnNoData: alerting.OwnAlarm, OnError: alerting.OwnAlarm}, []alerting.Outcome{level(1), missing, errored, level(1), level(0)}, []alerting.State{firing, alerting.NoData, alerting.Failed, firing, resolved}},
		"expired stays":     {alerting.Machine{OnNoData: alerting.OwnAlarm, MaxDuration: time.Minute}, []alerting.Outcome{level(1), level(1), missing, level(1), level(0), level(1)}, []alerting.State{firing, resolved, ok, ok, ok, firing}},
	} {
		require.Equal(t, c.want, live(&c.machine, c.in...), name)
	}
}

func TestMaxDuration(t *testing.T) {
	m := &alerting.Machine{For: time.Minute, MaxDuration: 3 * time.Minute}
	require.Equal(t, []alerting.State{pending, firing, ok, resolved, ok, ok, pending},
		live(m, level(1), level(1), level(1), level(1), level(1), level(0), level(1)))
	m = &alerting.Machine{MaxDuration: 3 * time.Minute}
	require.Equal(t, firing, m.Judge(at(0), level(1)))
	ends, lasts := m.Expires()
	require.True(t, lasts)
	require.Equal(t, at(180), ends)
	require.Equal(t, ok, m.Expire(at(179)))
	require.Equal(t, resolved, m.Expire(at(180)))
	require.Equal(t, alerting.Expired, m.State)
}

// TestFlapFormula: the first and the last of Nagios' weights, and the sum of all.
func TestFlapFormula(t *testing.T) {
	percent := func(changes uint32) float64 { f := alerting.Flaps{Changes: changes}; return f.Percent() }
	require.InDelta(t, 1.25*5, percent(1), 1e-9)
	require.InDelta(t, 0.75*5, percent(1<<19), 1e-9)
	require.InDelta(t, 100, percent(1<<20-1), 1e-9)
	// Nagios' documentation: seven changes in 21 checks are about 35 percent.
	require.InDelta(t, 35, percent(0b01001001001001001001), 2)
}

func TestFlappingIsSaidOnce(t *testing.T) {
	m := &alerting.Machine{Flap: alerting.Flap{High: 30, Low: 20}}
	var heard []alerting.State
	for i := range 12 { // up and down: the sixth change makes it 30 percent or more
		if s := m.Judge(at(i*60), level(1-i%2)); s != ok {
			heard = append(heard, s)
		}
	}
	require.Equal(t, []alerting.State{firing, resolved, firing, resolved, firing, alerting.Flapping}, heard)
	require.Equal(t, at(240), m.Flaps.Since)
	heard = nil
	for i := 12; i < 40; i++ {
		if s := m.Judge(at(i*60), level(0)); s != ok {
			heard = append(heard, s)
		}
	}
	require.Equal(t, []alerting.State{resolved}, heard)
	require.Zero(t, m.Flaps.Changes)
	require.Error(t, alerting.Flap{High: 10, Low: 20}.Validate())
}

// TestWhatPeopleHearAddsUp: whatever comes, what was said last tells whether there is an alarm.
func TestWhatPeopleHearAddsUp(t *testing.T) {
	duration := rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.IntRange(0, 4).Draw(t, "minutes")) * time.Minute
	})
	policy := rapid.Custom(func(t *rapid.T) alerting.Policy { return alerting.Policy(rapid.IntRange(0, 3).Draw(t, "policy")) })
	rapid.Check(t, func(t *rapid.T) {
		m := alerting.Machine{
			For: duration.Draw(t, "for"), KeepFiringFor: duration.Draw(t, "keep"), OnNoData: policy.Draw(t, "nodata"), OnError: policy.Draw(t, "error"),
		}
		if d := duration.Draw(t, "max"); d > m.For {
			m.MaxDuration = d
		}
		if rapid.Bool().Draw(t, "flap") {
			m.Flap = alerting.Flap{High: 30, Low: 20}
		}
		said, now := ok, 0
		for range 60 {
			now += rapid.IntRange(1, 120).Draw(t, "gap")
			o := alerting.Outcome{Kind: alerting.Kind(rapid.IntRange(0, 2).Draw(t, "kind")), Level: rapid.IntRange(0, 2).Draw(t, "level")}
			if o.Kind != alerting.Judged {
				o.Level = 2
			}
			if m.State == alerting.Firing && o.Level == m.Level {
				o.Held = rapid.Bool().Draw(t, "held")
			}
			if s := m.Judge(at(now), o); s != ok {
				if s == resolved {
					require.NotContains(t, []alerting.State{ok, resolved, pending}, said)
				}
				said = s
			}
			want := []alerting.State{m.State}
			switch {
			case m.Flaps.Flapping:
				want = []alerting.State{alerting.Flapping}
				if m.State == pending {
					want = append(want, pending)
				}
			case m.State == ok:
				want = []alerting.State{ok, resolved, pending} // what was pending vanishes without a word
			case m.State == alerting.Recovering:
				want = []alerting.State{firing}
			case m.State == alerting.Expired:
				want = []alerting.State{resolved}
			}
			require.Contains(t, want, said)
			require.Equal(t, m.State == ok || m.State == alerting.Expired, m.Since.IsZero())
		}
	})
}
