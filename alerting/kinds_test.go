package alerting_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// reading is a sample of some series of a host.
type reading struct {
	Name  string    `json:"name"`
	Disk  string    `json:"disk"`
	Value float64   `json:"value"`
	Bad   bool      `json:"bad"` // has a value that is no number
	At    time.Time `json:"at"`
}

// kind is a story of one rule: what comes, and what is said of it.
type kind struct {
	rule  alerting.Rule[reading]
	in    []processor.Record[reading]
	until int // seconds; stream time is moved there at the end
	want  string
	dead  int
	shift int // seconds that all of it is later: evaluations are at round times
}

func read(key, name string, second int, value float64) processor.Record[reading] {
	return processor.Record[reading]{Key: key, Value: reading{Name: name, Value: value, At: at(second)}}
}

// every gives samples of one series of the key a.
func every(step int, values ...float64) []processor.Record[reading] {
	list := make([]processor.Record[reading], len(values))
	for i, v := range values {
		list[i] = read("a", "m", i*step, v)
	}
	return list
}

func bad(r processor.Record[reading]) processor.Record[reading] {
	r.Value.Bad = true
	return r
}

func on(disk string, r processor.Record[reading]) processor.Record[reading] {
	r.Value.Disk = disk
	return r
}

// tell runs a story straight, and with a crash after every record.
func (k kind) tell(t *testing.T) {
	t.Helper()
	k.rule.Name = "R"
	if k.rule.Value == nil {
		k.rule.Value = func(r reading) float64 {
			if r.Bad {
				return math.NaN()
			}
			return r.Value
		}
	}
	for _, crash := range []bool{false, true} {
		topic := stream.Topic[reading]{Name: "readings", Time: func(r reading) time.Time { return r.At }}
		out := stream.Topic[alerting.Alarm]{Name: "alarms"}
		b := processor.NewBuilder("kinds")
		alerting.Threshold(processor.From(b, topic), k.rule).To(out)
		topology, err := b.Build()
		require.NoError(t, err)
		d := processortest.New(t, topology)
		for _, r := range k.in {
			r.Value.At = r.Value.At.Add(time.Duration(k.shift) * time.Second)
			processortest.Pipe(d, topic, r)
			if crash {
				d.Crash()
			}
		}
		if k.until > 0 {
			d.AdvanceTime(at(k.until + k.shift))
		}
		require.NoError(t, d.Err())
		require.Len(t, d.DeadLetters(), k.dead)
		var said []string
		for _, r := range processortest.Read(d, out) {
			said = append(said, strings.TrimSpace(tellAlarm(r.Value, at(k.shift))))
		}
		require.Equal(t, strings.Join(lines(k.want), "\n"), strings.Join(said, "\n"), "crash=%v", crash)
	}
}

func tellAlarm(a alerting.Alarm, start time.Time) string {
	second := func(t time.Time) int64 { return t.Unix() - start.Unix() }
	labels := ""
	for name, value := range a.Labels {
		labels += " " + name + "=" + value
	}
	return fmt.Sprintf("%s%s %s %s %.4g since %d at %d %s", a.Key, labels, a.State, a.Severity, a.Value, second(a.Since), second(a.At), a.Reason)
}

func lines(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list
}

func TestSeveritiesOfOneRuleAreOneAlarm(t *testing.T) {
	// The documented example of Kapacitor: INFO WARNING WARNING CRITICAL INFO INFO OK.
	kind{
		rule: alerting.Rule[reading]{Levels: []alerting.Level[reading]{
			{Severity: "info", When: alerting.Above(60).ClearAt(50)},
			{Severity: "warning", When: alerting.Above(70).ClearAt(60)},
			{Severity: "critical", When: alerting.Above(80).ClearAt(70)},
		}},
		in: every(60, 61, 73, 64, 85, 62, 56, 47),
		want: `a firing info 61 since 0 at 0
			a firing warning 73 since 0 at 60
			a firing critical 85 since 0 at 180
			a firing info 62 since 0 at 240
			a resolved info 47 since 0 at 360`,
	}.tell(t)
}

