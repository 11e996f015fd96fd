package join_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

func TestRule11_BothEndsBelongToTheWindow(t *testing.T) {
	for name, c := range map[string]struct {
		before, after int
		want          []string
	}{
		"around":   {10, 5, []string{"L,r40@50", "L,r55@55"}},
		"behind":   {-1, 6, []string{"L,r55@55", "L,r56@56"}},
		"ahead":    {11, -10, []string{"L,r39@50", "L,r40@50"}},
		"one spot": {-5, 5, []string{"L,r55@55"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBench(t, inner, join.Window{Before: millis(c.before), After: millis(c.after), Grace: millis(100)}, 1)
			s.left("k", "L", 50)
			for _, at := range []int{39, 40, 55, 56} {
				s.right("k", fmt.Sprintf("r%d", at), at)
			}
			require.Equal(t, c.want, s.got())
		})
	}
}

func TestRule24_EachPairOnceInOrderOfTimeThenArrival(t *testing.T) {
	s := newBench(t, inner, join.Window{Within: millis(10), Grace: millis(10)}, 1)
	s.right("k", "r3", 3)
	s.right("k", "r1", 1)
	s.right("k", "r1b", 1)
	s.right("other", "x", 2)
	s.left("k", "L", 2)
	require.Equal(t, []string{"L,r1@2", "L,r1b@2", "L,r3@3"}, s.got())
	s.left("k", "L", 2) // an equal record is another one
	require.Equal(t, []string{"L,r1@2", "L,r1b@2", "L,r3@3"}, s.got())
	s.right("k", "r2", 2)
	require.Equal(t, []string{"L,r2@2", "L,r2@2"}, s.got())
}

func TestRule24_OneStreamMayBeBothSides(t *testing.T) {
	in := stream.Topic[string]{Name: "in", Codec: stream.String()}
	out := stream.Topic[string]{Name: "out", Codec: stream.String()}
	b := processor.NewBuilder("self")
	s := processor.From(b, in)
	join.Inner(s, s, join.Window{Name: "j", Within: millis(5)}, pair).To(out)
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	var got []string
	for i, v := range []string{"a", "b"} {
		processortest.Pipe(d, in, processor.Record[string]{Key: "k", Value: v, Time: at(i)})
	}
	for _, r := range processortest.Read(d, out) {
		got = append(got, r.Value)
	}
	require.ElementsMatch(t, []string{"a,a", "a,b", "b,a", "b,b"}, got)
}

// TestRule31_DocumentedTable is the inner part of the table in Kafka Streams' documentation: window 15, grace 5.
func TestRule31_DocumentedTable(t *testing.T) {
	s := newBench(t, inner, join.Window{Within: millis(15), Grace: millis(5)}, 1)
	for _, step := range []struct {
		side  func(key, value string, t int)
		value string
		time  int
		want  []string
	}{
		{s.left, "A", 3, nil},
		{s.right, "a", 4, []string{"A,a@4"}},
		{s.left, "B", 5, []string{"B,a@5"}},
		{s.right, "b", 6, []string{"A,b@6", "B,b@6"}},
		{s.left, "C", 9, []string{"C,a@9", "C,b@9"}},
		{s.right, "c", 10, []string{"A,c@10", "B,c@10", "C,c@10"}},
		{s.right, "d", 14, []string{"A,d@14", "B,d@14", "C,d@14"}},
		{s.left, "D", 15, []string{"D,a@15", "D,b@15", "D,c@15", "D,d@15"}},
		{s.left, "E", 40, nil},
		{s.left, "F", 60, nil},
		{s.right, "f", 80, nil},
		{s.left, "G", 100, nil},
	} {
		step.side("k", step.value, step.time)
		require.Equal(t, append([]string{}, step.want...), s.got(), "after %s", step.value)
		s.Crash()
	}
	require.Empty(t, s.late())
}

func TestD1_RestartChangesNothing(t *testing.T) {
	for v, want := range map[verb][]string{
		inner:           {"L,r1@20", "L,r2@22"},
		collectOnClose:  {"L[r1 r2]@20"},
		collectOnUpdate: {"L[r1]@20", "L[r1 r2]@20"},
	} {
		s := newBench(t, v, join.Window{Within: millis(5)}, 1)
		s.right("k", "r1", 18)
		s.Crash()
		s.left("k", "L", 20)
		s.Crash()
		s.right("k", "r2", 22)
		s.Crash()
		s.right("k", "mover", 100)
		s.Crash()
		require.Equal(t, want, s.got())
		s.left("k", "late", 94) // 94 + 5 < 100: closed before the restart, so closed behind it
		require.Equal(t, []string{"late@94"}, s.late())
		s.CloseAll()
		require.Empty(t, s.got())
	}
}

