package processor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/internal/propertytest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == childArg {
		os.Exit(runChild(os.Args[2]))
	}
	if spec := os.Getenv(chaosServerEnv); spec != "" {
		os.Exit(runChaosServer(spec))
	}
	if spec := os.Getenv(chaosEnv); spec != "" {
		os.Exit(runChaosInstance(spec))
	}
	if err := propertytest.Cases(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m,
		// A server that is stopped while it creates a stream forgets the loop of that stream's store (nats-server 2.15.2).
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

// newClient starts a server of its own for the test and connects to it.
func newClient(t *testing.T) *stream.Client {
	t.Helper()
	nc := embeddedtest.Connect(t)
	client, err := stream.NewClient(nc, stream.Config{})
	require.NoError(t, err)
	return client
}

func newApp(t *testing.T, client *stream.Client, topology *processor.Topology, bounded bool) *processor.App {
	t.Helper()
	return processor.NewApp(client, topology, processor.Config{Bounded: bounded, Logger: zaptest.NewLogger(t)})
}

// produce stores records and returns when they are.
func produce[V any](t *testing.T, client *stream.Client, topic stream.Topic[V], records ...stream.ProducerRecord[V]) {
	t.Helper()
	require.NoError(t, client.CreateTopic(t.Context(), topic.Spec()))
	p, err := stream.NewProducer(client, topic, stream.ProducerConfig{})
	require.NoError(t, err)
	for _, r := range records {
		require.NoError(t, p.Send(t.Context(), r))
	}
	require.NoError(t, p.Close(t.Context()))
}

// all returns everything that a topic holds, partition by partition. It reads without a group: a member that was silent for too long on a
// busy machine would be given its records again.
func all[V any](t *testing.T, client *stream.Client, topic stream.Topic[V]) []stream.Record[V] {
	t.Helper()
	var records []stream.Record[V]
	for p := range topic.Spec().Partitions {
		for _, m := range allOf(t, client, topic.Spec(), p) {
			records = append(records, recordOf(topic, m))
		}
	}
	return records
}

func allOf(t *testing.T, client *stream.Client, spec stream.TopicSpec, partition int) []stream.Message {
	t.Helper()
	var mu sync.Mutex
	var messages []stream.Message
	r, err := client.OpenReader(t.Context(), spec, partition, stream.ReaderConfig{Deliver: func(m stream.Message) {
		mu.Lock()
		defer mu.Unlock()
		messages = append(messages, m)
	}})
	require.NoError(t, err)
	defer r.Close()
	require.Eventually(t, func() bool {
		done, err := r.CaughtUp(t.Context())
		return err == nil && done
	}, time.Minute, time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	return messages
}

func recordOf[V any](topic stream.Topic[V], m stream.Message) stream.Record[V] {
	r := stream.Record[V]{Topic: topic.Name, Partition: m.Partition, Offset: m.Offset, Key: m.Key, Headers: m.Headers, Data: m.Data}
	if r.Tombstone = topic.Compact && len(m.Data) == 0; r.Tombstone {
		return r
	}
	codec := topic.Codec
	if codec == nil {
		codec = stream.JSON[V]()
	}
	if r.Value, r.Err = codec.Decode(m.Data); r.Err == nil {
		r.Time, r.Err = topic.EventTime(r.Value, m.Headers, m.Stored)
	}
	return r
}

func textLines(n int) []stream.ProducerRecord[line] {
	records := make([]stream.ProducerRecord[line], n)
	for i := range records {
		text := fmt.Sprintf("w%d w%d common", i%7, i%100)
		records[i] = stream.ProducerRecord[line]{Key: fmt.Sprintf("k%d", i%50), Value: line{Text: text, At: at(i)}}
	}
	return records
}

// checkCounts makes sure that every word of n lines was counted once: the results of a word are 1, 2, 3, ... in order.
func checkCounts(t *testing.T, client *stream.Client, n int) {
	t.Helper()
	want := map[string]int{}
	for _, r := range textLines(n) {
		for _, w := range strings.Fields(r.Value.Text) {
			want[w]++
		}
	}
	got := map[string]int{}
	for _, r := range all(t, client, counts) {
		require.Equal(t, got[r.Key]+1, r.Value, "word %q: lost, doubled or out of order", r.Key)
		got[r.Key] = r.Value
	}
	require.Equal(t, want, got)
}

func TestBoundedAppProcessesEverythingOnce(t *testing.T) {
	client := newClient(t)
	produce(t, client, lines, textLines(5000)...)
	require.NoError(t, newApp(t, client, wordCount(t), true).Run(t.Context()))
	checkCounts(t, client, 5000)
	// Run again: there is nothing left, and nothing comes twice.
	require.NoError(t, newApp(t, client, wordCount(t), true).Run(t.Context()))
	checkCounts(t, client, 5000)
}

func TestGroupOffsetsFollowTheCommits(t *testing.T) {
	client := newClient(t)
	produce(t, client, lines, textLines(1000)...)
	require.NoError(t, newApp(t, client, wordCount(t), true).Run(t.Context()))
	committed, err := client.Committed(t.Context(), lines.Spec(), "wordcount")
	require.NoError(t, err)
	sum := uint64(0)
	for _, c := range committed {
		require.Zero(t, c.Lag)
		sum += c.Next - 1
	}
	require.EqualValues(t, 1000, sum)
}

// TestRestartsChangeNothing stops the app at random moments and starts it again, while records come in.
func TestRestartsChangeNothing(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	const n = 20_000
	require.NoError(t, client.CreateTopic(t.Context(), lines.Spec()))
	var wg sync.WaitGroup
	wg.Go(func() { produce(t, client, lines, textLines(n)...) })
	for range 12 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20+rand.IntN(150))*time.Millisecond)
		require.NoError(t, newApp(t, client, wordCount(t), false).Run(ctx))
		cancel()
	}
	wg.Wait()
	require.NoError(t, newApp(t, client, wordCount(t), true).Run(t.Context()))
	checkCounts(t, client, n)
}

