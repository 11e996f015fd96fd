package processor_test

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// aggCase is an aggregation that joins the values of a window with dots, and its model.
type aggCase struct {
	windows    processor.Windows
	grace      int
	emit       processor.Emit
	model      func(c aggCase, history []aggEvent) (results, late []string)
	size, step int // of the model
}

type aggEvent struct {
	key, value string
	at         int // milliseconds; below 0: a crash
}

var (
	aggIn   = stream.Topic[string]{Name: "in", Codec: stream.String()}
	aggOut  = stream.Topic[string]{Name: "out", Codec: stream.String()}
	aggLate = stream.Topic[string]{Name: "late", Codec: stream.String()}
)

func aggMillis(t time.Time) int64 { return t.UnixMilli() }

// run gives the history to a real aggregation and returns every change, and what was late.
func (c aggCase) run(t require.TestingT, tb testing.TB, history []aggEvent) (results, late []string) {
	b := processor.NewBuilder("agg")
	out := processor.Aggregate(processor.From(b, aggIn), processor.Aggregation[string, string]{
		Name: "joined", Init: func() string { return "" }, Add: func(a, v string) string { return a + "." + v },
		Merge: func(a, b string) string { return a + b }, Windows: c.windows, Grace: time.Duration(c.grace) * time.Millisecond, Emit: c.emit,
	})
	processor.Process(out.Changes(), "show", func(ctx *processor.Context[string]) processor.Handler[processor.Change[string]] {
		return processor.Handler[processor.Change[string]]{Record: func(r processor.Record[processor.Change[string]]) error {
			ctx.Forward(processor.With(r, showChange(r)))
			return nil
		}}
	}).To(aggOut)
	out.Late().To(aggLate)
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(tb, topology)
	for _, e := range history {
		if e.at < 0 {
			d.Crash()
			continue
		}
		processortest.Pipe(d, aggIn, processor.Record[string]{Key: e.key, Value: e.value, Time: time.UnixMilli(int64(e.at))})
	}
	d.CloseAll()
	require.NoError(t, d.Err())
	require.Empty(t, d.DeadLetters())
	results, late = []string{}, []string{}
	for _, r := range processortest.Read(d, aggOut) {
		results = append(results, r.Value)
	}
	for _, r := range processortest.Read(d, aggLate) {
		late = append(late, fmt.Sprintf("%s%s@%d", r.Key, r.Value, aggMillis(r.Time)))
	}
	return results, late
}

func showChange(r processor.Record[processor.Change[string]]) string {
	text := func(s *string) string {
		if s == nil {
			return "nil"
		}
		return *s
	}
	return showAgg(r.Key, text(r.Value.Old), text(r.Value.New), aggMillis(r.Time), aggMillis(r.Window.Start), aggMillis(r.Window.End))
}

func showAgg(key, old, now string, at, start, end int64) string {
	return fmt.Sprintf("%s %s -> %s @%d [%d %d]", key, old, now, at, start, end)
}

// aggWindow is a window of a model.
type aggWindow struct {
	key        string
	start, end int
	values     string
	latest     int
	told       bool
}

// closeAll emits the windows that have closed, in the order of their end, then of keys.
func closeAll(windows []*aggWindow, closed func(*aggWindow) bool, show func(*aggWindow)) {
	var due []*aggWindow
	for _, w := range windows {
		if !w.told && closed(w) {
			due = append(due, w)
		}
	}
	slices.SortFunc(due, func(a, b *aggWindow) int { return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.key, b.key)) })
	for _, w := range due {
		w.told = true
		show(w)
	}
}

// modelHopping is the definition of tumbling and hopping windows.
func modelHopping(c aggCase, history []aggEvent) (results, late []string) {
	results, late = []string{}, []string{}
	var all []*aggWindow
	now := -1
	tell := func(w *aggWindow) {
		results = append(results, showAgg(w.key, "nil", w.values, int64(w.latest), int64(w.start), int64(w.end)))
	}
	tellClosed := func() {
		if c.emit == processor.OnClose {
			closeAll(all, func(w *aggWindow) bool { return w.end+c.grace <= now }, tell)
		}
	}
	for _, e := range history {
		if e.at < 0 {
			continue
		}
		now = max(now, e.at)
		tellClosed()
		isLate := true
		for start := 0; start <= e.at; start += c.step {
			end := start + c.size
			if e.at >= end || end+c.grace <= now {
				continue
			}
			isLate = false
			i := slices.IndexFunc(all, func(w *aggWindow) bool { return w.key == e.key && w.start == start })
			if i < 0 {
				i = len(all)
				all = append(all, &aggWindow{key: e.key, start: start, end: end})
			}
			w, old := all[i], "nil"
			if w.values != "" {
				old = w.values
			}
			w.values, w.latest = w.values+"."+e.value, max(w.latest, e.at)
			if c.emit == processor.OnUpdate {
				results = append(results, showAgg(e.key, old, w.values, int64(w.latest), int64(start), int64(end)))
			}
		}
		if isLate {
			late = append(late, fmt.Sprintf("%s%s@%d", e.key, e.value, e.at))
		}
	}
	now = 1 << 40
	tellClosed()
	return results, late
}

