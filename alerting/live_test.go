package alerting_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// ruleText is a rule as these tests write it.
type ruleText struct {
	Above  float64
	For    int // seconds
	Max    int
	Avg    int
	Every  int
	Team   string
	Series string
	Fail   string // what Read says
}

// reader reads rules; those that say so it reads no more once broken is set.
func reader(broken *bool) func(name, text string) (alerting.Loaded[metric], error) {
	return func(name, text string) (alerting.Loaded[metric], error) {
		var r ruleText
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return alerting.Loaded[metric]{}, err
		}
		if r.Fail == "panic" {
			panic("no such field")
		}
		if r.Fail != "" && (r.Fail != "later" || *broken) {
			return alerting.Loaded[metric]{}, errors.New(r.Fail)
		}
		rule := alerting.Rule[metric]{
			Name: name, Value: func(m metric) float64 { return m.CPU }, When: alerting.Above(r.Above),
			For: time.Duration(r.For) * time.Second, MaxDuration: time.Duration(r.Max) * time.Second, Every: time.Duration(r.Every) * time.Second,
		}
		if r.Avg > 0 {
			rule.Over = alerting.Avg(time.Duration(r.Avg) * time.Second)
		}
		if r.Team != "" {
			rule.Labels = map[string]string{"team": r.Team}
		}
		l := alerting.Loaded[metric]{Rule: rule, Basis: fmt.Sprint(r.Avg, r.Every, r.Team)}
		if r.Series != "" {
			l.Series = []string{r.Series}
		}
		return l, nil
	}
}

var (
	changes = alerting.RuleChanges("rules", 1)
	loads   = stream.Topic[metric]{Name: "loads", Time: func(m metric) time.Time { return m.At }}
)

func load(d *processortest.Driver, key string, seconds int, cpu float64) {
	processortest.Pipe(d, loads, processor.Record[metric]{Key: key, Value: metric{cpu, at(seconds)}})
}

// liveRules is a topology of rules that change. The series of a sample is cpu if it is at or above 0, else cold.
func liveRules(t testing.TB, broken *bool) *processortest.Driver {
	t.Helper()
	b := processor.NewBuilder("live")
	alerting.ThresholdLive(processor.From(b, loads), alerting.Live[metric]{
		Name: "rules", Changes: processor.From(b, changes), Read: reader(broken), Series: func(m metric) string {
			if m.CPU < 0 {
				return "cold"
			}
			return "cpu"
		},
	}).To(alarms)
	topology, err := b.Build()
	require.NoError(t, err)
	return processortest.New(t, topology)
}

func rule(d *processortest.Driver, name string, revision uint64, text string, from ...time.Time) {
	c := alerting.RuleChange{Name: name, Version: alerting.Version{Epoch: 1, Revision: revision}, Text: text}
	if len(from) > 0 {
		c.From = from[0]
	}
	processortest.Pipe(d, changes, processor.Record[alerting.RuleChange]{Key: name, Value: c})
}

// heard are the alarms since the last call, as "rule key state second".
func heard(d *processortest.Driver) []string {
	var all []string
	for _, r := range processortest.Read(d, alarms) {
		text := fmt.Sprintf("%s %s %s %d", r.Value.Rule, r.Key, r.Value.State, r.Value.At.Unix()-at(0).Unix())
		if r.Value.Reason != "" {
			text += " (" + r.Value.Reason + ")"
		}
		all = append(all, text)
	}
	return all
}

func TestOnlyWhatChangesBeginsAnew(t *testing.T) {
	for name, crash := range map[string]func(*processortest.Driver){"straight": func(*processortest.Driver) {}, "crashes": (*processortest.Driver).Crash} {
		t.Run(name, func(t *testing.T) {
			d := liveRules(t, new(bool))
			rule(d, "A", 1, `{"above":80,"for":30}`)
			rule(d, "B", 2, `{"above":80,"for":30}`)
			rule(d, "C", 3, `{"above":80}`)
			crash(d)
			load(d, "h", 0, 90)
			require.Equal(t, []string{"A h pending 0", "B h pending 0", "C h firing 0"}, heard(d))
			crash(d)
			load(d, "h", 20, 90)
			rule(d, "A", 4, `{"above":70,"for":30}`)
			rule(d, "C", 5, `{"above":85}`) // it goes on firing
			crash(d)
			load(d, "h", 30, 90)
			require.Equal(t, []string{"A h pending 30", "B h firing 30"}, heard(d))
			crash(d)
			load(d, "h", 60, 84)
			require.Equal(t, []string{"A h firing 60", "C h resolved 60"}, heard(d))
			rule(d, "A", 6, `{"above":70,"for":30,"team":"web"}`) // another identity
			crash(d)
			require.Equal(t, []string{"A h resolved 60 (the rule was changed)"}, heard(d))
			rule(d, "B", 7, "")
			crash(d)
			require.Equal(t, []string{"B h resolved 60 (the rule was removed)"}, heard(d))
			rule(d, "B", 2, `{"above":0}`) // an old one, come late
			load(d, "h", 70, 90)
			crash(d)
			load(d, "h", 99, 90)
			require.Equal(t, []string{"A h pending 70", "C h firing 70"}, heard(d))
			require.NoError(t, d.Err())
			require.Empty(t, d.DeadLetters())
		})
	}
}

