package processor_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

var (
	numbered = stream.Topic[int]{Name: "numbered", Partitions: 4}
	copied   = stream.Topic[int]{Name: "copied", Partitions: 4}
	sums     = stream.Topic[int]{Name: "sums", Partitions: 4}
)

// passing copies what comes in, and counts it per key behind a repartition topic.
func passing(t *testing.T) *processor.Topology {
	t.Helper()
	b := processor.NewBuilder("passing")
	in := processor.From(b, numbered)
	in.To(copied)
	processor.Process(processor.KeyBy(in, "by-group", func(n int) string { return fmt.Sprint(n % 10) }), "sum", countPerKey).To(sums)
	topology, err := b.Build()
	require.NoError(t, err)
	return topology
}

func countPerKey(c *processor.Context[int]) processor.Handler[int] {
	seen := processor.KeyValueStore[int](c, "seen")
	return processor.Handler[int]{Record: func(r processor.Record[int]) error {
		n, _ := seen.Get(r.Key)
		seen.Put(r.Key, n+1)
		c.Forward(processor.With(r, n+1))
		return nil
	}}
}

// TestAtLeastOnceLosesNothing kills instance after instance while records come in. What each has published since its last commit may
// come again; nothing may be missing, neither in what is copied nor in what is counted behind a repartition topic.
func TestAtLeastOnceLosesNothing(t *testing.T) {
	server, client := newServer(t)
	require.NoError(t, client.CreateTopic(t.Context(), numbered.Spec()))
	const n, rounds = 24_000, 12 // each round, and each group, has the same number
	cfg := processor.Config{Guarantee: processor.AtLeastOnce, SessionTimeout: 300 * time.Millisecond}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for i := range rounds {
			records := make([]stream.ProducerRecord[int], n/rounds)
			for j := range records {
				k := i*n/rounds + j
				records[j] = stream.ProducerRecord[int]{Key: fmt.Sprint("k", k%50), Value: k}
			}
			produce(t, client, numbered, records...)
		}
	})
	killed := 0
	for over := false; !over || killed < 6; killed++ {
		r := startInstance(t, server, passing(t), cfg)
		require.Eventually(t, func() bool { return r.tasks() > 0 }, time.Minute, time.Millisecond)
		<-time.After(100 * time.Millisecond) // so that it is killed amid its work
		r.kill()
		select {
		case <-done:
			over = true
		default:
		}
	}
	wg.Wait()
	app := processor.NewApp(client, passing(t), processor.Config{Guarantee: processor.AtLeastOnce, Bounded: true})
	require.NoError(t, app.Run(t.Context()))
	seen := map[int]int{}
	copies := all(t, client, copied)
	for _, r := range copies {
		seen[r.Value]++
	}
	const total = n
	require.Len(t, seen, total, "records were lost")
	counted := map[string]int{}
	for _, r := range all(t, client, sums) {
		counted[r.Key] = max(counted[r.Key], r.Value)
	}
	sum := 0
	for key, c := range counted {
		require.GreaterOrEqual(t, c, total/10, "group %s", key)
		sum += c
	}
	t.Logf("%d kills, %d records: %d published again, %d counted again", killed, total, len(copies)-total, sum-total)
}

// TestGuaranteeMayChange runs an app at least once, exactly once, and at least once again: it goes on where it was.
func TestGuaranteeMayChange(t *testing.T) {
	client := newClient(t)
	for i, g := range []processor.Guarantee{processor.ExactlyOnce, processor.AtLeastOnce, processor.ExactlyOnce, processor.AtLeastOnce} {
		produce(t, client, lines, textLines(4000)[i*1000:(i+1)*1000]...)
		require.NoError(t, processor.NewApp(client, wordCount(t), processor.Config{Guarantee: g, Bounded: true}).Run(t.Context()))
	}
	checkCounts(t, client, 4000)
}
