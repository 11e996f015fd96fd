package health

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func at(seconds float64) time.Time {
	return time.Date(2023, 1, 29, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

func logged(seconds float64, severity, message string) Syslog {
	return Syslog{Host: "web1", Time: at(seconds), Severity: severity, App: "app", Message: message}
}

func messages(c LogContext) []string {
	out := []string{}
	for _, l := range c.Lines {
		out = append(out, l.Message)
	}
	return out
}

func TestSummariseOfNothing(t *testing.T) {
	text, err := json.Marshal(Summarise(nil, at(0), time.Minute, 20))
	require.NoError(t, err)
	require.JSONEq(t, `{"total":0,"by_severity":{},"lines":[]}`, string(text))
}

func TestSummariseBoundsAreInclusive(t *testing.T) {
	lines := []Syslog{
		logged(-60.000000001, "err", "too early"), logged(-60, "err", "first"),
		logged(60, "info", "last"), logged(60.000000001, "err", "too late"),
	}
	lines[0].Time = at(-60).Add(-1)
	lines[3].Time = at(60).Add(1)
	c := Summarise(lines, at(0), time.Minute, 20)
	require.Equal(t, 2, c.Total)
	require.Equal(t, map[string]int{"err": 1, "info": 1}, c.BySeverity)
	require.Equal(t, []string{"first", "last"}, messages(c))
	require.Equal(t, []string{"first", "last"}, []string{c.First.Message, c.Last.Message})

	c = Summarise([]Syslog{logged(-1, "err", "x"), logged(0, "err", "now")}, at(0), -time.Hour, 20)
	require.Equal(t, []string{"now"}, messages(c))
}

func TestSummariseShowsTheMostTelling(t *testing.T) {
	lines := []Syslog{
		logged(-50, "crit", "old but critical"), logged(-9, "err", "farther"), logged(-5, "debug", "noise"), logged(-3, "err", "before"),
		logged(0, "debug", "at the breach"), logged(3, "err", "after"), logged(8, "err", "near"), logged(30, "notice", "later"),
	}
	for n, want := range [][]string{
		{},
		{"old but critical"},
		{"old but critical", "before"},
		{"old but critical", "before", "after"},
		{"old but critical", "before", "after", "near"},
		{"old but critical", "farther", "before", "after", "near"},
		{"old but critical", "farther", "before", "after", "near", "later"},
		{"old but critical", "farther", "before", "at the breach", "after", "near", "later"},
		messages(Summarise(lines, at(0), time.Minute, 100)),
	} {
		c := Summarise(lines, at(0), time.Minute, n)
		require.Equal(t, want, messages(c), "max %d", n)
		require.Equal(t, len(lines), c.Total)
		require.NotNil(t, c.Lines)
	}
}

func TestSummariseIgnoresDatesFarAway(t *testing.T) {
	lines := []Syslog{
		{Time: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), Severity: "err"},
		{Time: time.Date(1754, 8, 30, 22, 43, 41, 0, time.UTC), Severity: "err"},
		logged(0, "err", "now"),
		{Time: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), Severity: "err"},
	}
	require.Equal(t, 1, Summarise(lines, at(0), time.Minute, 1).Total)
}

func TestSummariseIsBoundedAgainstHostileText(t *testing.T) {
	lines := make([]Syslog, 5000)
	nasty := []string{strings.Repeat("\x01", 60000), strings.Repeat("<&>", 20000), strings.Repeat("\xff", 60000),
		strings.Repeat("\u20ac", 20000), strings.Repeat(`"\`, 30000), strings.Repeat("\xff\x01", 30000)}
	for i := range lines {
		lines[i] = Syslog{Time: at(0), Severity: fmt.Sprint("made up ", i), App: nasty[i%len(nasty)], Message: nasty[i%len(nasty)]}
	}
	c := Summarise(lines, at(0), time.Minute, maxMaxLines)
	require.Equal(t, map[string]int{UnknownSeverity: len(lines)}, c.BySeverity)
	require.Len(t, c.Lines, maxMaxLines)
	for _, l := range c.Lines {
		require.True(t, utf8.ValidString(l.Message))
		require.True(t, strings.HasSuffix(l.Message, "...") || l.Message == string(utf8.RuneError))
	}
	text, err := json.Marshal(c)
	require.NoError(t, err)
	require.Less(t, len(text), 800<<10)
}

func TestCutKeepsWhatFits(t *testing.T) {
	require.Equal(t, strings.Repeat("x", maxMessageBytes), cut(strings.Repeat("x", maxMessageBytes), maxMessageBytes))
	require.Equal(t, strings.Repeat("x", maxMessageBytes-3)+"...", cut(strings.Repeat("x", maxMessageBytes+1), maxMessageBytes))
	require.Equal(t, "...", cut("\x01\x01", 6))
	require.Equal(t, "a...", cut("a\u20ac\u20ac", 6))
}

// TestSummariseAgainstTheObvious compares with the definition: sort by severity and distance, cut, sort by time.
func TestSummariseAgainstTheObvious(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 60).Draw(t, "lines")
		lines := make([]Syslog, n)
		for i := range lines {
			code := rapid.IntRange(0, 9).Draw(t, "severity")
			lines[i] = logged(float64(rapid.IntRange(-15, 15).Draw(t, "second")), SeverityName(code), "")
		}
		slices.SortStableFunc(lines, func(a, b Syslog) int { return a.Time.Compare(b.Time) })
		for i := range lines {
			lines[i].Message = fmt.Sprint(i)
		}
		within := time.Duration(rapid.IntRange(0, 12).Draw(t, "within")) * time.Second
		maxLines := rapid.IntRange(0, 30).Draw(t, "max")

		var inside []int
		bySeverity := map[string]int{}
		for i, l := range lines {
			if l.Time.Sub(at(0)).Abs() <= within {
				inside = append(inside, i)
				bySeverity[l.Severity]++
			}
		}
		total := len(inside)
		slices.SortStableFunc(inside, func(a, b int) int {
			if d := severityRank(lines[a].Severity) - severityRank(lines[b].Severity); d != 0 {
				return d
			}
			return int(lines[a].Time.Sub(at(0)).Abs() - lines[b].Time.Sub(at(0)).Abs())
		})
		inside = inside[:min(len(inside), maxLines)]
		got := Summarise(lines, at(0), within, maxLines)
		require.Equal(t, total, got.Total)
		require.Equal(t, bySeverity, got.BySeverity)
		require.Len(t, got.Lines, len(inside))
		require.True(t, slices.IsSortedFunc(got.Lines, func(a, b Line) int { return a.Time.Compare(b.Time) }))
		// Among equally severe lines at one distance any may be shown: compare what is telling, not the line number.
		score := func(severity string, when time.Time) string {
			return fmt.Sprint(severityRank(severity), when.Sub(at(0)).Abs())
		}
		var want, have []string
		for _, i := range inside {
			want = append(want, score(lines[i].Severity, lines[i].Time))
		}
		for _, l := range got.Lines {
			have = append(have, score(l.Severity, l.Time))
		}
		slices.Sort(want)
		slices.Sort(have)
		require.Equal(t, want, have)
	})
}

func BenchmarkSummarise(b *testing.B) {
	lines := make([]Syslog, 2000)
	for i := range lines {
		lines[i] = logged(float64(i-1000)/20, SeverityName(3+rand.IntN(5)), "GET /api/v1/orders 200 in 12 ms")
	}
	b.ReportAllocs()
	for b.Loop() {
		Summarise(lines, at(0), time.Minute, 20)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(lines)), "ns/line")
}