func TestBadRulesAreRefusedAndTheOldOnesStay(t *testing.T) {
	d := liveRules(t, new(bool))
	rule(d, "A", 1, `{"above":80}`)
	for i, bad := range []string{`{`, `{"fail":"no"}`, `{"fail":"panic"}`, `{"above":80,"avg":90000}`, `{"above":80,"for":-1}`} {
		rule(d, "A", uint64(2+i), bad)
	}
	letters := d.DeadLetters()
	require.Len(t, letters, 5)
	for i, want := range []string{"unexpected end", "no", "panic: no such field", "looks back at 25h", "For must be zero or more"} {
		text := letters[i].Headers.Get(processor.DeadError)
		require.Contains(t, text, want)
		require.Contains(t, text, "rule A, revision")
		require.Contains(t, text, "the one before stays in force")
	}
	d.Crash()
	load(d, "h", 0, 90)
	require.Equal(t, []string{"A h firing 0"}, heard(d))
}

func TestARuleThatFailsCostsTheOthersNothing(t *testing.T) {
	d := liveRules(t, new(bool))
	rule(d, "A", 1, `{"above":80}`)
	rule(d, "B", 1, `{"above":80,"series":"cold"}`)
	rule(d, "C", 1, `{"above":-5,"series":"cold","avg":10}`)
	load(d, "h", 0, 90)
	load(d, "h", 1, -1) // the one that looks at cold only
	require.Equal(t, []string{"A h firing 0", "A h resolved 1", "C h firing 1"}, heard(d))
	require.Empty(t, d.DeadLetters())
}

// TestAReplayChangesRulesWhereLifeDid: with a time, a change holds from then on whatever the order in which things come.
func TestAReplayChangesRulesWhereLifeDid(t *testing.T) {
	samples := func(d *processortest.Driver, from, to int) {
		for i := from; i < to; i++ {
			load(d, "h", i*10, float64(60+10*(i%4))) // 60 70 80 90
		}
	}
	change := func(d *processortest.Driver, i int) {
		switch i {
		case 0:
			rule(d, "A", 1, `{"above":85}`, at(0))
		case 1:
			rule(d, "A", 2, `{"above":65}`, at(80))
		case 2:
			rule(d, "A", 3, "", at(160))
		}
	}
	life := liveRules(t, new(bool))
	for i := range 3 {
		change(life, i)
		life.Crash()
		samples(life, i*8, i*8+8)
	}
	want := heard(life)
	require.Equal(t, []string{
		"A h firing 30", "A h resolved 40", "A h firing 70", "A h resolved 80", // by 85
		"A h firing 90", "A h resolved 120", "A h firing 130", "A h resolved 160 (the rule was removed)", // by 65
	}, want)
	replay := liveRules(t, new(bool))
	for i := range 3 {
		change(replay, i)
	}
	samples(replay, 0, 24)
	require.Equal(t, want, heard(replay))
	overtaken := liveRules(t, new(bool))
	rule(overtaken, "A", 1, `{"above":85}`)
	rule(overtaken, "A", 2, `{"above":65}`, at(80))
	rule(overtaken, "A", 3, `{"above":95}`) // at once: the one before is not wanted any more
	samples(overtaken, 0, 24)
	require.Empty(t, heard(overtaken))
}

func TestARuleThatCannotBeReadAnyMoreIsAnAlarm(t *testing.T) {
	broken := false
	d := liveRules(t, &broken)
	rule(d, "A", 1, `{"above":80,"fail":"later"}`)
	rule(d, "B", 1, `{"above":80}`)
	load(d, "h", 0, 90)
	require.Equal(t, []string{"A h firing 0", "B h firing 0"}, heard(d))
	broken = true
	d.Crash()
	load(d, "h", 1, 90)
	d.Crash()
	load(d, "h", 2, 10)
	require.Equal(t, []string{"A  error 1 (the rule cannot be read any more: later)", "B h resolved 2"}, heard(d))
	rule(d, "A", 2, `{"above":80}`)
	require.ElementsMatch(t, []string{"A h resolved 2 (the rule was changed)", "A  resolved 2 (the rule can be read again)"}, heard(d))
	require.NoError(t, d.Err())
}

