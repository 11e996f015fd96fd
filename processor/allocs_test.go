package processor_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// TestHotPathAllocatesNothing runs batches of records through operators whose functions and codecs allocate nothing. What is left is
// the batch's own: its outbox and what the commit is made of, some slices for all records together.
func TestHotPathAllocatesNothing(t *testing.T) {
	when := func([]byte) time.Time { return at(0) }
	raw := stream.Topic[[]byte]{Name: "raw", Codec: stream.Bytes(), Time: when}
	out := stream.Topic[[]byte]{Name: "out", Codec: stream.Bytes(), Time: when}
	for name, describe := range map[string]func(in processor.Stream[[]byte]) processor.Stream[[]byte]{
		"stateless": func(in processor.Stream[[]byte]) processor.Stream[[]byte] {
			kept := in.Filter(func(b []byte) bool { return len(b) > 0 }).Peek(func(processor.Record[[]byte]) {})
			branches, rest := processor.Map(kept, func(b []byte) []byte { return b[1:] }).Branch(func(b []byte) bool { return b[0] == 'x' })
			return branches[0].Merge(rest).OnFailure(processor.Retry{})
		},
		"state": func(in processor.Stream[[]byte]) processor.Stream[[]byte] {
			return processor.Process(in, "state", func(c *processor.Context[[]byte]) processor.Handler[[]byte] {
				counts := processor.KeyValueStore[int](c, "counts")
				return processor.Handler[[]byte]{Record: func(r processor.Record[[]byte]) error {
					n, _ := counts.Get(r.Key)
					counts.Put(r.Key, n+1)
					c.Forward(r)
					return nil
				}}
			})
		},
	} {
		b := processor.NewBuilder("hot")
		describe(processor.From(b, raw)).To(out)
		task := engine.NewTask(build(t, b).Parts()[0].Plan, 0, 1<<20)
		const n = 10_000
		data := []byte("some bytes")
		messages := make([]stream.Message, n)
		offset := uint64(0)
		batch := func() {
			for i := range messages {
				offset++
				messages[i] = stream.Message{Offset: offset, Key: benchKeys[i%len(benchKeys)], Data: data}
			}
			task.Feed(0, messages)
			for range n {
				done, err := task.Step()
				require.NoError(t, err)
				require.True(t, done)
			}
			c, err := task.Commit("o", false)
			require.NoError(t, err)
			require.Len(t, c.Outbox, n)
			task.Appended(c.Number, c.Number)
			task.Delivered(c.Number)
			task.Trim()
		}
		batch()
		perRecord := testing.AllocsPerRun(5, batch) / n
		t.Logf("%s: %.3f allocations per record", name, perRecord)
		require.Less(t, perRecord, 0.1, name)
	}
}

var benchKeys = func() (keys []string) {
	for i := range 100 {
		keys = append(keys, fmt.Sprintf("key-%d", i))
	}
	return keys
}()
