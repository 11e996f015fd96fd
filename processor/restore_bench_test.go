package processor_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// BenchmarkRestoreFromServer is how fast an app gets five million entries of a hundred bytes back from its journals on a server, two tasks at a time. The
// reference reads the same journals, and does nothing with them.
func BenchmarkRestoreFromServer(b *testing.B) {
	const entries = 5_000_000
	client, err := stream.NewClient(embeddedtest.ConnectTo(b, embeddedtest.StartWith(b, embedded.Config{Port: embedded.RandomPort})), stream.Config{})
	require.NoError(b, err)
	require.NoError(b, client.CreateTopic(b.Context(), largeIn.Spec()))
	p, err := stream.NewProducer(client, largeIn, stream.ProducerConfig{})
	require.NoError(b, err)
	filling := strings.Repeat("x", 92)
	for i := range entries {
		require.NoError(b, p.Send(b.Context(), stream.ProducerRecord[string]{Key: fmt.Sprintf("k%07d", i), Value: filling}))
	}
	require.NoError(b, p.Close(b.Context()))
	topology, err := largeTopology(processor.InMemory)
	require.NoError(b, err)
	require.NoError(b, processor.NewApp(client, topology, processor.Config{Bounded: true}).Run(b.Context()))
	var ours, reference time.Duration
	var rounds int
	var bytes int64
	for b.Loop() {
		rounds++
		ours += restore(b, client, topology)
		started := time.Now()
		bytes = readJournals(b, client, "large-large-in-0-journal", "large-large-in-1-journal")
		reference += time.Since(started)
	}
	perSecond := func(d time.Duration) float64 { return float64(entries*rounds) / d.Seconds() }
	b.ReportMetric(perSecond(ours), "entries/s")
	b.ReportMetric(perSecond(reference), "read-entries/s")
	b.ReportMetric(reference.Seconds()/ours.Seconds(), "ratio")
	b.ReportMetric(float64(bytes)/entries, "journal-B/entry")
	require.NoError(b, benchtable.Record("restore of 5 M entries of 100 bytes from a server, against reading the journals", perSecond(ours), perSecond(reference), "entries/s"))
}

// restore starts the app and returns how long it took until its tasks were running.
func restore(b *testing.B, client *stream.Client, topology *processor.Topology) time.Duration {
	b.Helper()
	app := processor.NewApp(client, topology, processor.Config{})
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	started := time.Now()
	go func() { ended <- app.Run(ctx) }()
	require.Eventually(b, func() bool {
		stats := app.Stats()
		return len(stats) == largeIn.Partitions && !slices.ContainsFunc(stats, func(s processor.TaskStats) bool { return s.State != processor.TaskRunning })
	}, 10*time.Minute, 5*time.Millisecond)
	took := time.Since(started)
	stop()
	require.NoError(b, <-ended)
	return took
}

// readJournals reads journals at the same time.
func readJournals(b *testing.B, client *stream.Client, names ...string) int64 {
	b.Helper()
	var bytes atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, len(names))
	for _, name := range names {
		wg.Go(func() { errs <- readJournal(b.Context(), client, name, &bytes) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(b, err)
	}
	return bytes.Load()
}

func readJournal(ctx context.Context, client *stream.Client, name string, bytes *atomic.Int64) error {
	j, err := client.OpenJournal(ctx, name)
	if err != nil {
		return err
	}
	return j.Replay(ctx, func(e stream.Entry) error {
		bytes.Add(int64(len(e.Data)))
		return nil
	})
}