// modelSession is the definition of sessions.
func modelSession(c aggCase, history []aggEvent) (results, late []string) {
	results, late = []string{}, []string{}
	var all []*aggWindow
	now := -1
	tellClosed := func() {
		closed := func(w *aggWindow) bool { return w.end+c.size+c.grace < now }
		if c.emit == processor.OnClose {
			closeAll(all, closed, func(w *aggWindow) {
				results = append(results, showAgg(w.key, "nil", w.values, int64(w.end), int64(w.start), int64(w.end)))
			})
		}
		all = slices.DeleteFunc(all, closed)
	}
	for _, e := range history {
		if e.at < 0 {
			continue
		}
		now = max(now, e.at)
		tellClosed()
		merged := &aggWindow{key: e.key, start: e.at, end: e.at}
		near := []*aggWindow{}
		for _, w := range all {
			if w.key == e.key && w.start <= e.at+c.size && e.at-c.size <= w.end {
				near = append(near, w)
				merged.start, merged.end = min(merged.start, w.start), max(merged.end, w.end)
			}
		}
		if merged.end+c.size+c.grace < now {
			late = append(late, fmt.Sprintf("%s%s@%d", e.key, e.value, e.at))
			continue
		}
		sort.Slice(near, func(i, j int) bool { return near[i].start < near[j].start })
		old := "nil"
		for _, w := range near {
			merged.values += w.values
			if merged.start == merged.end {
				old = w.values
			} else if c.emit == processor.OnUpdate {
				results = append(results, showAgg(w.key, w.values, "nil", int64(w.end), int64(w.start), int64(w.end)))
			}
			all = slices.DeleteFunc(all, func(o *aggWindow) bool { return o == w })
		}
		merged.values += "." + e.value
		all = append(all, merged)
		if c.emit == processor.OnUpdate {
			results = append(results, showAgg(e.key, old, merged.values, int64(merged.end), int64(merged.start), int64(merged.end)))
		}
	}
	now = 1 << 40
	tellClosed()
	return results, late
}

func drawAggHistory(rt *rapid.T) []aggEvent {
	now, n := 5, 0
	one := rapid.Custom(func(rt *rapid.T) aggEvent {
		n++
		if rapid.IntRange(0, 5).Draw(rt, "crash") == 0 {
			return aggEvent{at: -1}
		}
		now += rapid.IntRange(0, 8).Draw(rt, "step")
		lag := rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 10), rapid.IntRange(0, 60)).Draw(rt, "lag")
		return aggEvent{key: rapid.SampledFrom([]string{"a", "a", "b"}).Draw(rt, "key"), value: fmt.Sprint(n), at: max(now-lag, 0)}
	})
	return rapid.SliceOfN(one, 1, 25).Draw(rt, "history")
}

func testAgg(t *testing.T, draw func(rt *rapid.T) aggCase) {
	t.Parallel()
	results, late := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		c, history := draw(rt), drawAggHistory(rt)
		c.emit = rapid.SampledFrom([]processor.Emit{processor.OnUpdate, processor.OnClose}).Draw(rt, "emit")
		c.grace = rapid.IntRange(0, 20).Draw(rt, "grace")
		wantResults, wantLate := c.model(c, history)
		gotResults, gotLate := c.run(rt, t, history)
		require.Equal(rt, wantResults, gotResults)
		require.Equal(rt, wantLate, gotLate)
		results += len(gotResults)
		late += len(gotLate)
	})
	t.Logf("%d results, %d late records", results, late)
	require.NotZero(t, results)
	require.NotZero(t, late)
}

func TestTumblingEqualsItsModel(t *testing.T) {
	testAgg(t, func(rt *rapid.T) aggCase {
		size := rapid.IntRange(1, 30).Draw(rt, "size")
		return aggCase{windows: processor.Tumbling(time.Duration(size) * time.Millisecond), model: modelHopping, size: size, step: size}
	})
}

func TestHoppingEqualsItsModel(t *testing.T) {
	testAgg(t, func(rt *rapid.T) aggCase {
		size := rapid.IntRange(1, 30).Draw(rt, "size")
		step := rapid.IntRange(max(1, size/5), size).Draw(rt, "advance")
		return aggCase{windows: processor.Hopping(time.Duration(size)*time.Millisecond, time.Duration(step)*time.Millisecond), model: modelHopping, size: size, step: step}
	})
}

func TestSessionEqualsItsModel(t *testing.T) {
	testAgg(t, func(rt *rapid.T) aggCase {
		gap := rapid.IntRange(0, 15).Draw(rt, "gap")
		return aggCase{windows: processor.Session(time.Duration(gap) * time.Millisecond), model: modelSession, size: gap}
	})
}

// TestSlidingEqualsItsDefinition compares the final results with the sets of records that are at most d apart.
func TestSlidingEqualsItsDefinition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		d := rapid.IntRange(0, 30).Draw(rt, "difference")
		c := aggCase{windows: processor.Sliding(time.Duration(d) * time.Millisecond), grace: 10_000, emit: processor.OnClose}
		history := drawAggHistory(rt)
		got, late := c.run(rt, t, history)
		require.Empty(rt, late)
		sorted := func(values string) string {
			list := strings.Split(values, ".")
			slices.Sort(list)
			return strings.Join(list, ".")
		}
		want := map[string]bool{}
		for _, e := range history {
			if e.at < 0 {
				continue
			}
			for _, start := range []int{max(e.at-d, 0), e.at + 1} {
				values, latest := "", 0
				for _, o := range history {
					if o.at >= start && o.at <= start+d && o.key == e.key {
						values, latest = values+"."+o.value, max(latest, o.at)
					}
				}
				if values != "" {
					want[showAgg(e.key, "nil", sorted(values), int64(latest), int64(start), int64(start+d))] = true
				}
			}
		}
		have := map[string]bool{}
		for _, g := range got {
			fields := strings.Fields(g)
			fields[3] = sorted(fields[3])
			have[strings.Join(fields, " ")] = true
		}
		require.Len(rt, have, len(got), "each window once")
		require.Equal(rt, want, have)
	})
}
