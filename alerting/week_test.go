package alerting_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/rulesfile"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// TestWeek replays two weeks of metrics with labelled anomalies through the rules of testdata/week/rules.yaml and prints the alarms of the
// second week, precision and recall. The first week is the one that the rules were chosen by, and is reported apart.
//
// The folder in ROSSBY_NAB is a checkout of the Numenta Anomaly Benchmark (github.com/numenta/NAB, MIT licence): its realAWSCloudwatch is what
// servers really did. Without it the series are made up, in the same layout, and say so.
//
//   - event: a labelled window that begins in the week. recall: the share of events in which at least one alarm began to fire.
//   - precision: the share of alarms that began to fire in a labelled window, of all that began to fire in the week. Several alarms
//     in one event all count. Nothing counts for having gone on into a window, and no sample counts as found that no alarm told of.
//   - chance: the share of the samples of the week that are in labelled windows, which is the precision of alarms at random.
func TestWeek(t *testing.T) {
	if dir := os.Getenv("ROSSBY_NAB"); dir != "" {
		score := replayWeeks(t, "NAB realAWSCloudwatch", dir)
		require.GreaterOrEqual(t, score.recall(), leastRecall)
		require.GreaterOrEqual(t, score.precision(), leastPrecision)
	}
	made := t.TempDir()
	makeWeeks(t, made)
	score := replayWeeks(t, "made-up series (real ones are read from the folder in ROSSBY_NAB)", made)
	require.Equal(t, 1.0, score.recall())
	require.GreaterOrEqual(t, score.precision(), 0.5) // what comes after an event is low for who has learnt from it
}

// leastRecall and leastPrecision are what was measured for NAB's second week; the replay is deterministic.
const leastRecall, leastPrecision = 8.0 / 17, 13.0 / 39

// span is a labelled window: both ends belong to it.
type span struct{ from, to time.Time }

func (s span) holds(at time.Time) bool { return !at.Before(s.from) && !at.After(s.to) }

func within(spans []span, at time.Time) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return s.holds(at) })
}

// series is a file of the benchmark.
type series struct {
	name   string
	points []weekSample
	labels []span
}

// weekSample has the names that the schema of metrics gives its fields.
type weekSample struct {
	Host  string    `json:"host"`
	Name  string    `json:"name"`
	Value float64   `json:"value"`
	Time  time.Time `json:"time"`
}

// weekRecord is what the rules of the file are about.
type weekRecord struct {
	Sample weekSample `json:"metric"`
}

// tally is what came of a week.
type tally struct {
	events, found, alarms, right int
	samples, labelled            int
}

// recall and precision are 1 where there was nothing to find, and no alarm.
func (t tally) recall() float64    { return share(t.found, t.events) }
func (t tally) precision() float64 { return share(t.right, t.alarms) }

func share(part, whole int) float64 {
	if whole == 0 {
		return 1
	}
	return float64(part) / float64(whole)
}

func (t tally) String() string {
	return fmt.Sprintf("%d of %d events found (recall %.2f), %d of %d alarms in events (precision %.2f, by chance %.2f)",
		t.found, t.events, t.recall(), t.right, t.alarms, t.precision(), float64(t.labelled)/float64(max(t.samples, 1)))
}

// replayWeeks replays the series of a folder, prints what became of them and returns the tally of the second week.
func replayWeeks(t *testing.T, title, dir string) tally {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "week", "rules.yaml"))
	require.NoError(t, err)
	file, err := rulesfile.Parse(text, rulesfile.Model[weekRecord]{
		Series: func(r weekRecord) string { return r.Sample.Name },
		Value:  func(r weekRecord) float64 { return r.Sample.Value },
	})
	require.NoError(t, err)
	var first, second tally
	var out strings.Builder
	fmt.Fprintf(&out, "%s\nrules:\n%s", title, text)
	byRule := make(map[string]*[2]tally)
	for _, rule := range file.Rules {
		byRule[rule.Name] = &[2]tally{}
	}
	for _, s := range readWeeks(t, dir) {
		boundary := s.points[0].Time.Add(7 * 24 * time.Hour)
		chosen := func(at time.Time) bool { return at.Before(boundary) }
		measured := func(at time.Time) bool { return !at.Before(boundary) }
		fired := s.replay(t, file.Rules)
		first.add(s, fired, chosen)
		second.add(s, fired, measured)
		for name, weeks := range byRule {
			of := slices.DeleteFunc(slices.Clone(fired), func(a alerting.Alarm) bool { return a.Rule != name })
			weeks[0].add(s, of, chosen)
			weeks[1].add(s, of, measured)
		}
		var week tally
		week.add(s, fired, measured)
		fmt.Fprintf(&out, "%s: %s\n", s.name, week)
		for _, a := range fired {
			if measured(a.At) {
				verdict := map[bool]string{true: "right", false: "wrong"}[within(s.labels, a.At)]
				fmt.Fprintf(&out, "  %s %s %s, value %.4g\n", a.At.Format("2006-01-02 15:04"), a.Rule, verdict, a.Value)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byRule)) {
		fmt.Fprintf(&out, "%s, first week:  %s\n%s, second week: %s\n", name, byRule[name][0], name, byRule[name][1])
	}
	fmt.Fprintf(&out, "first week (the rules were chosen by it): %s\nsecond week (measured): %s", first, second)
	t.Log(out.String())
	return second
}

