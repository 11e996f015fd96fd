package processor_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

type line struct {
	Text string
	At   time.Time
}

var (
	lines  = stream.Topic[line]{Name: "lines", Partitions: 4, Time: func(l line) time.Time { return l.At }}
	words  = stream.Topic[string]{Name: "words", Partitions: 4}
	counts = stream.Topic[int]{Name: "counts", Partitions: 4}
)

func at(seconds int) time.Time { return time.Unix(1_700_000_000+int64(seconds), 0).UTC() }

// wrapped is what a windowed result looks like: it must pass for an Upstream with its type inferred.
type wrapped[V any] struct{ processor.Stream[V] }

// TestVerbsCompile instantiates every verb with its type arguments inferred: a method that started an instantiation cycle, or a
// verb that did not take results with a stream inside, would not build.
func TestVerbsCompile(t *testing.T) {
	b := processor.NewBuilder("verbs")
	in := processor.From(b, lines)
	kept := in.Filter(func(l line) bool { return l.Text != "" }).Peek(func(processor.Record[line]) {})
	texts := processor.Map(wrapped[line]{kept}, func(l line) string { return l.Text })
	split := processor.FlatMap(texts, strings.Fields)
	keyed := processor.KeyBy(split, "by-word", func(w string) string { return w })
	keyed.Merge(keyed).To(words)
	processor.Process(wrapped[string]{keyed}, "count", countWords).To(counts)
	topology, err := b.Build()
	require.NoError(t, err)
	require.Equal(t, `topology verbs
  sub-topology lines, 4 partitions
    1 source lines
    2 filter <- 1
    3 peek <- 2
    4 map <- 3
    5 flat-map <- 4
    6 key-by by-word (topic verbs-by-word) <- 5
  sub-topology by-word, 4 partitions
    1 repartition by-word (topic verbs-by-word)
    2 merge <- 1, 1
    3 sink words <- 2
    4 process count (stores counts) <- 1
    5 sink counts <- 4
`, topology.String())
}

// countWords counts per key for ever.
func countWords(c *processor.Context[int]) processor.Handler[string] {
	counts := processor.KeyValueStore[int](c, "counts")
	return processor.Handler[string]{Record: func(r processor.Record[string]) error {
		n, _ := counts.Get(r.Key)
		counts.Put(r.Key, n+1)
		c.Forward(processor.With(r, n+1))
		return nil
	}}
}

func wordCount(t *testing.T) *processor.Topology {
	t.Helper()
	b := processor.NewBuilder("wordcount")
	text := processor.Map(processor.From(b, lines), func(l line) string { return l.Text })
	word := processor.KeyBy(processor.FlatMap(text, strings.Fields), "by-word", func(w string) string { return w })
	processor.Process(word, "count", countWords).To(counts)
	topology, err := b.Build()
	require.NoError(t, err)
	return topology
}

func totals(d *processortest.Driver, into map[string]int, seen *int) {
	for _, r := range processortest.Read(d, counts) {
		into[r.Key] = r.Value
		*seen++
	}
}

func TestWordCountThroughRepartition(t *testing.T) {
	for _, crash := range []bool{false, true} {
		d := processortest.New(t, wordCount(t))
		got, seen := map[string]int{}, 0
		for i, text := range []string{"a b a", "c", "b a c a", "", "a"} {
			processortest.Pipe(d, lines, processor.Record[line]{Key: "k", Value: line{Text: text, At: at(i)}})
			if crash {
				d.Crash()
			}
			totals(d, got, &seen)
		}
		require.Equal(t, map[string]int{"a": 5, "b": 2, "c": 2}, got)
		require.Equal(t, 9, seen, "one result per word, crash %v", crash)
	}
}