func TestOneAlarmForEachSetOfLabels(t *testing.T) {
	kind{
		rule: alerting.Rule[reading]{
			When: alerting.Above(80), By: func(r reading) map[string]string { return map[string]string{"disk": r.Disk} }, For: time.Minute,
		},
		in: []processor.Record[reading]{
			on("sda", read("a", "m", 0, 90)), on("sdb:1", read("a", "m", 0, 95)), on("sda", read("b", "m", 10, 91)),
			on("sda", read("a", "m", 60, 10)), on("sdb:1", read("a", "m", 60, 96)),
		},
		want: `a disk=sda pending  90 since 0 at 0
			a disk=sdb:1 pending  95 since 0 at 0
			b disk=sda pending  91 since 10 at 10
			a disk=sdb:1 firing  96 since 0 at 60`,
	}.tell(t)
}

func TestJoinedConditions(t *testing.T) {
	named := func(name string) func(reading) (bool, error) {
		return func(r reading) (bool, error) { return r.Disk == name, nil }
	}
	kind{
		rule: alerting.Rule[reading]{When: alerting.Above(80).ClearAt(50), If: named("x")},
		in: []processor.Record[reading]{
			on("y", read("a", "m", 0, 90)), on("x", read("a", "m", 1, 90)), on("x", read("a", "m", 2, 60)), on("y", read("a", "m", 3, 90)),
		},
		want: `a firing  90 since 1 at 1
			a resolved  90 since 1 at 3`,
	}.tell(t)
	kind{
		rule: alerting.Rule[reading]{Levels: []alerting.Level[reading]{{Severity: "warning", If: named("x"), Until: named("z")}}},
		in:   []processor.Record[reading]{on("x", read("a", "m", 0, 1)), on("y", read("a", "m", 1, 2)), on("z", read("a", "m", 2, 3))},
		want: `a firing warning 1 since 0 at 0
			a resolved warning 3 since 0 at 2`,
	}.tell(t)
}

func TestMaxDurationNeedsNoSample(t *testing.T) {
	kind{
		rule: alerting.Rule[reading]{When: alerting.Above(80), MaxDuration: 5 * time.Minute},
		in:   every(60, 90, 90), until: 400,
		want: `a firing  90 since 0 at 0
			a resolved  90 since 0 at 300 it has lasted for 5m0s`,
	}.tell(t)
	kind{ // and it is silent until the breach is over
		rule: alerting.Rule[reading]{When: alerting.Above(80), MaxDuration: 2 * time.Minute},
		in:   every(60, 90, 90, 90, 90, 10, 90),
		want: `a firing  90 since 0 at 0
			a resolved  90 since 0 at 120 it has lasted for 2m0s
			a firing  90 since 300 at 300`,
	}.tell(t)
}

func TestAbsence(t *testing.T) {
	dead := alerting.Rule[reading]{Lookback: 3 * time.Minute, OnNoData: alerting.AsBreach, Severity: "critical"}
	comes := append(every(60, 1, 1, 1), read("b", "m", 100, 1), read("b", "m", 250, 1), read("a", "m", 400, 1), read("b", "m", 401, 1))
	kind{rule: dead, in: comes, until: 500,
		want: `a firing critical 180 since 300 at 300 no data since 2023-11-14T22:15:20Z
			a resolved critical 0 since 300 at 400`,
	}.tell(t)
	dead.For, dead.OnNoData = time.Minute, alerting.AsBreach
	kind{rule: dead, in: every(60, 1), until: 500,
		want: `a pending critical 180 since 180 at 180 no data since 2023-11-14T22:13:20Z
			a firing critical 240 since 180 at 240 no data since 2023-11-14T22:13:20Z`,
	}.tell(t)
	own := alerting.Rule[reading]{When: alerting.Above(80), Lookback: 3 * time.Minute, OnNoData: alerting.OwnAlarm}
	kind{rule: own, in: append(every(60, 90), read("a", "m", 600, 95), read("a", "m", 660, 10)),
		want: `a firing  90 since 0 at 0
			a nodata  90 since 0 at 180 no data since 2023-11-14T22:13:20Z
			a firing  95 since 0 at 600
			a resolved  10 since 0 at 660`,
	}.tell(t)
	own.OnNoData, own.KeepFiringFor = alerting.AsOK, time.Minute
	kind{rule: own, in: every(60, 90), until: 600,
		want: `a firing  90 since 0 at 0
			a resolved  90 since 0 at 240 no data since 2023-11-14T22:13:20Z`,
	}.tell(t)
	own.OnNoData = alerting.KeepLast
	kind{rule: own, in: every(60, 90), until: 600, want: `a firing  90 since 0 at 0`}.tell(t)
}

