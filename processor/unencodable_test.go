package processor_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// TestValuesThatCannotBeEncodedCostThemselvesOnly puts a NaN, which JSON does not have, into stores: the task must go on, say so
// in a dead letter, and know nothing of the value, before and after a restart.
func TestValuesThatCannotBeEncodedCostThemselvesOnly(t *testing.T) {
	in := stream.Topic[line]{Name: "lines", Partitions: 1, Time: lines.Time}
	out := stream.Topic[int]{Name: "out"}
	b := processor.NewBuilder("nan")
	processor.Process(processor.From(b, in), "op", func(c *processor.Context[int]) processor.Handler[line] {
		kv := processor.KeyValueStore[float64](c, "kv")
		win := processor.WindowStore[float64](c, "win", 1000)
		return processor.Handler[line]{Record: func(r processor.Record[line]) error {
			value := 1.0
			if r.Value.Text == "nan" {
				value = math.NaN()
			}
			_, known := kv.Get(r.Key)
			n := len(win.Rows(r.Key, r.Time, r.Time))
			if known {
				n += 10
			}
			c.Forward(processor.With(r, n))
			kv.Put(r.Key, value)
			win.Add(r.Key, r.Time, value)
			return nil
		}}
	}).To(out)
	topology, err := b.Build()
	require.NoError(t, err)
	for _, crash := range []bool{false, true} {
		d := processortest.New(t, topology)
		var got []int
		for _, text := range []string{"one", "nan", "after", "last"} {
			processortest.Pipe(d, in, processor.Record[line]{Key: "k", Value: line{Text: text, At: at(1)}})
			require.NoError(t, d.Err())
			if crash {
				d.Crash()
			}
			for _, r := range processortest.Read(d, out) {
				got = append(got, r.Value)
			}
		}
		require.Equal(t, []int{0, 11, 1, 12}, got, "crash %v", crash)
		letters := d.DeadLetters()
		require.Len(t, letters, 2)
		require.Contains(t, letters[0].Headers.Get(processor.DeadOperator), "store op.")
		require.Contains(t, letters[0].Headers.Get(processor.DeadError), `the value of key "k" cannot be encoded`)
	}
}