func TestFailedRecordsBecomeDeadLetters(t *testing.T) {
	b := processor.NewBuilder("failing")
	in := processor.From(b, lines)
	in.Filter(func(l line) bool {
		if l.Text == "panic" {
			panic("no such line")
		}
		return true
	}).To(stream.Topic[line]{Name: "filtered", Partitions: 4})
	processor.Process(in, "refuse", func(c *processor.Context[line]) processor.Handler[line] {
		return processor.Handler[line]{Record: func(r processor.Record[line]) error {
			if r.Value.Text == "error" {
				return errors.New("refused")
			}
			c.Forward(r)
			return nil
		}}
	}).To(stream.Topic[line]{Name: "processed", Partitions: 4})
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	send := func(text string) {
		processortest.Pipe(d, lines, processor.Record[line]{Key: "k", Value: line{Text: text, At: at(0)}})
	}
	send("fine")
	send("panic")
	send("error")
	d.PipeBytes(lines.Spec(), "k", []byte("{not json"), nil)
	d.PipeBytes(lines.Spec(), "k", nil, nil)
	processortest.Pipe(d, lines, processor.Record[line]{Key: "k", Value: line{Text: "old", At: time.Date(1754, 8, 30, 0, 0, 0, 0, time.UTC)}})

	letters := d.DeadLetters()
	require.Len(t, letters, 5)
	reasons := []string{"panic: no such line", "refused", "decode the value", "tombstone", "outside of 1970 to 2262"}
	operators := []string{"filter (", "process refuse (", "source lines", "source lines", "source lines"}
	for i, letter := range letters {
		require.Contains(t, letter.Headers.Get(processor.DeadError), reasons[i])
		require.Contains(t, letter.Headers.Get(processor.DeadOperator), operators[i])
		require.Equal(t, "lines", letter.Headers.Get(processor.DeadTopic))
		require.NotEmpty(t, letter.Headers.Get(processor.DeadOffset))
	}
	require.Contains(t, letters[0].Headers.Get(processor.DeadStack), "verbs_test.go")
	require.Equal(t, []byte("{not json"), letters[2].Value)
	// What fails in one branch is taken back in the other: a dead letter has not been processed.
	require.Len(t, processortest.Read(d, stream.Topic[line]{Name: "filtered", Partitions: 4}), 1)
	require.Len(t, processortest.Read(d, stream.Topic[line]{Name: "processed", Partitions: 4}), 1)
}

func TestStopPolicyStopsAtTheRecord(t *testing.T) {
	b := processor.NewBuilder("stopping")
	b.OnFailure(processor.Stop)
	processor.From(b, lines).Filter(func(l line) bool {
		if l.Text == "bad" {
			panic("boom")
		}
		return true
	}).To(stream.Topic[line]{Name: "out"})
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	processortest.Pipe(d, lines, processor.Record[line]{Key: "k", Value: line{Text: "bad", At: at(0)}})
	require.ErrorIs(t, d.Err(), processor.ErrFailedRecord)
	require.ErrorContains(t, d.Err(), "topic lines, partition")
	d.Crash()
	require.ErrorIs(t, d.Err(), processor.ErrFailedRecord, "it is the first record to be read again")
}

func TestBuildReportsEveryMistake(t *testing.T) {
	b := processor.NewBuilder("two words")
	in := processor.From(b, lines)
	processor.From(b, lines)
	other := processor.From(b, stream.Topic[line]{Name: "others", Partitions: 3})
	in.Merge(other).To(stream.Topic[line]{Name: "no dots.please"})
	processor.KeyBy(in, "", func(l line) string { return l.Text })
	same := func(c *processor.Context[int]) processor.Handler[line] { return processor.Handler[line]{} }
	processor.Process(in, "same", same)
	processor.Process(in, "same", same)
	_, err := b.Build()
	require.ErrorIs(t, err, processor.ErrTopology)
	for _, want := range []string{
		`the app name "two words"`, `topic "lines" is read already at processor/verbs_test.go:`, `has 3 partitions and meets topic "lines" with 4`,
		"no dots.please", "KeyBy: the name", `the name "same" is taken already`,
	} {
		require.ErrorContains(t, err, want)
	}
	for _, l := range strings.Split(err.Error(), "\n")[1:] {
		require.Contains(t, l, "processor/verbs_test.go:")
	}

	b = processor.NewBuilder("stores")
	processor.Process(processor.From(b, lines), "twice", func(c *processor.Context[int]) processor.Handler[line] {
		processor.KeyValueStore[int](c, "s")
		processor.KeyValueStore[int](c, "s")
		processor.WindowStore[int](c, "w", 0)
		return processor.Handler[line]{}
	})
	_, err = b.Build()
	require.ErrorContains(t, err, `two stores named "s"`)
	require.ErrorContains(t, err, "retention must be more than zero")
	require.ErrorContains(t, err, "no Record function")
	_, err = processor.NewBuilder("empty").Build()
	require.ErrorContains(t, err, "reads no topic")
}

func TestZeroStreamsDoNothing(t *testing.T) {
	var zero processor.Stream[line]
	one := zero.Filter(func(line) bool { return true }).Peek(func(processor.Record[line]) {}).Merge(zero)
	one.To(lines)
	require.Equal(t, zero, one)
	require.Equal(t, zero, processor.KeyBy(one, "k", func(l line) string { return l.Text }))
	two := processor.Map(zero, func(l line) string { return l.Text })
	three := processor.FlatMap(two, strings.Fields)
	require.Equal(t, processor.Stream[int]{}, processor.Process(three, "count", countWords))
	processor.Mistake(zero, "nobody hears of it")
	b := processor.NewBuilder("meeting")
	processor.From(b, lines).Merge(zero)
	_, err := b.Build()
	require.ErrorContains(t, err, "zero Stream")
}
