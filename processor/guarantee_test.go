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
	grouped  = stream.Topic[int]{Name: "grouped", Partitions: 4}
	recounts = stream.Topic[int]{Name: "counted", Partitions: 4}
)

// passing copies what comes in, tells how many records each key has had, and counts it per group behind a repartition topic, where it is
// passed on.
func passing(t *testing.T) *processor.Topology {
	t.Helper()
	b := processor.NewBuilder("passing")
	in := processor.From(b, numbered)
	in.To(copied)
	processor.Process(in, "recount", func(c *processor.Context[int]) processor.Handler[int] {
		seen := processor.KeyValueStore[int](c, "seen")
		return processor.Handler[int]{Record: func(r processor.Record[int]) error {
			n, _ := seen.Get(r.Key)
			seen.Put(r.Key, n+1)
			c.Forward(processor.With(r, n+1))
			return nil
		}}
	}).To(recounts)
	processor.Process(processor.KeyBy(in, "by-group", func(n int) string { return fmt.Sprint(n % 10) }), "count", countPerKey).To(grouped)
	topology, err := b.Build()
	require.NoError(t, err)
	return topology
}

func countPerKey(c *processor.Context[int]) processor.Handler[int] {
	seen := processor.KeyValueStore[int](c, "seen")
	return processor.Handler[int]{Record: func(r processor.Record[int]) error {
		n, _ := seen.Get(r.Key)
		seen.Put(r.Key, n+1)
		c.Forward(r)
		return nil
	}}
}

// TestAtLeastOnceLosesNothing kills instance after instance while records come in. What each has published since its last commit may
// come again; nothing may be missing, neither in what is copied nor behind a repartition topic. State has counted each record once.
func TestAtLeastOnceLosesNothing(t *testing.T) {
	t.Parallel()
	server, client := newServer(t)
	require.NoError(t, client.CreateTopic(t.Context(), numbered.Spec()))
	const n, rounds = 24_000, 12
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
	distinct := func(topic stream.Topic[int]) (values, records int) {
		seen := map[int]bool{}
		found := all(t, client, topic)
		for _, r := range found {
			seen[r.Value] = true
		}
		return len(seen), len(found)
	}
	copies, published := distinct(copied)
	behind, regrouped := distinct(grouped)
	t.Logf("%d kills, %d records: %d published again, %d behind the repartition", killed, n, published-n, regrouped-n)
	require.Equal(t, n, copies, "records were lost")
	require.Equal(t, n, behind, "records were lost behind the repartition")
	counts := map[string]map[int]bool{}
	for _, r := range all(t, client, recounts) {
		if counts[r.Key] == nil {
			counts[r.Key] = map[int]bool{}
		}
		counts[r.Key][r.Value] = true
	}
	require.Len(t, counts, 50)
	for key, seen := range counts {
		require.Len(t, seen, n/50, key)
		require.True(t, seen[n/50], key)
	}
}

// TestGuaranteeMayChange runs an app at least once, exactly once, and at least once again: it goes on where it was.
func TestGuaranteeMayChange(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	for i, g := range []processor.Guarantee{processor.ExactlyOnce, processor.AtLeastOnce, processor.ExactlyOnce, processor.AtLeastOnce} {
		produce(t, client, lines, textLines(4000)[i*1000:(i+1)*1000]...)
		require.NoError(t, processor.NewApp(client, wordCount(t), processor.Config{Guarantee: g, Bounded: true}).Run(t.Context()))
	}
	checkCounts(t, client, 4000)
}
