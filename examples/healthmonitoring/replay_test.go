package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// recording is generated input with everything that real input has: breaches, log lines, gaps, not-a-number values, garbage,
// lines with impossible dates and lines that come hours late, and what must come of it, computed from the list of records
// and not by the pipeline.
type recording struct {
	metrics, syslogs string // files
	rows             int    // of both
	late, dead       int
	want             map[string]int // "host state since at" of each alarm: log lines around the first breach
}

const (
	recordedHosts   = 8
	recordedMinutes = 240
)

func record(t *testing.T, seed uint64) recording {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := recording{want: make(map[string]int)}
	lineTimes := make(map[string][]time.Time)
	r.syslogs = r.writeSyslogs(t, rng, start, lineTimes)
	var csv strings.Builder
	csv.WriteString("time,host,name,value\n")
	first := make(map[string]time.Time)
	for minute := range recordedMinutes {
		for h := range recordedHosts {
			host := fmt.Sprintf("web-%d", h)
			at := start.Add(time.Duration(minute)*time.Minute + time.Duration(h)*time.Second)
			value := 20 + 50*rng.Float64()
			if (minute/7+h)%5 == 0 {
				value = 81 + 10*rng.Float64()
			}
			stamp := at.Format("2006-01-02T15:04:05.000000Z")
			fmt.Fprintf(&csv, "%s,%s,memory_percent,%.3f\n", stamp, host, value)
			r.rows += 2
			if rng.IntN(20) == 0 {
				fmt.Fprintf(&csv, "%s,%s,cpu_percent,NaN\n", stamp, host)
				r.dead++
				continue
			}
			fmt.Fprintf(&csv, "%s,%s,cpu_percent,%.3f\n", stamp, host, value)
			since, breaching := first[host]
			switch {
			case value > 80 && !breaching:
				first[host] = at
				r.want[alarmKey(host, "firing", at, at)] = -1 // as many as are known by then
			case value <= 80 && breaching:
				delete(first, host)
				r.want[alarmKey(host, "resolved", since, at)] = around(lineTimes[host], since)
			}
		}
	}
	r.metrics = write(t, "metrics.csv", csv.String())
	return r
}

func (r *recording) writeSyslogs(t *testing.T, rng *rand.Rand, start time.Time, lineTimes map[string][]time.Time) string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	for range 6000 {
		host := fmt.Sprintf("web-%d", rng.IntN(recordedHosts))
		at := start.Add(time.Duration(rng.Int64N(int64(recordedMinutes * time.Minute)))).Truncate(time.Microsecond)
		lineTimes[host] = append(lineTimes[host], at)
		lines = append(lines, line{at, fmt.Sprintf("<%d>1 %s %s app 123 - - something happened %d",
			8+rng.IntN(8), at.Format("2006-01-02T15:04:05.000000Z"), host, rng.Int())})
	}
	for i := range 40 { // in the second half, dated into the first minutes: late
		at := start.Add(time.Duration(recordedMinutes/2+i) * time.Minute)
		lines = append(lines, line{at, fmt.Sprintf("<11>1 %s web-%d app - - - far too late",
			start.Add(time.Duration(i)*time.Second).Format(time.RFC3339), i%recordedHosts)})
		r.late++
	}
	for range 60 {
		at := start.Add(time.Duration(rng.Int64N(int64(recordedMinutes * time.Minute))))
		lines = append(lines, line{at, "this is no syslog line \x01\x02"},
			line{at, "<131>1 1754-08-30T22:43:41.128654Z web-1 server - - - from another century"})
		r.dead += 2
	}
	sort.SliceStable(lines, func(i, j int) bool { return lines[i].at.Before(lines[j].at) })
	texts := make([]string, len(lines))
	for i, l := range lines {
		texts[i] = l.text
	}
	r.rows += len(lines)
	return write(t, "syslog.log", strings.Join(texts, "\n")+"\n")
}