// TestChangedTimedRules: evaluations at intervals go on, and those of a rule that is gone do not.
func TestChangedTimedRules(t *testing.T) {
	d := liveRules(t, new(bool))
	rule(d, "A", 1, `{"above":80,"every":10,"avg":20}`)
	rule(d, "B", 1, `{"above":80,"every":10}`)
	load(d, "h", 0, 90)
	load(d, "h", 5, 90)
	rule(d, "A", 2, `{"above":85,"every":10,"avg":20}`)
	rule(d, "B", 2, "")
	d.Crash()
	load(d, "h", 11, 90)
	load(d, "h", 15, 10)
	load(d, "h", 31, 10)
	require.Equal(t, []string{"A h firing 0", "B h firing 0", "B h resolved 5 (the rule was removed)", "A h resolved 20"}, heard(d))
	require.True(t, alerting.Remembers(d, "rules", "A", alerting.Version{Epoch: 1, Revision: 1}, "h"))
	require.False(t, alerting.Remembers(d, "rules", "B", alerting.Version{Epoch: 1, Revision: 1}, "h"))
}

// TestRulesLeaveNothingBehind: rules that come and go do not add up.
func TestRulesLeaveNothingBehind(t *testing.T) {
	d := liveRules(t, new(bool))
	for i := range 20 {
		rule(d, "A", uint64(2*i+1), fmt.Sprintf(`{"above":80,"every":1,"avg":%d}`, i%3+1))
		for s := range 5 {
			load(d, "h", i*10+s, 90)
		}
		require.True(t, alerting.Remembers(d, "rules", "A", alerting.Version{Epoch: 1, Revision: uint64(2*i + 1)}, "h"))
		rule(d, "A", uint64(2*i+2), "")
	}
	load(d, "h", 90_000, 1)
	for i := range 41 {
		require.False(t, alerting.Remembers(d, "rules", "A", alerting.Version{Epoch: 1, Revision: uint64(i)}, "h"))
	}
}

func TestMistakesOfLiveRules(t *testing.T) {
	b := processor.NewBuilder("live")
	in := processor.From(b, loads)
	alerting.ThresholdLive(in, alerting.Live[metric]{Name: "a", Changes: processor.From(b, changes)}).To(alarms)
	_, err := b.Build()
	require.ErrorContains(t, err, "there is no Read")
	b = processor.NewBuilder("live")
	alerting.ThresholdLive(processor.From(b, loads), alerting.Live[metric]{Name: "a", Read: reader(new(bool)), MaxWindow: -1}).To(alarms)
	_, err = b.Build()
	require.ErrorContains(t, err, "Changes is a zero Stream")
}

// TestLiveRulesSayWhatFixedOnesSay: the same rules, fixed in the topology and as changes, say the same of the same samples, with crashes too.
func TestLiveRulesSayWhatFixedOnesSay(t *testing.T) {
	texts := map[string]string{
		"A": `{"above":80}`, "B": `{"above":60,"for":20}`, "C": `{"above":50,"avg":30}`, "D": `{"above":70,"every":10,"max":60}`, "E": `{"above":40,"avg":20,"every":15,"team":"t"}`,
	}
	fixed := func() *processortest.Driver {
		b := processor.NewBuilder("fixed")
		in := processor.From(b, loads)
		for name, text := range texts {
			l, err := reader(new(bool))(name, text)
			require.NoError(t, err)
			alerting.Threshold(in, l.Rule).To(alarms)
		}
		topology, err := b.Build()
		require.NoError(t, err)
		return processortest.New(t, topology)
	}
	rapid.Check(t, func(rt *rapid.T) {
		one, other := fixed(), liveRules(t, new(bool))
		for name, text := range texts {
			rule(other, name, 1, text)
		}
		at, crashAt := 0, rapid.IntRange(3, 20).Draw(rt, "crash at")
		for i := range rapid.IntRange(1, 30).Draw(rt, "samples") {
			at += rapid.IntRange(0, 25).Draw(rt, "step")
			key, cpu := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "key"), float64(rapid.IntRange(0, 100).Draw(rt, "cpu"))
			load(one, key, at, cpu)
			load(other, key, at, cpu)
			if i%crashAt == 0 {
				other.Crash()
			}
		}
		for _, d := range []*processortest.Driver{one, other} {
			load(d, "end", at+1000, 0)
			require.NoError(rt, d.Err())
			require.Empty(rt, d.DeadLetters())
		}
		require.ElementsMatch(rt, heard(one), heard(other))
	})
}
