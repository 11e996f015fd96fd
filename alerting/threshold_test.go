package alerting_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

type metric struct {
	CPU float64
	At  time.Time
}

type logLine struct {
	Text string
	At   time.Time
}

type incident struct {
	CPU   float64  `json:"cpu"`
	Lines []string `json:"lines"`
}

var (
	metrics = stream.Topic[metric]{Name: "metrics", Partitions: 2, Time: func(m metric) time.Time { return m.At }}
	syslogs = stream.Topic[logLine]{Name: "syslogs", Partitions: 2, Time: func(l logLine) time.Time { return l.At }}
	alarms  = stream.Topic[alerting.Alarm]{Name: "alarms", Partitions: 2, Time: func(a alerting.Alarm) time.Time { return a.At }}
)

func correlate(m metric, lines []logLine) incident {
	i := incident{CPU: m.CPU, Lines: []string{}}
	for _, l := range lines {
		i.Lines = append(i.Lines, l.Text)
	}
	return i
}

// health is the program of the package documentation of join and alerting: metrics and log lines, joined by host in time, and a
// rule over both.
func health(t *testing.T, hold time.Duration) *processor.Topology {
	t.Helper()
	b := processor.NewBuilder("health")
	incidents := join.Collect(processor.From(b, metrics), processor.From(b, syslogs),
		join.Window{Name: "incidents", Within: 60 * time.Second, Grace: 5 * time.Second, Emit: join.OnUpdate}, correlate)
	alerting.Threshold(incidents, alerting.Rule[incident]{
		Name: "HighCPU", Value: func(i incident) float64 { return i.CPU },
		When: alerting.Above(80).ClearAt(70), For: hold, Severity: "critical", Labels: map[string]string{"team": "web"},
	}).To(alarms)
	topology, err := b.Build()
	require.NoError(t, err)
	return topology
}

type world struct {
	t     *testing.T
	d     *processortest.Driver
	crash bool
	got   []string
}

func (w *world) after() {
	if w.crash {
		w.d.Crash()
	}
	for _, r := range processortest.Read(w.d, alarms) {
		a := r.Value
		require.Equal(w.t, r.Key, a.Key)
		require.Equal(w.t, "critical", a.Severity)
		require.Equal(w.t, map[string]string{"team": "web"}, a.Labels)
		require.Equal(w.t, 80.0, a.Threshold)
		require.Equal(w.t, a.At, r.Time)
		s := fmt.Sprintf("%s %s %v since %d at %d %s", a.Key, a.State, a.Value, a.Since.Unix()-at(0).Unix(), a.At.Unix()-at(0).Unix(), a.Context)
		w.got = append(w.got, s)
	}
}

func (w *world) cpu(host string, t int, value float64) {
	processortest.Pipe(w.d, metrics, processor.Record[metric]{Key: host, Value: metric{value, at(t)}})
	w.after()
}

func (w *world) log(host string, t int, text string) {
	processortest.Pipe(w.d, syslogs, processor.Record[logLine]{Key: host, Value: logLine{text, at(t)}})
	w.after()
}

func (w *world) want(lines ...string) {
	w.t.Helper()
	require.Equal(w.t, strings.Join(lines, "\n"), strings.Join(w.got, "\n"))
	w.got = nil
}

// both runs a story straight, and with a crash after every record.
func both(t *testing.T, hold time.Duration, story func(*world)) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash=%v", crash), func(t *testing.T) {
			story(&world{t: t, d: processortest.New(t, health(t, hold)), crash: crash})
		})
	}
}

func TestFiresAtOnceAndResolvesWithTheWholeContext(t *testing.T) {
	both(t, 0, func(w *world) {
		w.log("a", 900, "outside of the window")
		w.log("a", 940, "just in")
		w.cpu("a", 1000, 90)
		w.want(`a firing 90 since 1000 at 1000 {"cpu":90,"lines":["just in"]}`)
		w.log("a", 1010, "disk failure")
		w.cpu("a", 1020, 95)
		w.cpu("a", 1030, 60) // resolved, but its context is open until 1065
		w.log("a", 1060, "last in")
		w.log("a", 1061, "too far off")
		w.want()
		w.log("a", 996, "late by less than the grace") // 996 + 60 + 5 >= 1061
		w.cpu("a", 1065, 10)
		w.want()
		w.cpu("a", 1066, 10)
		w.want(`a resolved 60 since 1000 at 1030 {"cpu":90,"lines":["just in","late by less than the grace","disk failure","last in"]}`)
		w.cpu("a", 2000, 10)
		w.d.CloseAll()
		w.after()
		w.want()
	})
}

func TestPendingFiresAfterFor(t *testing.T) {
	both(t, 2*time.Minute, func(w *world) {
		w.cpu("a", 0, 81)
		w.want(`a pending 81 since 0 at 0 {"cpu":81,"lines":[]}`)
		w.log("a", 30, "x")
		w.cpu("a", 60, 85)
		w.cpu("a", 119, 75) // neither a breach nor clear
		w.want()
		w.cpu("a", 120, 82)
		w.want(`a firing 82 since 0 at 120 {"cpu":81,"lines":["x"]}`)
		w.cpu("a", 180, 70)
		w.want(`a resolved 70 since 0 at 180 {"cpu":81,"lines":["x"]}`)
		w.cpu("a", 240, 90)
		w.cpu("a", 250, 10)
		w.want(`a pending 90 since 240 at 240 {"cpu":90,"lines":[]}`)
	})
}

