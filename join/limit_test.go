package join_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
)

func TestCollectUpToSaysHowManyAreMissing(t *testing.T) {
	size := func(s string) int { return len(s) }
	for name, c := range map[string]struct {
		limit join.Limit[string]
		want  string
	}{
		"no limit":               {join.Limit[string]{}, "L[a bb ccc dddd] and 0 more"},
		"rows":                   {join.Limit[string]{Rows: 3}, "L[a bb ccc] and 1 more"},
		"bytes":                  {join.Limit[string]{Bytes: 3, Size: size}, "L[a bb] and 2 more"},
		"bytes that end between": {join.Limit[string]{Bytes: 5, Size: size}, "L[a bb] and 2 more"},
		"both, rows first":       {join.Limit[string]{Rows: 1, Bytes: 100, Size: size}, "L[a] and 3 more"},
		"both, bytes first":      {join.Limit[string]{Rows: 3, Bytes: 1, Size: size}, "L[a] and 3 more"},
		"more rows than there":   {join.Limit[string]{Rows: 9, Bytes: 100, Size: size}, "L[a bb ccc dddd] and 0 more"},
	} {
		t.Run(name, func(t *testing.T) {
			b := processor.NewBuilder("app")
			spec := join.Collecting[string]{Window: join.Window{Name: "j", Within: millis(10)}, Limit: c.limit}
			join.CollectUpTo(processor.From(b, sides[0]), processor.From(b, sides[1]), spec, func(l string, some join.Some[string]) string {
				return fmt.Sprintf("%s and %d more", gather(l, some.Rows), some.More)
			}).To(sink)
			topology, err := b.Build()
			require.NoError(t, err)
			d := processortest.New(t, topology)
			processortest.Pipe(d, sides[0], processor.Record[string]{Key: "k", Value: "L", Time: at(10)})
			for i, r := range []string{"a", "bb", "ccc", "dddd"} {
				processortest.Pipe(d, sides[1], processor.Record[string]{Key: "k", Value: r, Time: at(10 + i)})
			}
			d.CloseAll()
			results := processortest.Read(d, sink)
			require.Len(t, results, 1)
			require.Equal(t, c.want, results[0].Value)
		})
	}
}

func TestCollectUpToSaysThatNothingFits(t *testing.T) {
	b := processor.NewBuilder("app")
	spec := join.Collecting[string]{Window: join.Window{Name: "j"}, Limit: join.Limit[string]{Bytes: 1, Size: func(string) int { return 2 }}}
	join.CollectUpTo(processor.From(b, sides[0]), processor.From(b, sides[1]), spec, func(l string, some join.Some[string]) string {
		require.NotNil(t, some.Rows)
		return fmt.Sprint(len(some.Rows), some.More)
	}).To(sink)
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	processortest.Pipe(d, sides[1], processor.Record[string]{Key: "k", Value: "r", Time: at(1)})
	processortest.Pipe(d, sides[0], processor.Record[string]{Key: "k", Value: "L", Time: at(1)})
	d.CloseAll()
	results := processortest.Read(d, sink)
	require.Len(t, results, 1)
	require.Equal(t, "0 1", results[0].Value)
}