func TestD2_LateRowsAreNeitherJoinedNorKept(t *testing.T) {
	for v, want := range map[verb][]string{
		inner:           {"in time,good@92"},
		collectOnClose:  {"in time[good]@92"},
		collectOnUpdate: {"in time[]@92", "in time[good]@92"},
	} {
		s := newBench(t, v, join.Window{Before: millis(10), After: millis(5), Grace: millis(3)}, 1)
		s.right("other", "mover", 100)
		s.left("k", "in time", 92) // 92 + 5 + 3 = 100
		s.left("k", "late", 91)
		s.right("k", "good", 87) // 87 + 10 + 3 = 100
		s.right("k", "bad", 86)
		s.CloseAll()
		require.Equal(t, want, s.got())
		require.Equal(t, []string{"late@91", "bad@86"}, s.late())
	}
}

func TestD2_LateRecordsKeepKeyTimeAndHeaders(t *testing.T) {
	s := newBench(t, inner, join.Window{Within: millis(5)}, 2)
	s.left("k", "mover", 100)
	for _, topic := range []stream.Topic[string]{s.lefts, s.rights} {
		processortest.Pipe(s.Driver, topic, processor.Record[string]{
			Key: "k", Value: "v", Time: at(1), Headers: stream.Headers{"From": {"me"}},
		})
	}
	for _, topic := range []stream.Topic[string]{s.lateLefts, s.lateRights} {
		late := processortest.Read(s.Driver, topic)
		require.Len(t, late, 1)
		require.Equal(t, "k", late[0].Key)
		require.Equal(t, "v", late[0].Value)
		require.True(t, at(1).Equal(late[0].Time))
		require.Equal(t, "me", late[0].Headers.Get("From"))
	}
}

func TestD2_RecordsInOrderAreNeverLate(t *testing.T) {
	s := newBench(t, inner, join.Window{Before: millis(10), After: millis(-5)}, 1)
	s.right("k", "r", 100)
	s.left("k", "L", 106) // its window ended at 101, which is what After asks for
	require.Equal(t, []string{"L,r@106"}, s.got())
	require.Empty(t, s.late())
}

func TestD3_NothingIsSaidToBeMissingBeforeTheWindowHasClosed(t *testing.T) {
	s := newBench(t, collectOnClose, join.Window{Within: millis(10), Grace: millis(5)}, 1)
	s.left("k", "alone", 20)
	s.left("k", "late partner", 10)
	s.right("other", "mover", 25) // 10 + 10 + 5: the last instant at which a partner may come
	require.Empty(t, s.got())
	s.right("k", "r", 10)
	s.right("other", "mover", 26)
	require.Equal(t, []string{"late partner[r]@10"}, s.got())
	s.AdvanceTime(at(35))
	require.Equal(t, []string{}, s.got())
	s.AdvanceTime(at(36)) // what CloseOnIdle does
	require.Equal(t, []string{"alone[r]@20"}, s.got())
}

func TestD4_ClosedWindowsComeInOrderOfTimeBeforeTheRecordThatClosedThem(t *testing.T) {
	s := newBench(t, collectOnClose, join.Window{Within: millis(10), Grace: millis(5)}, 1)
	s.left("b", "second", 21)
	s.left("c", "third", 22)
	s.left("a", "first", 20)
	s.left("b", "second too", 21)
	s.right("b", "r", 30)
	s.right("b", "mover", 1000)
	require.Equal(t, []string{"first[]@20", "second[r]@21", "second too[r]@21", "third[]@22"}, s.got())
}

func TestD8_D9_WindowAndLeftHeadersTravelInTheRecord(t *testing.T) {
	for v, want := range map[verb]string{
		inner:           "L,r@52 in 40..55 until 58 from left",
		collectOnClose:  "L[r]@50 in 40..55 until 58 from left",
		collectOnUpdate: "L[r]@50 in 40..55 until 58 from left",
	} {
		s := newBench(t, v, join.Window{Before: millis(10), After: millis(5), Grace: millis(3)}, 1)
		processortest.Pipe(s.Driver, s.lefts, processor.Record[string]{Key: "k", Value: "L", Time: at(50), Headers: stream.Headers{"From": {"left"}}})
		s.Crash()
		s.shown()
		processortest.Pipe(s.Driver, s.rights, processor.Record[string]{Key: "k", Value: "r", Time: at(52), Headers: stream.Headers{"From": {"right"}}})
		s.CloseAll()
		require.Equal(t, []string{want}, s.shown())
	}
}