func TestASecondAlarmWhileTheFirstWaitsForItsContext(t *testing.T) {
	both(t, 0, func(w *world) {
		w.cpu("a", 0, 90)
		w.cpu("a", 10, 50)
		w.cpu("a", 20, 91)
		w.log("a", 25, "belongs to both")
		w.cpu("a", 30, 51)
		w.want(
			`a firing 90 since 0 at 0 {"cpu":90,"lines":[]}`,
			`a firing 91 since 20 at 20 {"cpu":91,"lines":[]}`,
		)
		w.log("a", 65, "belongs to the second")
		w.log("a", 66, "closes the first")
		w.cpu("a", 86, 10)
		w.want(
			`a resolved 50 since 0 at 10 {"cpu":90,"lines":["belongs to both"]}`,
			`a resolved 51 since 20 at 30 {"cpu":91,"lines":["belongs to both","belongs to the second","closes the first"]}`,
		)
	})
}

func TestFurtherResultsOfAnOldBreachRaiseNothing(t *testing.T) {
	both(t, 0, func(w *world) {
		w.cpu("a", 0, 90)
		w.cpu("a", 55, 91)
		w.cpu("a", 60, 10)
		w.cpu("a", 66, 10) // resolved, complete
		w.want(
			`a firing 90 since 0 at 0 {"cpu":90,"lines":[]}`,
			`a resolved 10 since 0 at 60 {"cpu":90,"lines":[]}`,
		)
		w.log("a", 67, "in the window of the breach at 55")
		w.cpu("a", 54, 99) // out of order: the alarm that it belonged to is over
		w.d.CloseAll()
		w.after()
		w.want()
	})
}

func TestKeysAreApart(t *testing.T) {
	both(t, 0, func(w *world) {
		w.cpu("a", 0, 90)
		w.cpu("b", 1, 10)
		w.cpu("b", 2, 99)
		w.want(`a firing 90 since 0 at 0 {"cpu":90,"lines":[]}`, `b firing 99 since 2 at 2 {"cpu":99,"lines":[]}`)
	})
}

func TestPlainSamplesResolveAtOnceAndLeaveNothingBehind(t *testing.T) {
	b := processor.NewBuilder("plain")
	alerting.Threshold(processor.From(b, metrics), alerting.Rule[metric]{
		Name: "R", Value: func(m metric) float64 { return m.CPU }, When: alerting.Above(80),
		Context: func(m metric) any { return m.CPU },
	}).To(alarms)
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	for i, v := range []float64{10, 90, 10} {
		processortest.Pipe(d, metrics, processor.Record[metric]{Key: "a", Value: metric{v, at(i)}})
	}
	got := processortest.Read(d, alarms)
	require.Len(t, got, 2)
	require.Equal(t, alerting.Firing, got[0].Value.State)
	require.Equal(t, alerting.Resolved, got[1].Value.State)
	require.JSONEq(t, "90", string(got[1].Value.Context))
}

func TestAnAlarmThatIsKeptFiringIsTheSameAfterACrash(t *testing.T) {
	b := processor.NewBuilder("kept")
	alerting.Threshold(processor.From(b, metrics), alerting.Rule[metric]{
		Name: "R", Value: func(m metric) float64 { return m.CPU }, When: alerting.Above(80), KeepFiringFor: 3 * time.Second,
	}).To(alarms)
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	var changes []string
	for i, v := range []float64{90, 10, 10, 95, 10, 10, 10, 10, 10} {
		processortest.Pipe(d, metrics, processor.Record[metric]{Key: "a", Value: metric{v, at(i)}})
		d.Crash()
		for _, a := range processortest.Read(d, alarms) {
			require.Equal(t, at(0), a.Value.Since)
			changes = append(changes, fmt.Sprintf("%s at %d", a.Value.State, i))
		}
	}
	require.Equal(t, []string{"firing at 0", "resolved at 7"}, changes)
}

func TestValuesThatAreNoNumbersFail(t *testing.T) {
	b := processor.NewBuilder("nan")
	value := math.NaN()
	alerting.Threshold(processor.From(b, metrics), alerting.Rule[metric]{
		Name: "R", Value: func(metric) float64 { return value }, When: alerting.Above(80),
	}).To(alarms)
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	for i, v := range []float64{math.NaN(), math.Inf(1)} {
		value = v
		processortest.Pipe(d, metrics, processor.Record[metric]{Key: "a", Value: metric{At: at(i)}})
	}
	processortest.Pipe(d, metrics, processor.Record[metric]{Value: metric{At: at(3)}})
	require.Empty(t, processortest.Read(d, alarms))
	require.Len(t, d.DeadLetters(), 3)
}

func TestBuildReportsRulesThatMakeNoSense(t *testing.T) {
	value := func(m metric) float64 { return m.CPU }
	for want, rule := range map[string]alerting.Rule[metric]{
		"the name":           {Value: value, When: alerting.Above(1)},
		"has no Value":       {Name: "R", When: alerting.Above(1)},
		"there is no condi":  {Name: "R", Value: value},
		"wrong side":         {Name: "R", Value: value, When: alerting.Above(1).ClearAt(2)},
		"For must be zero o": {Name: "R", Value: value, When: alerting.Above(1), For: -1},
		"KeepFiringFor must": {Name: "R", Value: value, When: alerting.Above(1), KeepFiringFor: -1},
	} {
		b := processor.NewBuilder("bad")
		alerting.Threshold(processor.From(b, metrics), rule).To(alarms)
		_, err := b.Build()
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "alerting/threshold_test.go:")
	}
}