// TestStaleOwnerIsFenced has a run that takes all tasks over from one that shares them. The older one must find out at its next
// commit, and nothing that it has computed after the take-over may be seen.
func TestStaleOwnerIsFenced(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	records := textLines(3000)
	produce(t, client, lines, records[:1000]...)
	stale, cancel := context.WithCancel(t.Context())
	defer cancel()
	staleErr := make(chan error, 1)
	go func() { staleErr <- newApp(t, client, wordCount(t), false).Run(stale) }()
	require.Eventually(t, func() bool {
		committed, err := client.Committed(t.Context(), lines.Spec(), "wordcount")
		if err != nil {
			return false
		}
		sum := uint64(0)
		for _, c := range committed {
			sum += c.Next - 1
		}
		return sum == 1000
	}, 30*time.Second, 10*time.Millisecond)

	require.NoError(t, newApp(t, client, wordCount(t), true).Run(t.Context()))
	produce(t, client, lines, records[1000:]...)
	err := <-staleErr
	require.ErrorIs(t, err, stream.ErrFenced)
	require.ErrorContains(t, err, "task ")
	require.NoError(t, newApp(t, client, wordCount(t), true).Run(t.Context()))
	checkCounts(t, client, 3000)
}

// TestOutboxOfACrashIsDelivered makes the app die between the commit and its delivery: the topic of results is gone at that
// moment. The next run must deliver what the commit holds.
func TestOutboxOfACrashIsDelivered(t *testing.T) {
	nc := embeddedtest.Connect(t)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	client, err := stream.NewClient(nc, stream.Config{})
	require.NoError(t, err)
	in := stream.Topic[int]{Name: "numbers"}
	out := stream.Topic[int]{Name: "squares"}
	build := func() *processor.Topology {
		b := processor.NewBuilder("square")
		processor.Map(processor.From(b, in), func(n int) int { return n * n }).To(out)
		topology, err := b.Build()
		require.NoError(t, err)
		return topology
	}
	require.NoError(t, newApp(t, client, build(), true).Run(t.Context()))
	running, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	core, logs := observer.New(zap.DebugLevel)
	app := processor.NewApp(client, build(), processor.Config{Logger: zap.New(core)})
	go func() { ended <- app.Run(running) }()
	require.Eventually(t, func() bool { return logs.FilterMessage("took over").Len() == 1 }, 30*time.Second, 5*time.Millisecond)
	require.NoError(t, js.DeleteStream(t.Context(), out.Spec().BackingStream(0)))
	produce(t, client, in, stream.ProducerRecord[int]{Key: "a", Value: 3}, stream.ProducerRecord[int]{Key: "b", Value: 4})
	var gone *stream.TopicNotFoundError
	if err := <-ended; !errors.As(err, &gone) {
		require.NoError(t, err)
		t.Fatal("the app ended without an error although its topic is gone")
	}
	for range 2 {
		require.NoError(t, newApp(t, client, build(), true).Run(t.Context()))
		var values []int
		for _, r := range all(t, client, out) {
			values = append(values, r.Value)
		}
		require.Equal(t, []int{9, 16}, values)
	}
}