func around(lines []time.Time, at time.Time) int {
	n := 0
	for _, l := range lines {
		if d := l.Sub(at); d >= -time.Minute && d <= time.Minute {
			n++
		}
	}
	return n
}

func alarmKey(host, state string, since, at time.Time) string {
	return host + " " + state + " " + since.Format(time.RFC3339Nano) + " " + at.Format(time.RFC3339Nano)
}

const cpuRule = `{"rules":[{"name":"HighCPU","metric":"cpu_percent","above":80,"for":"0s","severity":"critical","context":{"within":"60s","max_lines":5}}]}`

func (r recording) args(t *testing.T, data string) []string {
	args := []string{"-replay-metrics", r.metrics, "-replay-syslog", r.syslogs, "-rules", write(t, "rules.json", cpuRule), "-exit"}
	if data != "" {
		args = append(args, "-data", data)
	}
	return args
}

// check compares what was printed with what must come of the recording. It returns how many lines were printed twice, each of
// which must be the same line under the same id.
func (r recording) check(t *testing.T, alarms []alarmLine) (twice int) {
	t.Helper()
	byID := make(map[string]alarmLine)
	for _, a := range alarms {
		if first, ok := byID[a.ID]; ok {
			require.Equal(t, first, a)
			twice++
			continue
		}
		byID[a.ID] = a
	}
	got := make(map[string]alarmLine)
	for _, a := range byID {
		key := alarmKey(a.Host, a.State, a.Since, a.At)
		require.NotContains(t, got, key, "raised twice")
		got[key] = a
	}
	for key, lines := range r.want {
		a, ok := got[key]
		require.True(t, ok, "alarm %s is missing", key)
		if lines >= 0 {
			require.Equal(t, lines, a.Context.Total, "log lines of %s", key)
		}
		require.LessOrEqual(t, len(a.Context.Lines), 5)
	}
	require.Len(t, got, len(r.want))
	return twice
}

func (r recording) checkSummary(t *testing.T, s summary) {
	t.Helper()
	require.Equal(t, r.rows, s.Metrics+s.Syslogs)
	require.Equal(t, r.late, s.Late)
	require.Equal(t, r.dead, s.Dead)
	require.Equal(t, r.rows, s.Processed+s.Late+s.Dead, "lost or counted twice: %+v", s)
	require.Equal(t, len(r.want), s.Alarms)
}

func TestReplayRaisesTheRightAlarms(t *testing.T) {
	r := record(t, 42)
	for range 2 {
		o := runBinary(t.Context(), t, r.args(t, "")...)
		require.Equal(t, 0, o.code, o.stderr)
		require.Zero(t, r.check(t, o.alarms))
		r.checkSummary(t, summaryOf(t, o))
	}
}

// TestReplaySurvivesKills kills the program with SIGKILL at random moments and starts it again on the same data until it is
// through, on fresh data again and again until it has been killed often enough.
func TestReplaySurvivesKills(t *testing.T) {
	const wanted = 25
	r := record(t, 7)
	began := time.Now()
	o := runBinary(t.Context(), t, r.args(t, t.TempDir())...)
	require.Equal(t, 0, o.code, o.stderr)
	whole := time.Since(began)
	kills, rounds, twice := 0, 0, 0
	for kills < wanted {
		rounds++
		data := filepath.Join(t.TempDir(), "data")
		args := r.args(t, data)
		var alarms []alarmLine
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.Int64N(int64(whole))))
			o := runBinary(ctx, t, args...)
			cancel()
			alarms = append(alarms, o.alarms...)
			if o.code == 0 {
				twice += r.check(t, alarms)
				r.checkSummary(t, summaryOf(t, o))
				break
			}
			require.Equal(t, -1, o.code, o.stderr)
			kills++
		}
		require.NoError(t, os.RemoveAll(data))
	}
	t.Logf("%d kills in %d replays of %d rows: %d alarms each, none lost, none raised twice; %d lines printed again under their id",
		kills, rounds, r.rows, len(r.want), twice)
}
