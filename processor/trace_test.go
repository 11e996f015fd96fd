package processor_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// TestTraceContextGoesOn sends records with and without the headers of W3C Trace Context and Baggage through a map, a repartition,
// an aggregate and a handler with a store: every result has those of the record that made it, also after a crash, and results
// of a record without headers get none.
func TestTraceContextGoesOn(t *testing.T) {
	traced := func(id string) stream.Headers {
		h := make(stream.Headers)
		h.Set("traceparent", "00-"+strings.Repeat("a", 31)+id+"-00f067aa0ba902b7-01")
		h.Set("tracestate", "vendor="+id)
		h.Set("baggage", "user="+id)
		return h
	}
	b := processor.NewBuilder("traced")
	text := processor.Map(processor.From(b, lines), func(l line) string { return l.Text })
	word := processor.KeyBy(processor.FlatMap(text, strings.Fields), "by-word", func(w string) string { return w })
	processor.Process(word, "count", countWords).To(counts)
	processor.Aggregate(word, processor.Aggregation[string, string]{
		Name: "joined", Init: func() string { return "" }, Add: func(a, w string) string { return a + w },
	}).To(words)
	topology, err := b.Build()
	require.NoError(t, err)
	for _, crash := range []bool{false, true} {
		d := processortest.New(t, topology)
		for i, h := range []stream.Headers{traced("1"), nil, traced("2")} {
			processortest.Pipe(d, lines, processor.Record[line]{Key: "k", Value: line{Text: "a b", At: at(i)}, Headers: h})
			if crash {
				d.Crash()
			}
			counted := processortest.Read(d, counts)
			require.Len(t, counted, 2)
			for _, r := range counted {
				requireTrace(t, h, r.Headers)
			}
			joined := processortest.Read(d, words)
			require.Len(t, joined, 2)
			for _, r := range joined {
				requireTrace(t, h, r.Headers)
			}
		}
	}
}

// requireTrace wants the headers of the input, and beside them only the event time of topics whose values do not say it.
func requireTrace(t *testing.T, want, got stream.Headers) {
	t.Helper()
	for name, values := range want {
		require.Equal(t, values, got[name], name)
	}
	for name := range got {
		if name != stream.TimeHeader {
			require.Contains(t, want, name)
		}
	}
}

// TestTraceContextOfWhatCloses has windows of each kind, and a timer, fire because of a record: their results have the trace context of that one, and
// none where it has none, and nothing else of its headers.
func TestTraceContextOfWhatCloses(t *testing.T) {
	const d = 5 * time.Second
	for name, windows := range map[string]processor.Windows{
		"tumbling": processor.Tumbling(d), "hopping": processor.Hopping(d, d/5), "sliding": processor.Sliding(d), "sessions": processor.Session(d),
	} {
		b := processor.NewBuilder("traced")
		text := processor.Map(processor.From(b, lines), func(l line) string { return l.Text })
		processor.Aggregate(text, processor.Aggregation[string, string]{
			Name: "joined", Init: func() string { return "" }, Add: func(a, w string) string { return a + w }, Merge: func(a, b string) string { return a + b },
			Windows: windows, Emit: processor.OnClose,
		}).To(words)
		processor.Process(text, "wait", func(c *processor.Context[int]) processor.Handler[string] {
			return processor.Handler[string]{
				Record: func(r processor.Record[string]) error { return c.Schedule(r.Key, r.Time.Add(d)) },
				Timer: func(tm processor.Timer) error {
					c.Forward(processor.Record[int]{Key: tm.Key, Time: tm.At, Headers: c.Trace()})
					return nil
				},
			}
		}).To(counts)
		topology := build(t, b)
		for _, crash := range []bool{false, true} {
			d := processortest.New(t, topology)
			trace := func(i int) stream.Headers {
				if i == 2 {
					return nil
				}
				return stream.Headers{"traceparent": {fmt.Sprintf("00-%032d-00f067aa0ba902b7-01", i)}, "Tracestate": {fmt.Sprint("vendor=", i)}}
			}
			for i := range 5 {
				h := trace(i).Clone()
				h.Set("Own", "x")
				processortest.Pipe(d, lines, processor.Record[line]{Key: "k", Value: line{Text: "a", At: at(100 * i)}, Headers: h})
				closed, fired := processortest.Read(d, words), processortest.Read(d, counts)
				if crash {
					d.Crash()
				}
				if i == 0 {
					require.Empty(t, closed)
					continue
				}
				require.NotEmpty(t, closed, name)
				for _, r := range closed {
					requireTrace(t, trace(i), r.Headers)
				}
				require.Len(t, fired, 1)
				requireTrace(t, trace(i), fired[0].Headers)
			}
			d.AdvanceTime(at(1000))
			for _, r := range processortest.Read(d, words) {
				requireTrace(t, nil, r.Headers)
			}
			require.NoError(t, d.Err())
		}
	}
}