// TestRule3_LowestTimestampFirst has two inputs filled before the app starts: records must be processed in the order of their
// event times, whichever input they are in, and in the order of offsets within one.
func TestRule3_LowestTimestampFirst(t *testing.T) {
	client := newClient(t)
	left := stream.Topic[line]{Name: "left", Partitions: 2, Time: lines.Time}
	right := stream.Topic[line]{Name: "right", Partitions: 2, Time: lines.Time}
	var l, r []stream.ProducerRecord[line]
	for i := range 4000 {
		rec := stream.ProducerRecord[line]{Key: fmt.Sprintf("k%d", i%5), Value: line{At: at(i)}}
		if rand.IntN(3) == 0 {
			l = append(l, rec)
		} else {
			r = append(r, rec)
		}
	}
	produce(t, client, left, l...)
	produce(t, client, right, r...)
	var mu sync.Mutex
	last := map[int]time.Time{}
	seen, disordered := 0, 0
	b := processor.NewBuilder("ordered")
	merged := processor.From(b, left).Merge(processor.From(b, right))
	merged.Peek(func(rec processor.Record[line]) {
		mu.Lock()
		defer mu.Unlock()
		p := stream.Partition(rec.Key, 2)
		if rec.Time.Before(last[p]) {
			disordered++
		}
		last[p] = rec.Time
		seen++
	})
	topology, err := b.Build()
	require.NoError(t, err)
	require.NoError(t, newApp(t, client, topology, true).Run(t.Context()))
	require.Equal(t, 4000, seen)
	require.Zero(t, disordered)
}

func TestTopicWithOtherPartitionsIsRefused(t *testing.T) {
	client := newClient(t)
	require.NoError(t, client.CreateTopic(t.Context(), stream.Topic[line]{Name: "lines", Partitions: 2}.Spec()))
	err := newApp(t, client, wordCount(t), true).Run(t.Context())
	var mismatch *stream.TopicMismatchError
	require.ErrorAs(t, err, &mismatch)
}

// numbers squares what comes in; its results are remembered by the server for no longer than window.
func numbers(t *testing.T, window time.Duration) (in, out stream.Topic[int], topology *processor.Topology) {
	t.Helper()
	in = stream.Topic[int]{Name: "numbers"}
	out = stream.Topic[int]{Name: "squares", DuplicateWindow: window}
	b := processor.NewBuilder("square")
	processor.Map(processor.From(b, in), func(n int) int { return n * n }).To(out)
	topology, err := b.Build()
	require.NoError(t, err)
	return in, out, topology
}

// TestTakeOverAfterTheDuplicateWindow has an app taken over whose last records were delivered, but not noted as such, after the
// server has forgotten their ids: the new owner must look at what the topic holds, and send nothing twice.
func TestTakeOverAfterTheDuplicateWindow(t *testing.T) {
	client := newClient(t)
	const window = 200 * time.Millisecond
	in, out, topology := numbers(t, window)
	stale, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- newApp(t, client, topology, false).Run(stale) }()
	produce(t, client, in, stream.ProducerRecord[int]{Key: "a", Value: 3}, stream.ProducerRecord[int]{Key: "b", Value: 4})
	count := func() uint64 {
		offsets, err := client.Offsets(t.Context(), out.Spec())
		if err != nil {
			return 0
		}
		return offsets[0].Records
	}
	require.Eventually(t, func() bool { return count() == 2 }, 30*time.Second, 5*time.Millisecond)
	<-time.After(2 * window) // the server's memory is what this test is about
	_, _, topology = numbers(t, window)
	core, logs := observer.New(zap.InfoLevel)
	heir := processor.NewApp(client, topology, processor.Config{Bounded: true, Logger: zap.New(core)})
	require.NoError(t, heir.Run(t.Context()))
	require.NotEmpty(t, logs.FilterMessage("redelivering the records of a commit").All())
	require.EqualValues(t, 2, count())
	require.Zero(t, heir.Stats()[0].Redelivered, "nothing was missing")
	require.EqualValues(t, 1, heir.Stats()[0].TakeOvers)
	produce(t, client, in, stream.ProducerRecord[int]{Key: "c", Value: 5})
	require.ErrorIs(t, <-ended, stream.ErrFenced)
	cancel()
}