// TestAlarmsHaveATrace wants an alarm to have the headers of the record that it speaks of; one that is said since time has passed has the trace
// context of the record that moved time.
func TestAlarmsHaveATrace(t *testing.T) {
	topic := stream.Topic[reading]{Name: "readings", Time: func(r reading) time.Time { return r.At }}
	out := stream.Topic[alerting.Alarm]{Name: "alarms", Time: func(a alerting.Alarm) time.Time { return a.At }}
	b := processor.NewBuilder("traced")
	alerting.Threshold(processor.From(b, topic), alerting.Rule[reading]{
		Name: "R", Value: func(r reading) float64 { return r.Value }, When: alerting.Above(80), Lookback: time.Minute, OnNoData: alerting.OwnAlarm,
	}).To(out)
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	for i, r := range []processor.Record[reading]{read("a", "m", 0, 90), read("b", "m", 300, 1)} {
		r.Headers = stream.Headers{"traceparent": {fmt.Sprint(i)}, "own": {"x"}}
		processortest.Pipe(d, topic, r)
	}
	require.NoError(t, d.Err())
	said := processortest.Read(d, out)
	require.Len(t, said, 2)
	require.Equal(t, alerting.Firing, said[0].Value.State)
	require.Equal(t, stream.Headers{"traceparent": {"0"}, "own": {"x"}}, said[0].Headers)
	require.Equal(t, alerting.NoData, said[1].Value.State)
	require.Equal(t, "a", said[1].Key)
	require.Equal(t, stream.Headers{"traceparent": {"1"}}, said[1].Headers)
}

func TestErrorsHaveAPolicy(t *testing.T) {
	in := []processor.Record[reading]{read("a", "m", 0, 90), bad(read("a", "m", 60, 0)), read("a", "m", 120, 90), read("a", "m", 180, 10)}
	for policy, c := range map[alerting.Policy]struct {
		want string
		dead int
	}{
		alerting.KeepLast: {`a firing  90 since 0 at 0
			a resolved  10 since 0 at 180`, 1},
		alerting.AsOK: {`a firing  90 since 0 at 0
			a resolved  90 since 0 at 60 the value NaN is not a finite number
			a firing  90 since 120 at 120
			a resolved  10 since 120 at 180`, 0},
		alerting.AsBreach: {`a firing  90 since 0 at 0
			a resolved  10 since 0 at 180`, 0},
		alerting.OwnAlarm: {`a firing  90 since 0 at 0
			a error  90 since 0 at 60 the value NaN is not a finite number
			a firing  90 since 0 at 120
			a resolved  10 since 0 at 180`, 0},
	} {
		kind{rule: alerting.Rule[reading]{When: alerting.Above(80), OnError: policy}, in: in, want: c.want, dead: c.dead}.tell(t)
		kind{rule: alerting.Rule[reading]{When: alerting.Above(80), OnError: policy, Every: time.Minute}, in: in, until: 190, shift: 40, want: c.want, dead: c.dead}.tell(t)
	}
}