func TestD10_OnUpdateSpeaksAtOnceAndAgain(t *testing.T) {
	s := newBench(t, collectOnUpdate, join.Window{Within: millis(10), Grace: millis(5)}, 1)
	s.right("k", "r1", 15)
	s.left("k", "L", 20)
	require.Equal(t, []string{"L[r1]@20"}, s.got())
	s.right("k", "r3", 30)
	require.Equal(t, []string{"L[r1 r3]@20"}, s.got())
	s.Crash()
	s.right("k", "r2", 16) // out of order, in its place
	require.Equal(t, []string{"L[r1 r2 r3]@20"}, s.got())
	s.right("k", "outside", 31)
	require.Empty(t, s.got())
	s.left("k", "K", 19)
	s.left("k", "M", 26)
	require.Equal(t, []string{"K[r1 r2]@19", "M[r2 r3 outside]@26"}, s.got())
	s.right("k", "r4", 24) // all that it belongs to, in order of time
	require.Equal(t, []string{"K[r1 r2 r4]@19", "L[r1 r2 r4 r3]@20", "M[r2 r4 r3 outside]@26"}, s.got())
	s.right("other", "mover", 36) // closes L: 20 + 10 + 5
	s.right("k", "r5", 25)        // not late itself: 25 + 10 + 5 >= 36
	require.Equal(t, []string{"M[r2 r4 r5 r3 outside]@26"}, s.got(), "a closed window gets nothing more")
	s.CloseAll()
	require.Empty(t, s.got(), "closing says nothing new")
	require.Empty(t, s.late())
}

func TestD11_RecordsWithoutKeyFail(t *testing.T) {
	for v := inner; v <= collectOnUpdate; v++ {
		s := newBench(t, v, join.Window{Within: millis(5)}, 1)
		s.left("", "L", 1)
		s.right("", "r", 1)
		s.CloseAll()
		require.Empty(t, s.got())
		dead := s.DeadLetters()
		require.Len(t, dead, 2)
		for _, letter := range dead {
			require.Contains(t, letter.Headers.Get(processor.DeadError), "no key")
			require.Contains(t, letter.Headers.Get(processor.DeadOperator), "process joined (join/harness_test.go:")
		}
	}
}

// TestPoisonousPairHarmsOnlyItself has a joiner that panics for one of several left records.
func TestPoisonousPairHarmsOnlyItself(t *testing.T) {
	in := [2]stream.Topic[string]{{Name: "l", Codec: stream.String()}, {Name: "r", Codec: stream.String()}}
	out := stream.Topic[string]{Name: "out", Codec: stream.String()}
	toxic := func(l string) string {
		if l == "bad" {
			panic("toxic")
		}
		return l
	}
	w := join.Window{Name: "j", Within: millis(5), Grace: millis(5)}
	for v := inner; v <= collectOnUpdate; v++ {
		b := processor.NewBuilder("poison")
		l, r := processor.From(b, in[0]), processor.From(b, in[1])
		switch v {
		case inner:
			join.Inner(l, r, w, func(l, r string) string { return pair(toxic(l), r) }).To(out)
		case collectOnUpdate:
			w.Emit = join.OnUpdate
			fallthrough
		default:
			join.Collect(l, r, w, func(l string, rs []string) string { return gather(toxic(l), rs) }).To(out)
		}
		topology, err := b.Build()
		require.NoError(t, err)
		d := processortest.New(t, topology)
		for _, value := range []string{"a", "bad", "c"} {
			processortest.Pipe(d, in[0], processor.Record[string]{Key: "k", Value: value, Time: at(10)})
		}
		processortest.Read(d, out)
		d.DeadLetters()
		processortest.Pipe(d, in[1], processor.Record[string]{Key: "k", Value: "r", Time: at(12)})
		d.CloseAll()
		var got []string
		for _, r := range processortest.Read(d, out) {
			got = append(got, r.Value)
		}
		if v == inner {
			require.Equal(t, []string{"a,r", "c,r"}, got)
		} else {
			require.Equal(t, []string{"a[r]", "c[r]"}, got)
		}
		dead := d.DeadLetters()
		require.Len(t, dead, 1)
		require.Contains(t, dead[0].Headers.Get(processor.DeadError), `the left record of key "k" at 1970-01-01T00:16:40.01Z: panic: toxic`)
		require.Contains(t, dead[0].Headers.Get(processor.DeadStack), "rules_test.go")
	}
}

// TestWindowsBeyondTheEndOfTime has a left record whose window closes behind the last event time there is.
func TestWindowsBeyondTheEndOfTime(t *testing.T) {
	s := newBench(t, collectOnClose, join.Window{Within: 48 * time.Hour}, 1)
	last := time.Date(2261, 12, 31, 0, 0, 0, 0, time.UTC)
	processortest.Pipe(s.Driver, s.lefts, processor.Record[string]{Key: "k", Value: "L", Time: last})
	require.Len(t, s.DeadLetters(), 1)
	s.CloseAll()
	require.Empty(t, s.got())
	require.NoError(t, s.Err())
}
