package processor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// moody counts words per key after a repartition; it refuses "poison" while it is ill.
func moody(t *testing.T, ill *atomic.Bool) *processor.Topology {
	t.Helper()
	b := processor.NewBuilder("moody")
	in := processor.From(b, lines)
	texts := processor.Map(in, func(l line) string {
		if ill.Load() && l.Text == "early" {
			panic("too early")
		}
		return l.Text
	})
	word := processor.KeyBy(texts, "by-word", func(w string) string { return w })
	processor.Process(word, "count", func(c *processor.Context[int]) processor.Handler[string] {
		h := countWords(c)
		record := h.Record
		h.Record = func(r processor.Record[string]) error {
			if err := record(r); err != nil {
				return err
			}
			if ill.Load() && strings.HasPrefix(r.Value, "poison") {
				return errors.New("feeling sick")
			}
			return nil
		}
		return h
	}).To(counts)
	topology, err := b.Build()
	require.NoError(t, err)
	return topology
}

func letters(t *testing.T, client *stream.Client, topology *processor.Topology) []stream.Record[[]byte] {
	t.Helper()
	return all(t, client, topology.DeadLetterTopic())
}

// TestRedriveSendsEveryLetterBackOnce lets records fail in the first sub-topology and behind the repartition, and sends them back:
// while the operator still refuses them, and when it is well. Each must count once in the end.
func TestRedriveSendsEveryLetterBackOnce(t *testing.T) {
	client := newClient(t)
	var ill atomic.Bool
	ill.Store(true)
	const n = 40
	var records []stream.ProducerRecord[line]
	for i := range n {
		text := fmt.Sprintf("w%d", i%4)
		switch i % 5 {
		case 1:
			text = "poison"
		case 2:
			text = "early"
		}
		records = append(records, stream.ProducerRecord[line]{
			Key: fmt.Sprintf("k%d", i), Value: line{Text: text, At: at(i)}, Headers: stream.Headers{"Trace": {fmt.Sprint(i)}},
		})
	}
	produce(t, client, lines, records...)
	run := func() {
		require.NoError(t, newApp(t, client, moody(t, &ill), true).Run(t.Context()))
	}
	run()
	first := letters(t, client, moody(t, &ill))
	require.Len(t, first, 16)
	for _, l := range first {
		require.Equal(t, "1", l.Headers.Get(processor.DeadAttempt))
		require.NotEmpty(t, l.Headers.Get("Trace"))
		_, err := time.Parse(time.RFC3339Nano, l.Headers.Get(processor.DeadTime))
		require.NoError(t, err)
	}

	done, err := processor.Redrive(t.Context(), client, moody(t, &ill).DeadLetterTopic(), processor.RedriveConfig{})
	require.NoError(t, err)
	require.Equal(t, processor.Redriven{Sent: 16}, done)
	run()
	second := letters(t, client, moody(t, &ill))[16:]
	require.Len(t, second, 16)
	for _, l := range second {
		require.Equal(t, "2", l.Headers.Get(processor.DeadAttempt))
		require.NotEmpty(t, l.Headers.Get("Trace"))
		require.Empty(t, l.Headers.Get(processor.AttemptHeader))
	}

	ill.Store(false)
	poison := processor.RedriveConfig{Filter: func(l processor.Letter) bool { return strings.Contains(l.Error, "sick") }, Limit: 5}
	done, err = processor.Redrive(t.Context(), client, moody(t, &ill).DeadLetterTopic(), poison)
	require.NoError(t, err)
	require.Equal(t, 5, done.Sent)
	filtered := done.Filtered
	poison.Limit = 0
	done, err = processor.Redrive(t.Context(), client, moody(t, &ill).DeadLetterTopic(), poison)
	require.NoError(t, err)
	require.Equal(t, processor.Redriven{Sent: 3, Filtered: 8 - filtered}, done)
	run()
	done, err = processor.Redrive(t.Context(), client, moody(t, &ill).DeadLetterTopic(), poison)
	require.NoError(t, err)
	require.Zero(t, done, "there is nothing left for this group")
	require.Len(t, letters(t, client, moody(t, &ill)), 32)
	total := map[string]int{}
	for _, r := range all(t, client, counts) {
		total[r.Key]++
		require.Equal(t, total[r.Key], r.Value, "lost, doubled or out of order: %q", r.Key)
	}
	require.Equal(t, map[string]int{"w0": 6, "w1": 6, "w2": 6, "w3": 6, "poison": 8}, total)
}

// TestRedriveGoesOnWhereItWasKilled ends Redrive at random moments, long after the server has forgotten what it was sent: every
// letter must come back once.
func TestRedriveGoesOnWhereItWasKilled(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	in := stream.Topic[int]{Name: "numbers", Partitions: 3, DuplicateWindow: 100 * time.Millisecond}
	const n = 3000
	var records []stream.ProducerRecord[int]
	for i := range n {
		records = append(records, stream.ProducerRecord[int]{Key: fmt.Sprint(i), Value: i})
	}
	produce(t, client, in, records...)
	b := processor.NewBuilder("refusing")
	processor.From(b, in).Filter(func(int) bool { panic("no") }).To(stream.Topic[int]{Name: "never"})
	topology, err := b.Build()
	require.NoError(t, err)
	require.NoError(t, newApp(t, client, topology, true).Run(t.Context()))
	before := at(0)
	for _, r := range all(t, client, in) {
		if r.Time.After(before) {
			before = r.Time
		}
	}
	var ends error = context.DeadlineExceeded
	kills := 0
	for wait := 5 * time.Millisecond; ends != nil; wait += wait / 3 {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		_, ends = processor.Redrive(ctx, client, topology.DeadLetterTopic(), processor.RedriveConfig{Group: "mine"})
		cancel()
		if ends != nil {
			require.ErrorIs(t, ends, context.DeadlineExceeded)
			kills++
		}
	}
	t.Logf("%d kills", kills)
	got := map[int]int{}
	for _, r := range all(t, client, in) {
		got[r.Value]++
		require.False(t, r.Time.After(before), "the event time is the old one")
	}
	require.Len(t, got, n)
	for value, times := range got {
		require.Equal(t, 2, times, "record %d", value)
	}
}