func TestFlappingIsHeardOfOnce(t *testing.T) {
	var values []float64
	for i := range 10 {
		values = append(values, 90-float64(i%2)*80)
	}
	for range 30 {
		values = append(values, 10)
	}
	kind{
		rule: alerting.Rule[reading]{When: alerting.Above(80), Flap: alerting.Flap{High: 30, Low: 20}}, in: every(60, values...),
		want: `a firing  90 since 0 at 0
			a resolved  10 since 0 at 60
			a firing  90 since 120 at 120
			a resolved  10 since 120 at 180
			a firing  90 since 240 at 240
			a flapping  10 since 240 at 300 it has changed too often: 36 percent
			a resolved  10 since 240 at 1500`,
	}.tell(t)
}

func TestMeasures(t *testing.T) {
	above := alerting.Above(10)
	for name, k := range map[string]kind{
		"avg": {rule: alerting.Rule[reading]{Over: alerting.Avg(3 * time.Minute), When: above}, in: every(60, 6, 12, 15, 1, 1),
			want: `a firing  11 since 120 at 120
				a resolved  9.333 since 120 at 180`},
		"min": {rule: alerting.Rule[reading]{Over: alerting.Min(2 * time.Minute), When: above}, in: every(60, 6, 12, 15, 1),
			want: `a firing  12 since 120 at 120
				a resolved  1 since 120 at 180`},
		"max": {rule: alerting.Rule[reading]{Over: alerting.Max(2 * time.Minute), When: above}, in: every(60, 6, 12, 1, 1),
			want: `a firing  12 since 60 at 60
				a resolved  1 since 60 at 180`},
		"sum": {rule: alerting.Rule[reading]{Over: alerting.Sum(time.Hour), When: above}, in: every(60, 6, 5),
			want: `a firing  11 since 60 at 60`},
		"count": {rule: alerting.Rule[reading]{Over: alerting.Count(90 * time.Second), When: alerting.Above(2)}, in: every(30, 6, 5, 4, 3),
			want: `a firing  3 since 60 at 60`},
		"quantile": {rule: alerting.Rule[reading]{Over: alerting.Quantile(0.75, time.Hour), When: above}, in: every(60, 1, 2, 12, 20),
			want: `a firing  14 since 180 at 180`},
		"change": {rule: alerting.Rule[reading]{Over: alerting.Change(3 * time.Minute), When: alerting.Below(-1)}, in: every(60, 300, 120, 60, 60),
			want: `a firing  -3 since 60 at 60
				a resolved  -0.5 since 60 at 180`},
		"rate": {rule: alerting.Rule[reading]{Over: alerting.Rate(3 * time.Minute), When: alerting.Above(1)}, in: every(60, 0, 60, 180, 30),
			want: `a firing  1.5 since 120 at 120
				a resolved  1.25 since 120 at 180`},
		"deviation": {rule: alerting.Rule[reading]{Over: alerting.Deviation(time.Hour), When: alerting.Above(3.5)}, in: every(60, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 9, 1.5),
			want: `a firing  10.12 since 600 at 600
				a resolved  -0.3372 since 600 at 660`},
		"every": {rule: alerting.Rule[reading]{Over: alerting.Avg(2 * time.Minute), When: above, Every: time.Minute}, in: every(20, 6, 12, 15, 30, 1, 1, 1, 1, 1, 1), until: 420, shift: 40,
			want: `a firing  15.75 since 60 at 60
				a resolved  10 since 60 at 120`},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "rate" { // the counter started again at 30: 120+30 in 120 seconds
				k.rule.When = alerting.Above(1.3)
			}
			k.tell(t)
		})
	}
}

