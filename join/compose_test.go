package join_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// text is a topic of strings.
func text(name string) stream.Topic[string] {
	return stream.Topic[string]{Name: name, Codec: stream.String()}
}

// TestASelfJoinGivesEachPairBothWays shows what a stream that is joined with itself gives: each pair twice, once either way, and each
// record with itself; and how a joiner that knows its records apart leaves one of each pair.
func TestASelfJoinGivesEachPairBothWays(t *testing.T) {
	b := processor.NewBuilder("self")
	in := processor.From(b, text("in"))
	all := join.Inner(in, in, join.Window{Name: "all", Within: millis(5)}, pair)
	all.To(text("all"))
	all.Filter(func(p string) bool { return p[0] < p[2] }).To(text("once"))
	join.Left(in, in, join.Window{Name: "next", Before: -1, After: millis(5)}, func(l string, r *string) string { return pair(l, orNull(r)) }).
		To(text("next"))
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	for i, v := range []string{"a", "b", "c"} {
		processortest.Pipe(d, text("in"), processor.Record[string]{Key: "k", Value: v, Time: at(i * 4)})
		d.Crash()
	}
	d.CloseAll()
	values := func(topic string) (values []string) {
		for _, r := range processortest.Read(d, text(topic)) {
			values = append(values, r.Value)
		}
		return values
	}
	require.Equal(t, []string{"a,a", "a,b", "b,a", "b,b", "b,c", "c,b", "c,c"}, sorted(values("all")))
	require.Equal(t, []string{"a,b", "b,c"}, values("once"))
	require.Equal(t, []string{"a,b", "b,c", "c,null"}, values("next"), "a window that begins behind the record leaves the record itself out")
}

// TestThreeStreamsMeet joins what a join has given with a third stream, whichever record comes last.
func TestThreeStreamsMeet(t *testing.T) {
	for _, order := range []string{"abc", "acb", "bac", "bca", "cab", "cba"} {
		t.Run(order, func(t *testing.T) {
			b := processor.NewBuilder("three")
			w := join.Window{Name: "ab", Within: millis(10), Grace: millis(10)}
			ab := join.Inner(processor.From(b, text("a")), processor.From(b, text("b")), w, pair)
			w.Name = "abc"
			join.Inner(ab, processor.From(b, text("c")), w, pair).To(text("out"))
			topology, err := b.Build()
			require.NoError(t, err)
			d := processortest.New(t, topology)
			for _, topic := range order {
				name := string(topic)
				processortest.Pipe(d, text(name), processor.Record[string]{Key: "k", Value: name, Time: at(int(topic - 'a'))})
				d.Crash()
			}
			results := processortest.Read(d, text("out"))
			require.Len(t, results, 1)
			require.Equal(t, "a,b,c", results[0].Value)
			require.Equal(t, 2, ms(results[0].Time), "the latest of the three")
		})
	}
}

// TestAJoinBehindOneThatWaits: what Collect says of a record it says when the window has closed. The next join takes it if its own
// window is open for longer.
func TestAJoinBehindOneThatWaits(t *testing.T) {
	for name, c := range map[string]struct {
		grace time.Duration
		want  []string
		late  int
	}{
		"as long: late":           {millis(13), nil, 1},
		"a moment longer: joined": {millis(13) + 1, []string{"L[r],owner"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := processor.NewBuilder("two")
			found := join.Collect(processor.From(b, text("l")), processor.From(b, text("r")),
				join.Window{Name: "found", Within: millis(10), Grace: millis(3)}, gather)
			owned := join.Inner(found, processor.From(b, text("owners")), join.Window{Name: "owned", Before: millis(50), Grace: c.grace}, pair)
			owned.To(text("out"))
			lateLeft, _ := owned.Late()
			lateLeft.To(text("late"))
			topology, err := b.Build()
			require.NoError(t, err)
			d := processortest.New(t, topology)
			processortest.Pipe(d, text("owners"), processor.Record[string]{Key: "k", Value: "owner", Time: at(60)})
			processortest.Pipe(d, text("l"), processor.Record[string]{Key: "k", Value: "L", Time: at(100)})
			processortest.Pipe(d, text("r"), processor.Record[string]{Key: "k", Value: "r", Time: at(105)})
			processortest.Pipe(d, text("r"), processor.Record[string]{Key: "k", Value: "mover", Time: at(10_000)})
			var got []string
			for _, r := range processortest.Read(d, text("out")) {
				got = append(got, r.Value)
			}
			require.Equal(t, c.want, got)
			require.Len(t, processortest.Read(d, text("late")), c.late)
		})
	}
}

// TestD4_TheOrderOfClosingIsTheSameHoweverTimeMoves: with bounds that differ a right record may be told before an earlier left one, whose
// window closes later. That is so if time goes step by step, so it is so if it jumps.
func TestD4_TheOrderOfClosingIsTheSameHoweverTimeMoves(t *testing.T) {
	for _, step := range []int{1, 3, 7, 1000} {
		s := newBench(t, outerOnClose, join.Window{Before: millis(2), After: millis(20)}, 1)
		s.left("a", "L0", 100)
		s.right("b", "r1", 101)
		s.right("d", "r2", 102)
		s.left("c", "L3", 103)
		for now := 104; now < 1104; now += step {
			s.AdvanceTime(at(now))
		}
		s.AdvanceTime(at(1104))
		got := s.got()
		require.Equal(t, []string{"null,r1@101", "null,r2@102", "L0,null@100", "L3,null@103"}, got)
	}
}

func sorted(values []string) []string {
	slices.Sort(values)
	return values
}
