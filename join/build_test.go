package join_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

var (
	sides = [2]stream.Topic[string]{{Name: "left", Codec: stream.String()}, {Name: "right", Codec: stream.String()}}
	sink  = stream.Topic[string]{Name: "results", Codec: stream.String()}
)

// requireMistake checks that Build tells of exactly one mistake and gives a line of this file.
func requireMistake(t *testing.T, b *processor.Builder, want string) {
	t.Helper()
	_, err := b.Build()
	require.ErrorIs(t, err, processor.ErrTopology)
	require.ErrorContains(t, err, want)
	lines := strings.Split(err.Error(), "\n")[1:]
	require.Len(t, lines, 1, "%v", err)
	require.Regexp(t, `^join/build_test\.go:\d+: `, lines[0])
}

func TestBuildReportsWindowsThatMakeNoSense(t *testing.T) {
	for want, w := range map[string]join.Window{
		`the name "" must be`:         {Within: 1},
		`the name "a.b" must be`:      {Name: "a.b", Within: 1},
		"either Within or Before":     {Name: "w", Within: 1, After: 1},
		"ends before it starts":       {Name: "w", Before: -2, After: 1},
		"Before -1ns and After -1ns":  {Name: "w", Within: -1},
		"grace must be zero or more":  {Name: "w", Within: 1, Grace: -1},
		"spans may be up to":          {Name: "w", Within: 1 << 62},
		"got 2562047h47m16.854775807": {Name: "w", Before: 1<<63 - 1},
		"Emit must be OnClose or OnU": {Name: "w", Within: 1, Emit: 7},
		"MaxRows must be zero or mor": {Name: "w", Within: 1, MaxRows: -1},
	} {
		t.Run(want, func(t *testing.T) {
			b := processor.NewBuilder("bad")
			join.Inner(processor.From(b, sides[0]), processor.From(b, sides[1]), w, pair).To(sink)
			requireMistake(t, b, want)
			b = processor.NewBuilder("bad")
			join.Collect(processor.From(b, sides[0]), processor.From(b, sides[1]), w, gather).To(sink)
			requireMistake(t, b, want)
		})
	}
}

func TestBuildReportsEmitOfInner(t *testing.T) {
	b := processor.NewBuilder("bad")
	w := join.Window{Name: "w", Within: 1, Emit: join.OnUpdate}
	join.Inner(processor.From(b, sides[0]), processor.From(b, sides[1]), w, pair).To(sink)
	requireMistake(t, b, "Inner w: a pair is emitted as soon as both are there")
}

func TestBuildReportsMissingJoiners(t *testing.T) {
	b := processor.NewBuilder("bad")
	join.Inner[string, string, string](processor.From(b, sides[0]), processor.From(b, sides[1]), join.Window{Name: "w"}, nil).To(sink)
	requireMistake(t, b, "the joiner is nil")
	b = processor.NewBuilder("bad")
	join.Collect[string, string, string](processor.From(b, sides[0]), processor.From(b, sides[1]), join.Window{Name: "w"}, nil).To(sink)
	requireMistake(t, b, "the joiner is nil")
}

func TestBuildReportsStreamsThatAreNone(t *testing.T) {
	var zero processor.Stream[string]
	w := join.Window{Name: "w", Within: 1}

	b := processor.NewBuilder("bad")
	out := join.Inner(zero, processor.From(b, sides[1]), w, pair)
	out.To(sink)
	out.Late()
	requireMistake(t, b, "the left side is a zero Stream")

	b = processor.NewBuilder("bad")
	join.Collect(processor.From(b, sides[0]), zero, w, gather).To(sink)
	requireMistake(t, b, "the right side is a zero Stream")

	b = processor.NewBuilder("bad")
	join.Inner[string, string, string](processor.From(b, sides[0]), nil, w, pair).To(sink)
	requireMistake(t, b, "the right side is a zero Stream")

	result := join.Inner(zero, zero, w, pair) // there is no topology to report to
	require.Equal(t, zero, result.AsStream())
	left, right := result.Late()
	require.Equal(t, zero, left)
	require.Equal(t, zero, right)
}