func TestRatioOfTwoSeries(t *testing.T) {
	rule := alerting.Rule[reading]{
		Value: func(r reading) float64 { return r.Value }, Series: func(r reading) string { return r.Name },
		Combine: alerting.Ratio("errors", "requests"), Every: time.Minute, When: alerting.Above(0.1), OnNoData: alerting.AsOK,
	}
	kind{rule: rule, in: []processor.Record[reading]{
		read("a", "errors", 0, 50), read("a", "requests", 0, 100), // the first alone is no ratio
		read("b", "errors", 1, 50),
		read("a", "requests", 60, 1000), read("a", "errors", 60, 50),
		read("a", "errors", 120, 0), read("a", "requests", 120, 0),
	}, until: 200, shift: 40,
		want: `a firing  0.5 since 0 at 0
			a resolved  0.05 since 0 at 60`,
	}.tell(t)
}

// TestSeasonLearnsTheDay: three days of a daily wave, with one hour missing from the last.
func TestSeasonLearnsTheDay(t *testing.T) {
	var in []processor.Record[reading]
	for hour := range 24 * 6 {
		value := 50 + 40*math.Sin(float64(hour)*math.Pi/12) + float64(hour*7%5)
		if hour == 24*5+6 {
			value = 20 // at the top of the wave: a value that is usual at another time of the day
		}
		in = append(in, read("a", "m", hour*3600, value))
	}
	kind{
		rule: alerting.Rule[reading]{
			Over: alerting.Seasonal(alerting.Season{Length: 24 * time.Hour, Step: time.Hour, MinDeviation: 1}), When: alerting.Below(-5),
		}, in: in,
		want: `a firing  -31.56 since 453600 at 453600
			a resolved  3.259 since 453600 at 457200`,
	}.tell(t)
	require.Error(t, alerting.Seasonal(alerting.Season{Length: time.Hour, Step: 7 * time.Minute}).Validate())
}

func TestRulesThatMakeNoSense(t *testing.T) {
	value := func(reading) float64 { return 0 }
	for want, rule := range map[string]alerting.Rule[reading]{
		"there is no condition":     {Value: value},
		"the rule has no Value":     {When: alerting.Above(1)},
		"For must be zero or more":  {Value: value, When: alerting.Above(1), For: -1},
		"MaxDuration 1s ends":       {Value: value, When: alerting.Above(1), For: time.Minute, MaxDuration: time.Second},
		"go together":               {Value: value, When: alerting.Above(1), Combine: alerting.Ratio("a", "b")},
		"window of a measure":       {Value: value, When: alerting.Above(1), Over: alerting.Avg(0)},
		"a quantile must be":        {Value: value, When: alerting.Above(1), Over: alerting.Quantile(2, time.Minute)},
		"put When, If and Severity": {Value: value, When: alerting.Above(1), Levels: []alerting.Level[reading]{{Severity: "x", When: alerting.Above(2)}}},
		"has two levels":            {Value: value, Levels: []alerting.Level[reading]{{Severity: "x", When: alerting.Above(1)}, {Severity: "x", When: alerting.Above(2)}}},
		"a level has no Severity":   {Value: value, Levels: []alerting.Level[reading]{{When: alerting.Above(1)}, {Severity: "x", When: alerting.Above(2)}}},
		"flapping starts":           {Value: value, When: alerting.Above(1), Flap: alerting.Flap{High: 1, Low: 2}},
		"there is no policy 7":      {Value: value, When: alerting.Above(1), OnError: 7},
		"on the wrong side":         {Value: value, When: alerting.Above(1).ClearAt(2)},
	} {
		require.ErrorContains(t, rule.Validate(), want)
	}
}

func TestFingerprintIsThatOfTheLabels(t *testing.T) {
	a := alerting.Alarm{Rule: "R", Key: "a", Labels: map[string]string{"x": "1"}, Severity: "info"}
	same, other := a, a
	same.Severity, same.State, same.Labels = "critical", alerting.Resolved, map[string]string{"x": "1"}
	other.Labels = map[string]string{"x": "2"}
	require.Equal(t, a.Fingerprint(), same.Fingerprint())
	require.NotEqual(t, a.Fingerprint(), other.Fingerprint())
	require.Len(t, a.Fingerprint(), 16)
}