// add counts the events and alarms that begin in a part of the time.
func (t *tally) add(s series, fired []alerting.Alarm, in func(time.Time) bool) {
	for _, l := range s.labels {
		if !in(l.from) {
			continue
		}
		t.events++
		if slices.ContainsFunc(fired, func(a alerting.Alarm) bool { return l.holds(a.At) }) {
			t.found++
		}
	}
	for _, a := range fired {
		if !in(a.At) {
			continue
		}
		t.alarms++
		if within(s.labels, a.At) {
			t.right++
		}
	}
	for _, p := range s.points {
		if !in(p.Time) {
			continue
		}
		t.samples++
		if within(s.labels, p.Time) {
			t.labelled++
		}
	}
}

// replay runs a series through the rules and returns the alarms at the times when they began to fire.
func (s series) replay(t *testing.T, rules []alerting.Rule[weekRecord]) []alerting.Alarm {
	t.Helper()
	in := stream.Topic[weekRecord]{Name: "metrics", Time: func(r weekRecord) time.Time { return r.Sample.Time }}
	out := stream.Topic[alerting.Alarm]{Name: "alarms"}
	b := processor.NewBuilder("week")
	records := processor.From(b, in)
	for _, rule := range rules {
		alerting.Threshold(records, rule).To(out)
	}
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	batch := make([]processor.Record[weekRecord], len(s.points))
	for i, p := range s.points {
		batch[i] = processor.Record[weekRecord]{Key: s.name, Value: weekRecord{p}}
	}
	processortest.Pipe(d, in, batch...)
	require.NoError(t, d.Err())
	require.Empty(t, d.DeadLetters())
	var fired []alerting.Alarm
	for _, r := range processortest.Read(d, out) {
		if r.Value.State == alerting.Firing {
			fired = append(fired, r.Value)
		}
	}
	return fired
}

// readWeeks reads what is in the layout of the benchmark: the series of data/realAWSCloudwatch and their labels.
func readWeeks(t *testing.T, dir string) []series {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "labels", "combined_windows.json"))
	require.NoError(t, err)
	var labels map[string][][2]string
	require.NoError(t, json.Unmarshal(data, &labels))
	paths, err := filepath.Glob(filepath.Join(dir, "data", "realAWSCloudwatch", "*.csv"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	var list []series
	for _, path := range paths {
		f, err := os.Open(path)
		require.NoError(t, err)
		rows, err := csv.NewReader(f).ReadAll()
		require.NoError(t, err)
		require.NoError(t, f.Close())
		file := filepath.Base(path)
		s := series{name: strings.TrimSuffix(file, ".csv")}
		for _, row := range rows[1:] {
			value, err := strconv.ParseFloat(row[1], 64)
			require.NoError(t, err)
			s.points = append(s.points, weekSample{Host: s.name, Name: metricOf(s.name), Value: value, Time: weekTime(t, row[0])})
		}
		for _, l := range labels["realAWSCloudwatch/"+file] {
			s.labels = append(s.labels, span{weekTime(t, l[0]), weekTime(t, l[1])})
		}
		list = append(list, s)
	}
	return list
}

func weekTime(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04:05", text)
	require.NoError(t, err)
	return at
}

// metricOf is the metric that a file holds: its name says so.
func metricOf(name string) string {
	for _, m := range []string{"cpu_utilization", "disk_write_bytes", "network_in", "request_count"} {
		if strings.Contains(strings.ToLower(name), m) {
			return m
		}
	}
	if strings.HasSuffix(name, "NetworkIn") {
		return "network_in"
	}
	return "cpu_utilization" // of a group of servers: grok_asg_anomaly
}

// makeWeeks writes three series of two weeks in the layout of the benchmark: days with noise, and in each week some hours in which a value is
// far from what it is at that time of the day.
func makeWeeks(t *testing.T, dir string) {
	t.Helper()
	const layout = "2006-01-02 15:04:05"
	data := filepath.Join(dir, "data", "realAWSCloudwatch")
	require.NoError(t, os.MkdirAll(data, 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "labels"), 0o755))
	labels := make(map[string][][2]string)
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for n := range 3 {
		r := rand.New(rand.NewPCG(uint64(n), 1))
		file := fmt.Sprintf("ec2_cpu_utilization_made%d.csv", n)
		windows := []span{}
		for _, day := range []int{5, 10 + n} {
			from := start.Add(time.Duration(day*24+11) * time.Hour)
			windows = append(windows, span{from, from.Add(4 * time.Hour)})
			labels["realAWSCloudwatch/"+file] = append(labels["realAWSCloudwatch/"+file],
				[2]string{from.Format(layout + ".000000"), from.Add(4 * time.Hour).Format(layout + ".000000")})
		}
		var text strings.Builder
		text.WriteString("timestamp,value\n")
		for i := range 14 * 288 {
			at := start.Add(time.Duration(i) * 5 * time.Minute)
			value := 30 + 5*math.Sin(2*math.Pi*float64(i)/288) + r.NormFloat64()
			if within(windows, at) {
				value += 50
			}
			fmt.Fprintf(&text, "%s,%.3f\n", at.Format(layout), value)
		}
		require.NoError(t, os.WriteFile(filepath.Join(data, file), []byte(text.String()), 0o600))
	}
	written, err := json.Marshal(labels)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "labels", "combined_windows.json"), written, 0o600))
}