func TestBuildReportsStreamsOfTwoBuilders(t *testing.T) {
	b, other := processor.NewBuilder("bad"), processor.NewBuilder("other")
	join.Inner(processor.From(b, sides[0]), processor.From(other, sides[1]), join.Window{Name: "w"}, pair).To(sink)
	requireMistake(t, b, "must come from one Builder")
}

func TestBuildReportsNamesTakenTwice(t *testing.T) {
	b := processor.NewBuilder("bad")
	l, r := processor.From(b, sides[0]), processor.From(b, sides[1])
	join.Inner(l, r, join.Window{Name: "w"}, pair).To(sink)
	join.Inner(l, r, join.Window{Name: "w"}, pair).To(sink)
	requireMistake(t, b, `the name "w" is taken already at join/build_test.go:`)
}

func TestBuildReportsPartitionsThatDiffer(t *testing.T) {
	b := processor.NewBuilder("bad")
	wide := stream.Topic[string]{Name: "wide", Partitions: 3, Codec: stream.String()}
	join.Inner(processor.From(b, sides[0]), processor.From(b, wide), join.Window{Name: "w"}, pair).To(sink)
	requireMistake(t, b, "records of one key would not meet")
}

// TestTopologyOfAJoin shows that Late costs nothing where nobody asks for it, and may be asked for again.
func TestTopologyOfAJoin(t *testing.T) {
	build := func(asked int) *processor.Topology {
		b := processor.NewBuilder("app")
		out := join.Inner(processor.From(b, sides[0]), processor.From(b, sides[1]), join.Window{Name: "w"}, pair)
		out.To(sink)
		for range asked {
			left, right := out.Late()
			left.Merge(right).To(stream.Topic[string]{Name: "late", Codec: stream.String()})
		}
		topology, err := b.Build()
		require.NoError(t, err)
		return topology
	}
	require.Equal(t, `topology app
  sub-topology left, 1 partitions
    1 source left
    2 source right
    3 map <- 1
    4 map <- 2
    5 merge <- 3, 4
    6 process w (stores left, right) <- 5
    7 filter <- 6
    8 map <- 7
    9 sink results <- 8
`, build(0).String())
	build(2)
}

func TestBuildReportsOuterJoinsThatMakeNoSense(t *testing.T) {
	b := processor.NewBuilder("bad")
	l, r := processor.From(b, sides[0]), processor.From(b, sides[1])
	join.Left[string, string, string](l, r, join.Window{Name: "w"}, nil).To(sink)
	requireMistake(t, b, "Left w: the joiner is nil")
	b = processor.NewBuilder("bad")
	l, r = processor.From(b, sides[0]), processor.From(b, sides[1])
	join.Absence(l, r, join.Window{Name: "w", Emit: join.OnUpdate}, func(l string) string { return l }).To(sink)
	requireMistake(t, b, "Absence w: what is absent is known when the window has closed")
}

func TestBuildReportsAsOfThatMakesNoSense(t *testing.T) {
	joiner := func(l string, _ *string) string { return l }
	for want, w := range map[string]join.Window{
		"it looks back only":        {Name: "w", Before: 1, After: 1},
		"AsOf w: it looks back":     {Name: "w", Within: 1},
		"AsOf w: what was the late": {Name: "w", Before: 1, Emit: join.OnUpdate},
	} {
		b := processor.NewBuilder("bad")
		join.AsOf(processor.From(b, sides[0]), processor.From(b, sides[1]), w, joiner).To(sink)
		requireMistake(t, b, want)
	}
}

func TestBuildReportsLimitsThatMakeNoSense(t *testing.T) {
	joiner := func(l string, _ join.Some[string]) string { return l }
	for want, limit := range map[string]join.Limit[string]{
		"a limit must be zero or more": {Rows: -1},
		"got 0 rows and -1 bytes":      {Bytes: -1},
		"needs the Size of a right":    {Bytes: 1},
	} {
		b := processor.NewBuilder("bad")
		spec := join.Collecting[string]{Window: join.Window{Name: "w"}, Limit: limit}
		join.CollectUpTo(processor.From(b, sides[0]), processor.From(b, sides[1]), spec, joiner).To(sink)
		requireMistake(t, b, want)
	}
}
