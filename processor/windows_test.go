package processor_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// windowsOf counts one record at a time, and returns the windows of the results.
func windowsOf(t *testing.T, w processor.Windows, times ...time.Time) []processor.Window {
	t.Helper()
	b := processor.NewBuilder("app")
	out := processor.Count(processor.From(b, aggIn), processor.Counting{Name: "n", Windows: w, Grace: 24 * time.Hour})
	var got []processor.Window
	processor.Process(out, "look", func(*processor.Context[int64]) processor.Handler[int64] {
		return processor.Handler[int64]{Record: func(r processor.Record[int64]) error {
			got = append(got, r.Window)
			return nil
		}}
	}).To(stream.Topic[int64]{Name: "counts"})
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	for _, at := range times {
		processortest.Pipe(d, aggIn, processor.Record[string]{Key: "k", Value: "v", Time: at})
	}
	require.Empty(t, d.DeadLetters())
	return got
}

func place(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	require.NoError(t, err)
	return loc
}

func TestCalendarWindows(t *testing.T) {
	berlin, paulo := place(t, "Europe/Berlin"), place(t, "America/Sao_Paulo")
	for name, c := range map[string]struct {
		windows    processor.Windows
		at         string
		start, end string
	}{
		"a day in UTC":                        {processor.Daily(nil), "2026-03-29T23:59:59.999Z", "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"},
		"the day starts with its midnight":    {processor.Daily(nil), "2026-03-29T00:00:00Z", "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"},
		"a day of 23 hours":                   {processor.Daily(berlin), "2026-03-29T10:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		"a day of 25 hours":                   {processor.Daily(berlin), "2026-10-25T10:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		"a day without midnight":              {processor.Daily(paulo), "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
		"the day before it":                   {processor.Daily(paulo), "2018-11-04T02:59:59Z", "2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z"},
		"a day with two hours before its end": {processor.Daily(paulo), "2018-02-18T02:30:00Z", "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z"},
		"a week from Monday":                  {processor.Weekly(berlin, time.Monday), "2026-11-22T22:59:59Z", "2026-11-15T23:00:00Z", "2026-11-22T23:00:00Z"},
		"a week from Sunday":                  {processor.Weekly(berlin, time.Sunday), "2026-11-22T22:59:59Z", "2026-11-21T23:00:00Z", "2026-11-28T23:00:00Z"},
		"a month":                             {processor.Monthly(nil), "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		"the last month of a year":            {processor.Monthly(berlin), "2026-12-31T22:59:00Z", "2026-11-30T23:00:00Z", "2026-12-31T23:00:00Z"},
		"the day on which 1970 began":         {processor.Daily(berlin), "1970-01-01T00:00:01Z", "1969-12-31T23:00:00Z", "1970-01-01T23:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, c.at)
			require.NoError(t, err)
			got := windowsOf(t, c.windows, at)
			require.Len(t, got, 1)
			require.Equal(t, c.start, got[0].Start.Format(time.RFC3339))
			require.Equal(t, c.end, got[0].End.Format(time.RFC3339))
		})
	}
}

// TestCalendarWindowsFollowOnOneAnother: every instant is in one window, and where it ends the next one starts.
func TestCalendarWindowsFollowOnOneAnother(t *testing.T) {
	places := []*time.Location{nil, place(t, "Europe/Berlin"), place(t, "America/Sao_Paulo"), place(t, "Australia/Lord_Howe"), place(t, "Asia/Gaza"), place(t, "Pacific/Apia")}
	rapid.Check(t, func(rt *rapid.T) {
		loc := rapid.SampledFrom(places).Draw(rt, "place")
		w := rapid.SampledFrom([]processor.Windows{processor.Daily(loc), processor.Weekly(loc, time.Wednesday), processor.Monthly(loc)}).Draw(rt, "windows")
		at := time.Unix(rapid.Int64Range(86400, 2_000_000_000).Draw(rt, "at"), 0)
		got := windowsOf(t, w, at)
		require.Len(rt, got, 1)
		require.False(rt, at.Before(got[0].Start), "%v is before %v", at, got[0])
		require.True(rt, at.Before(got[0].End), "%v is behind %v", at, got[0])
		next := windowsOf(t, w, got[0].End, got[0].End.Add(-1))
		require.Equal(rt, got[0].End, next[0].Start)
		require.Equal(rt, got[0], next[1])
	})
}

func TestRule8_HoppingWindowsStartAtMultiplesOfTheAdvance(t *testing.T) {
	var starts []int64
	for _, w := range windowsOf(t, processor.Hopping(10*time.Millisecond, 4*time.Millisecond), time.UnixMilli(13)) {
		require.Equal(t, 10*time.Millisecond, w.End.Sub(w.Start))
		starts = append(starts, w.Start.UnixMilli())
	}
	require.Equal(t, []int64{4, 8, 12}, starts)
}

func TestAJumpOfTimeCostsNothingPerWindow(t *testing.T) {
	got := windowsOf(t, processor.Tumbling(time.Nanosecond), time.Unix(1, 0), time.Unix(1_000_000_000, 0))
	require.Len(t, got, 2)
}

func TestMaxLengthEndsASession(t *testing.T) {
	at := func(ms ...int64) []time.Time {
		var times []time.Time
		for _, m := range ms {
			times = append(times, time.UnixMilli(m))
		}
		return times
	}
	show := func(windows []processor.Window) [][2]int64 {
		var out [][2]int64
		for _, w := range windows {
			out = append(out, [2]int64{w.Start.UnixMilli(), w.End.UnixMilli()})
		}
		return out
	}
	w := processor.Session(5 * time.Millisecond).MaxLength(8 * time.Millisecond)
	require.Equal(t, [][2]int64{{0, 0}, {0, 4}, {0, 8}, {9, 9}, {9, 12}}, show(windowsOf(t, w, at(0, 4, 8, 9, 12)...)), "a session that would be too long begins anew")
	require.Equal(t, [][2]int64{{0, 0}, {10, 10}, {0, 5}, {10, 10}}, show(windowsOf(t, w, at(0, 10, 5, 10)...)), "a bridge that is too long joins the earlier one")
	require.Equal(t, [][2]int64{{0, 0}, {0, 5}, {15, 15}, {10, 15}}, show(windowsOf(t, w, at(0, 5, 15, 10)...)), "or the later one")
}

func TestBuildReportsAggregationsThatMakeNoSense(t *testing.T) {
	for want, c := range map[string]processor.Counting{
		"the size of the windows must be":    {Name: "n", Windows: processor.Tumbling(0)},
		"the advance of the windows must":    {Name: "n", Windows: processor.Hopping(2, 3)},
		"more than zero and not more":        {Name: "n", Windows: processor.Hopping(2, 0)},
		"the grace must be from 0s":          {Name: "n", Windows: processor.Tumbling(1), Grace: -1},
		"the gap of sessions must be":        {Name: "n", Windows: processor.Session(math.MaxInt64)},
		"must be whole milliseconds":         {Name: "n", Windows: processor.Sliding(1)},
		"must be a weekday":                  {Name: "n", Windows: processor.Weekly(nil, 7)},
		"without windows nothing is late":    {Name: "n", Grace: 1},
		"without windows nothing ever close": {Name: "n", Emit: processor.OnClose},
		"Emit must be OnUpdate or OnClose":   {Name: "n", Emit: 7},
		"MaxLength is for sessions":          {Name: "n", Windows: processor.Tumbling(1).MaxLength(1)},
		"MaxLength must be zero or more":     {Name: "n", Windows: processor.Session(1).MaxLength(-1)},
	} {
		b := processor.NewBuilder("bad")
		processor.Count(processor.From(b, aggIn), c).To(stream.Topic[int64]{Name: "n"})
		_, err := b.Build()
		require.ErrorIs(t, err, processor.ErrTopology)
		require.ErrorContains(t, err, "Count n: ")
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "processor/windows_test.go:")
	}
	b := processor.NewBuilder("bad")
	in := processor.From(b, aggIn)
	processor.Aggregate(in, processor.Aggregation[string, int]{Name: "a", Init: func() int { return 0 }}).To(stream.Topic[int]{Name: "a"})
	processor.Reduce(in, processor.Reduction[string]{Name: "r"}).To(stream.Topic[string]{Name: "r"})
	processor.Aggregate(in, processor.Aggregation[string, int]{
		Name: "s", Init: func() int { return 0 }, Add: func(n int, _ string) int { return n }, Windows: processor.Session(1),
	}).To(stream.Topic[int]{Name: "s"})
	_, err := b.Build()
	require.ErrorContains(t, err, "Aggregate a: a function is missing")
	require.ErrorContains(t, err, "Reduce r: a function is missing")
	require.ErrorContains(t, err, "Aggregate s: sessions need Merge")
}

func TestReduceAndCoGroup(t *testing.T) {
	numbers := stream.Topic[int]{Name: "numbers"}
	sums, both := stream.Topic[int]{Name: "sums"}, stream.Topic[string]{Name: "both", Codec: stream.String()}
	b := processor.NewBuilder("app")
	n, s := processor.From(b, numbers), processor.From(b, aggIn)
	processor.Reduce(n, processor.Reduction[int]{Name: "max", Add: func(a, b int) int { return max(a, b) }}).To(sums)
	processor.CoGroup(processor.CoGrouping[string]{Name: "both", Init: func() string { return "+" }},
		processor.Adding(n, func(a string, v int) string { return a + string(rune('0'+v)) }),
		processor.Adding(s, func(a, v string) string { return a + v }),
	).To(both)
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	for i, v := range []int{3, 7, 5} {
		processortest.Pipe(d, numbers, processor.Record[int]{Key: "k", Value: v, Time: time.UnixMilli(int64(10 - i))})
		d.Crash()
		processortest.Pipe(d, aggIn, processor.Record[string]{Key: "k", Value: "a", Time: time.UnixMilli(4)})
	}
	values := func(topic stream.Topic[string]) (out []string) {
		for _, r := range processortest.Read(d, topic) {
			require.Equal(t, time.UnixMilli(10).UTC(), r.Time, "the highest time")
			out = append(out, r.Value)
		}
		return out
	}
	require.Equal(t, []string{"+3", "+3a", "+3a7", "+3a7a", "+3a7a5", "+3a7a5a"}, values(both))
	var got []int
	for _, r := range processortest.Read(d, sums) {
		got = append(got, r.Value)
	}
	require.Equal(t, []int{3, 7, 7}, got)
}

func TestLateOfCoGroup(t *testing.T) {
	late := stream.Topic[any]{Name: "late"}
	b := processor.NewBuilder("app")
	numbers := stream.Topic[int]{Name: "numbers"}
	out := processor.CoGroup(processor.CoGrouping[int]{Name: "n", Init: func() int { return 0 }, Windows: processor.Tumbling(time.Millisecond)},
		processor.Adding(processor.From(b, numbers), func(a, v int) int { return a + v }),
		processor.Adding(processor.From(b, aggIn), func(a int, _ string) int { return a + 1 }))
	out.To(stream.Topic[int]{Name: "out"})
	out.Late().To(late)
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	processortest.Pipe(d, numbers, processor.Record[int]{Key: "k", Value: 1, Time: time.UnixMilli(100)})
	processortest.Pipe(d, aggIn, processor.Record[string]{Key: "k", Value: "old", Time: time.UnixMilli(1)})
	got := processortest.Read(d, late)
	require.Len(t, got, 1)
	require.Equal(t, "old", got[0].Value)
}
