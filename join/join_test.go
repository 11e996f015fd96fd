package join_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	lefts      = stream.Topic[string]{Name: "left", Partitions: 2, Codec: stream.String()}
	rights     = stream.Topic[string]{Name: "right", Partitions: 2, Codec: stream.String()}
	results    = stream.Topic[string]{Name: "results", Partitions: 2, Codec: stream.String()}
	lateLefts  = stream.Topic[string]{Name: "late-left", Partitions: 2, Codec: stream.String()}
	lateRights = stream.Topic[string]{Name: "late-right", Partitions: 2, Codec: stream.String()}
)

// at is a time in milliseconds, far enough from 1970 for windows to reach back.
func at(ms int) time.Time { return time.UnixMilli(1_000_000 + int64(ms)).UTC() }

func ms(t time.Time) int { return int(t.UnixMilli() - 1_000_000) }

func millis(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func pair(l, r string) string             { return l + "," + r }
func gather(l string, rs []string) string { return l + "[" + strings.Join(rs, " ") + "]" }

type verb int

const (
	inner verb = iota
	collectOnClose
	collectOnUpdate
)

func driver(t *testing.T, v verb, w join.Window) *processortest.Driver {
	t.Helper()
	b := processor.NewBuilder("join")
	l, r := processor.From(b, lefts), processor.From(b, rights)
	w.Name = "joined"
	var out join.Result[string, string, string]
	switch v {
	case inner:
		out = join.Inner(l, r, w, pair)
	case collectOnClose:
		out = join.Collect(l, r, w, gather)
	case collectOnUpdate:
		w.Emit = join.OnUpdate
		out = join.Collect(l, r, w, gather)
	}
	out.To(results)
	ll, lr := out.Late()
	ll.To(lateLefts)
	lr.To(lateRights)
	topology, err := b.Build()
	require.NoError(t, err)
	return processortest.New(t, topology)
}

func left(d *processortest.Driver, key, value string, t int) {
	processortest.Pipe(d, lefts, processor.Record[string]{Key: key, Value: value, Time: at(t)})
}

func right(d *processortest.Driver, key, value string, t int) {
	processortest.Pipe(d, rights, processor.Record[string]{Key: key, Value: value, Time: at(t)})
}

// read returns "value@time" of what a topic has got since the last time.
func read(d *processortest.Driver, topic stream.Topic[string]) []string {
	out := []string{}
	for _, r := range processortest.Read(d, topic) {
		out = append(out, fmt.Sprintf("%s@%d", r.Value, ms(r.Time)))
	}
	return out
}

// TestRule31_DocumentedTable is the inner part of the table in Kafka Streams' documentation: window 15, grace 5.
func TestRule31_DocumentedTable(t *testing.T) {
	d := driver(t, inner, join.Window{Within: millis(15), Grace: millis(5)})
	for _, step := range []struct {
		side  func(*processortest.Driver, string, string, int)
		value string
		time  int
		want  []string
	}{
		{left, "A", 3, nil},
		{right, "a", 4, []string{"A,a@4"}},
		{left, "B", 5, []string{"B,a@5"}},
		{right, "b", 6, []string{"A,b@6", "B,b@6"}},
		{left, "C", 9, []string{"C,a@9", "C,b@9"}},
		{right, "c", 10, []string{"A,c@10", "B,c@10", "C,c@10"}},
		{right, "d", 14, []string{"A,d@14", "B,d@14", "C,d@14"}},
		{left, "D", 15, []string{"D,a@15", "D,b@15", "D,c@15", "D,d@15"}},
		{left, "E", 40, nil},
		{left, "F", 60, nil},
		{right, "f", 80, nil},
		{left, "G", 100, nil},
	} {
		step.side(d, "k", step.value, step.time)
		require.Equal(t, append([]string{}, step.want...), read(d, results), "after %s", step.value)
		d.Crash()
	}
}

func TestRule11_BothEndsBelongToTheWindow(t *testing.T) {
	d := driver(t, inner, join.Window{Before: millis(10), After: millis(5), Grace: millis(100)})
	left(d, "k", "L", 50)
	for i, t := range []int{39, 40, 55, 56} {
		right(d, "k", fmt.Sprintf("r%d", i), t)
	}
	require.Equal(t, []string{"L,r1@50", "L,r2@55"}, read(d, results))
}

func TestD2_LateRowsAreNeitherJoinedNorKept(t *testing.T) {
	d := driver(t, inner, join.Window{Before: millis(10), After: millis(5), Grace: millis(3)})
	right(d, "k", "r", 100)
	left(d, "k", "just in time", 92) // 92 + 5 + 3 = 100
	left(d, "k", "late", 91)
	right(d, "k", "early enough", 87) // 87 + 10 + 3 = 100
	right(d, "k", "too late", 86)
	require.Equal(t, []string{"just in time,early enough@92"}, read(d, results))
	require.Equal(t, []string{"late@91"}, read(d, lateLefts))
	require.Equal(t, []string{"too late@86"}, read(d, lateRights))
}

func TestD1_RestartDoesNotOpenClosedWindows(t *testing.T) {
	d := driver(t, inner, join.Window{Within: millis(5)})
	right(d, "k", "r", 100)
	d.Crash()
	left(d, "k", "late", 94)
	require.Equal(t, []string{"late@94"}, read(d, lateLefts))
}

func TestD4_ClosedWindowsComeInOrderOfTimeBeforeTheRecordThatClosedThem(t *testing.T) {
	d := driver(t, collectOnClose, join.Window{Within: millis(10), Grace: millis(5)})
	left(d, "b", "second", 21)
	left(d, "a", "first", 20)
	left(d, "c", "third", 22)
	right(d, "a", "r", 30)
	require.Empty(t, read(d, results))
	// One record moves time past all three; it is in the window of none.
	p := stream.Partition("a", 2)
	for _, key := range []string{"a", "b", "c"} {
		if stream.Partition(key, 2) != p {
			right(d, key, "mover", 1000)
		}
	}
	right(d, "a", "mover", 1000)
	got := read(d, results)
	require.ElementsMatch(t, []string{"first[r]@20", "second[]@21", "third[]@22"}, got)
}

func TestCollectOnUpdateSpeaksAtOnceAndAgain(t *testing.T) {
	d := driver(t, collectOnUpdate, join.Window{Within: millis(10), Grace: millis(5)})
	right(d, "k", "r1", 15)
	left(d, "k", "L", 20)
	require.Equal(t, []string{"L[r1]@20"}, read(d, results))
	right(d, "k", "r3", 30)
	require.Equal(t, []string{"L[r1 r3]@20"}, read(d, results))
	d.Crash()
	right(d, "k", "r2", 16) // out of order, in its place
	require.Equal(t, []string{"L[r1 r2 r3]@20"}, read(d, results))
	right(d, "k", "outside", 31)
	require.Empty(t, read(d, results))
	right(d, "k", "mover", 36) // closes L: 20 + 10 + 5
	right(d, "k", "r4", 29)    // not late itself: 29 + 10 + 5 >= 36
	require.Empty(t, read(d, results), "a closed window gets nothing more")
}

func TestD8_D9_WindowAndHeadersTravelInTheRecord(t *testing.T) {
	b := processor.NewBuilder("headers")
	l, r := processor.From(b, lefts), processor.From(b, rights)
	var windows []processor.Window
	join.Inner(l, r, join.Window{Name: "j", Before: millis(10), After: millis(5), Grace: millis(3)}, pair).
		Peek(func(r processor.Record[string]) { windows = append(windows, r.Window) }).To(results)
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	processortest.Pipe(d, lefts, processor.Record[string]{Key: "k", Value: "L", Time: at(50), Headers: stream.Headers{"From": {"left"}}})
	d.Crash()
	processortest.Pipe(d, rights, processor.Record[string]{Key: "k", Value: "r", Time: at(52), Headers: stream.Headers{"From": {"right"}}})
	got := processortest.Read(d, results)
	require.Len(t, got, 1)
	require.Equal(t, "k", got[0].Key)
	require.Equal(t, "left", got[0].Headers.Get("From"))
	require.Equal(t, []processor.Window{{Start: at(40), End: at(55), Closes: at(58)}}, windows)
}

func TestD11_RecordsWithoutKeyFail(t *testing.T) {
	d := driver(t, inner, join.Window{Within: millis(5)})
	left(d, "", "L", 1)
	right(d, "", "r", 1)
	require.Empty(t, read(d, results))
	require.Len(t, d.DeadLetters(), 2)
}

func TestBuildReportsWindowsThatMakeNoSense(t *testing.T) {
	for want, w := range map[string]join.Window{
		"the name":                    {Within: 1},
		"either Within or Before":     {Name: "w", Within: 1, After: 1},
		"ends before it starts":       {Name: "w", Before: -2, After: 1},
		"grace must be zero":          {Name: "w", Within: 1, Grace: -1},
		"spans may be up to":          {Name: "w", Within: 1 << 62},
		"Emit must be OnClose or OnU": {Name: "w", Within: 1, Emit: 7},
	} {
		b := processor.NewBuilder("bad")
		join.Collect(processor.From(b, lefts), processor.From(b, rights), w, gather).To(results)
		_, err := b.Build()
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "join/join_test.go:")
		require.NotContains(t, err.Error(), "collect.go")
	}
}