// TestCloseOnIdleFollowsTheClock gives an operator that waits for a time one record and nothing more: the time must come.
func TestCloseOnIdleFollowsTheClock(t *testing.T) {
	client := newClient(t)
	in := stream.Topic[int]{Name: "once"}
	out := stream.Topic[string]{Name: "fired"}
	b := processor.NewBuilder("idle")
	b.CloseOnIdle(50 * time.Millisecond)
	processor.Process(processor.From(b, in), "wait", func(c *processor.Context[string]) processor.Handler[int] {
		return processor.Handler[int]{
			Record: func(r processor.Record[int]) error { return c.Schedule(r.Key, r.Time.Add(100*time.Millisecond)) },
			Timer: func(tm processor.Timer) error {
				c.Forward(processor.Record[string]{Key: tm.Key, Value: tm.Key, Time: tm.At})
				return nil
			},
		}
	}).To(out)
	topology, err := b.Build()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- newApp(t, client, topology, false).Run(ctx) }()
	produce(t, client, in, stream.ProducerRecord[int]{Key: "k", Value: 1})
	require.Eventually(t, func() bool {
		offsets, err := client.Offsets(t.Context(), out.Spec())
		return err == nil && offsets[0].Records == 1
	}, 30*time.Second, 10*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
}

// TestRepartitionedMessagesHaveIDs sends much to one partition between sub-topologies: whoever reads it passes over what a
// take-over has sent once more, and knows that by the ids.
func TestRepartitionedMessagesHaveIDs(t *testing.T) {
	const wordsOfLine, wordSize = 200, 20_000
	nc := embeddedtest.Connect(t)
	client, err := stream.NewClient(nc, stream.Config{})
	require.NoError(t, err)
	produce(t, client, lines, textLines(5)...)
	b := processor.NewBuilder("large")
	words := processor.FlatMap(processor.From(b, lines), func(line) []string {
		return slices.Repeat([]string{strings.Repeat("w", wordSize)}, wordsOfLine)
	})
	length := processor.Map(processor.KeyBy(words, "by-word", func(string) string { return "same" }), func(w string) int { return len(w) })
	length.To(lengths)
	topology, err := b.Build()
	require.NoError(t, err)
	var mu sync.Mutex
	identified, anonymous := 0, 0
	sub, err := nc.Subscribe("large-by-word.>", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if m.Header.Get(jetstream.MsgIDHeader) == "" {
			anonymous++
		} else {
			identified++
		}
	})
	require.NoError(t, err)
	require.NoError(t, newApp(t, client, topology, true).Run(t.Context()))
	require.NoError(t, sub.Drain())
	mu.Lock()
	defer mu.Unlock()
	require.Positive(t, identified)
	require.Zero(t, anonymous)
	require.Len(t, all(t, client, lengths), 5*wordsOfLine)
}

// TestRepartitionTopicsAreEmptied makes sure that what has been processed does not pile up between sub-topologies.
func TestRepartitionTopicsAreEmptied(t *testing.T) {
	client := newClient(t)
	produce(t, client, lines, textLines(2000)...)
	require.NoError(t, newApp(t, client, wordCount(t), true).Run(t.Context()))
	offsets, err := client.Offsets(t.Context(), stream.TopicSpec{Name: "wordcount-by-word", Partitions: 4})
	require.NoError(t, err)
	stored, left := uint64(0), uint64(0)
	for _, o := range offsets {
		stored += o.Next - 1
		left += o.Records
	}
	require.Positive(t, stored)
	require.Zero(t, left)
	checkCounts(t, client, 2000)
}
