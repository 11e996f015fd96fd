package processor_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// ends returns how many records a topic has ever had.
func ends(t *testing.T, client *stream.Client, topic stream.TopicSpec) (n uint64) {
	t.Helper()
	offsets, err := client.Offsets(t.Context(), topic)
	require.NoError(t, err)
	for _, o := range offsets {
		n += o.Next - 1
	}
	return n
}

// committed returns how many records of a topic a group has had.
func committed(t *testing.T, client *stream.Client, topic stream.TopicSpec, group string) (n uint64) {
	t.Helper()
	offsets, err := client.Committed(t.Context(), topic, group)
	require.NoError(t, err)
	for _, o := range offsets {
		n += o.Next - 1
	}
	return n
}

// TestPause pauses and resumes an app while records come in, and restarts it while it is paused. A paused one produces nothing, and every line
// counts once.
func TestPause(t *testing.T) {
	server, client := newServer(t)
	const n, parts = 5_000, 10
	require.NoError(t, client.CreateTopic(t.Context(), lines.Spec()))
	require.NoError(t, client.CreateTopic(t.Context(), counts.Spec()))
	more := func(i int) { produce(t, client, lines, textLines(n)[i*n/parts:(i+1)*n/parts]...) }
	r := startInstance(t, server, wordCount(t), processor.Config{})
	for i := range parts {
		before := ends(t, client, counts.Spec())
		more(i)
		require.Eventually(t, func() bool { return ends(t, client, counts.Spec()) > before }, time.Minute, time.Millisecond)
		require.NoError(t, r.app.Pause(t.Context()))
		require.True(t, r.app.Paused())
		before = ends(t, client, counts.Spec())
		if i%5 == 4 {
			r.leave(t)
			require.Equal(t, before, ends(t, client, counts.Spec()), "what was processed had been delivered")
			r = startInstance(t, server, wordCount(t), processor.Config{})
			continue
		}
		<-time.After(time.Duration(rand.IntN(30)) * time.Millisecond) // nothing is awaited: it may do wrong meanwhile
		require.Equal(t, before, ends(t, client, counts.Spec()))
		r.app.Resume()
	}
	r.leave(t)
	require.NoError(t, newApp(t, client, wordCount(t), true).Run(t.Context()))
	checkCounts(t, client, n)
}

// TestPauseBeforeRun has an app that begins paused: it takes its tasks over and processes nothing. Paused, it hands over to others, and
// they process what is theirs.
func TestPauseBeforeRun(t *testing.T) {
	server, client := newServer(t)
	produce(t, client, lines, textLines(1000)...)
	nothing, cancel := context.WithCancel(t.Context())
	defer cancel()
	paused := processor.NewApp(client, wordCount(t), processor.Config{SessionTimeout: time.Second})
	require.NoError(t, paused.Pause(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- paused.Run(nothing) }()
	require.Eventually(t, func() bool { return len(paused.StoreStats()) == 4 }, time.Minute, time.Millisecond, "4 tasks have a store")
	require.NoError(t, paused.Pause(t.Context()), "to pause twice is to do it once")
	require.Zero(t, committed(t, client, lines.Spec(), "wordcount"))

	other := startInstance(t, server, wordCount(t), processor.Config{})
	require.Eventually(t, func() bool { return other.tasks() == 4 }, time.Minute, time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
	require.Eventually(t, func() bool { return committed(t, client, lines.Spec(), "wordcount") == 1000 }, time.Minute, time.Millisecond)
	other.leave(t)
	checkCounts(t, client, 1000)
}

// TestPauseBounded pauses an app that has an end: it ends when it is resumed, with everything counted and every window closed.
func TestPauseBounded(t *testing.T) {
	client := newClient(t)
	const n = 5000
	produce(t, client, lines, textLines(n)...)
	app := newApp(t, client, wordCount(t), true)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 20 {
			require.NoError(t, app.Pause(t.Context()))
			<-time.After(time.Millisecond)
			app.Resume()
		}
	})
	require.NoError(t, app.Run(t.Context()))
	wg.Wait()
	checkCounts(t, client, n)
}

// TestPauseWaits asks an app to pause whose operator is at work: Pause returns when its context ends, and the app rests once the
// operator has returned.
func TestPauseWaits(t *testing.T) {
	t.Parallel()
	server, client := newServer(t)
	produce(t, client, ints, stream.ProducerRecord[int]{Key: "k", Value: 1}, stream.ProducerRecord[int]{Key: "k", Value: 2})
	at, release := make(chan int), make(chan struct{})
	b := processor.NewBuilder("slow")
	processor.Map(processor.From(b, ints), func(n int) int { at <- n; <-release; return n }).To(passed)
	r := startInstance(t, server, build(t, b), processor.Config{})
	require.Equal(t, 1, <-at)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := r.app.Pause(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "pause app slow: 1 tasks have not come to rest yet")
	close(release)
	require.NoError(t, r.app.Pause(t.Context()))
	require.EqualValues(t, 1, ends(t, client, passed.Spec()), "the second record, which has been read, waits")
	r.app.Resume()
	require.Equal(t, 2, <-at)
	r.leave(t)
	require.EqualValues(t, 2, ends(t, client, passed.Spec()))
}