// event is one record of a random history.
type event struct {
	key     string
	time    int
	value   string
	isRight bool
}

// model is the join by definition: every pair of records is looked at.
type model struct {
	before, after, grace int
	now                  map[int]int // stream time per partition
	done                 []event     // joined so far
	closedAt             map[string]bool
	results              map[verb][]string
	late                 []string
}

func (m *model) open(e event) int {
	if e.isRight {
		return max(m.before, 0) + m.grace
	}
	return max(m.after, 0) + m.grace
}

func (m *model) meet(l, r event) bool {
	return l.key == r.key && l.time-m.before <= r.time && r.time <= l.time+m.after
}

// rightsOf lists the right records of a left one in order of time, then of arrival.
func (m *model) rightsOf(l event) []string {
	var rs []event
	for _, r := range m.done {
		if r.isRight && m.meet(l, r) {
			rs = append(rs, r)
		}
	}
	sort.SliceStable(rs, func(i, j int) bool { return rs[i].time < rs[j].time })
	var values []string
	for _, r := range rs {
		values = append(values, r.value)
	}
	return values
}

func (m *model) advance(p, now int) {
	if old, ok := m.now[p]; ok && now <= old {
		return
	}
	m.now[p] = now
	for _, l := range m.done {
		if l.isRight || stream.Partition(l.key, 2) != p || m.closedAt[l.value] || l.time+m.open(l) >= now {
			continue
		}
		m.closedAt[l.value] = true
		m.results[collectOnClose] = append(m.results[collectOnClose], fmt.Sprintf("%s@%d", gather(l.value, m.rightsOf(l)), l.time))
	}
}

func (m *model) step(e event) {
	p := stream.Partition(e.key, 2)
	m.advance(p, e.time)
	if e.time+m.open(e) < m.now[p] {
		m.late = append(m.late, fmt.Sprintf("%s@%d", e.value, e.time))
		return
	}
	for _, o := range m.done {
		if e.isRight && !o.isRight && m.meet(o, e) {
			m.results[inner] = append(m.results[inner], fmt.Sprintf("%s@%d", pair(o.value, e.value), max(o.time, e.time)))
		}
		if !e.isRight && o.isRight && m.meet(e, o) {
			m.results[inner] = append(m.results[inner], fmt.Sprintf("%s@%d", pair(e.value, o.value), max(o.time, e.time)))
		}
	}
	m.done = append(m.done, e)
	update := func(l event) {
		m.results[collectOnUpdate] = append(m.results[collectOnUpdate], fmt.Sprintf("%s@%d", gather(l.value, m.rightsOf(l)), l.time))
	}
	if !e.isRight {
		update(e)
		return
	}
	for _, l := range m.done {
		if !l.isRight && !m.closedAt[l.value] && m.meet(l, e) {
			update(l)
		}
	}
}

// TestJoinsEqualTheModel runs random histories, out of order and with late records, through every verb, with and without
// crashes in between, and compares all results with those of the model.
func TestJoinsEqualTheModel(t *testing.T) {
	const cases = 1500
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	joined, late := 0, 0
	for range cases {
		before, after := rng.IntN(30)-8, rng.IntN(30)-8
		if before+after < 0 {
			before = -after
		}
		grace := rng.IntN(15)
		var history []event
		now := 50
		for i := range 4 + rng.IntN(25) {
			now += rng.IntN(8)
			history = append(history, event{
				key: []string{"a", "b", "c"}[rng.IntN(3)], time: max(now-rng.IntN(40), 0), value: fmt.Sprintf("v%d", i), isRight: rng.IntN(2) == 0,
			})
		}
		for v := inner; v <= collectOnUpdate; v++ {
			m := &model{before: before, after: after, grace: grace, now: map[int]int{}, closedAt: map[string]bool{}, results: map[verb][]string{}}
			d := driver(t, v, join.Window{Before: millis(before), After: millis(after), Grace: millis(grace)})
			crash := rng.IntN(3)
			for _, e := range history {
				m.step(e)
				if e.isRight {
					right(d, e.key, e.value, e.time)
				} else {
					left(d, e.key, e.value, e.time)
				}
				if crash > 0 && rng.IntN(crash+1) == 0 {
					d.Crash()
				}
			}
			for p := range 2 {
				m.advance(p, 1_000_000)
			}
			d.CloseAll()
			want, got := m.results[v], read(d, results)
			joined += len(got)
			lates := append(read(d, lateLefts), read(d, lateRights)...)
			late += len(lates)
			label := fmt.Sprintf("verb %d, before %d, after %d, grace %d, history %v", v, before, after, grace, history)
			require.ElementsMatch(t, m.late, lates, label)
			require.ElementsMatch(t, want, got, label)
			if v == collectOnUpdate {
				requireOrderPerLeft(t, want, got, label)
			}
		}
	}
	t.Logf("%d histories: %d results, %d late records", cases, joined, late)
}

// requireOrderPerLeft compares the results of each left record, in order.
func requireOrderPerLeft(t *testing.T, want, got []string, label string) {
	t.Helper()
	group := func(all []string) map[string][]string {
		m := map[string][]string{}
		for _, s := range all {
			l, _, _ := strings.Cut(s, "[")
			m[l] = append(m[l], s)
		}
		return m
	}
	w, g := group(want), group(got)
	for l := range w {
		require.True(t, slices.Equal(w[l], g[l]), "left %s: want %v, got %v; %s", l, w[l], g[l], label)
	}
}
