package processor_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// TestBlockedFunctionDoesNotBlockRun has a user function that never returns: Run must, and say whose it is and where it hangs. What
// it had in hand is processed by the next Run.
func TestBlockedFunctionDoesNotBlockRun(t *testing.T) {
	for _, bounded := range []bool{false, true} {
		testBlocked(t, bounded)
	}
}

func testBlocked(t *testing.T, bounded bool) {
	t.Helper()
	client := newClient(t)
	produce(t, client, ints, stream.ProducerRecord[int]{Key: "k", Value: 1}, stream.ProducerRecord[int]{Key: "k", Value: 2})
	release := make(chan struct{})
	blocked := make(chan struct{}, 1)
	var released atomic.Bool
	describe := func() *processor.Topology {
		b := processor.NewBuilder("blocking")
		double := processor.Map(processor.From(b, ints), func(n int) int { return 2 * n })
		processor.Process(double, "hang", func(c *processor.Context[int]) processor.Handler[int] {
			return processor.Handler[int]{Record: func(r processor.Record[int]) error {
				if !released.Load() {
					blocked <- struct{}{}
					waitForever(release)
				}
				c.Forward(r)
				return nil
			}}
		}).To(passed)
		return build(t, b)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	app := processor.NewApp(client, describe(), processor.Config{StopTimeout: 50 * time.Millisecond, Bounded: bounded})
	go func() { ended <- app.Run(ctx) }()
	<-blocked
	cancel()
	err := <-ended
	var be *processor.BlockedError
	require.ErrorAs(t, err, &be)
	require.Equal(t, "ints-0", be.Task)
	require.Contains(t, be.Operator, "process hang (processor/stopping_test.go:")
	require.Contains(t, be.Stack, "waitForever")
	require.NotContains(t, err.Error(), "\n")
	released.Store(true)
	close(release)
	require.NoError(t, newApp(t, client, describe(), true).Run(t.Context()))
	var got []int
	for _, r := range all(t, client, passed) {
		got = append(got, r.Value)
	}
	require.Equal(t, []int{2, 4}, got)
}

func waitForever(release <-chan struct{}) { <-release }

// TestRetryWaitsStoppably asks an app to stop whose operator is to be tried again in an hour. Another task goes on meanwhile.
func TestRetryWaitsStoppably(t *testing.T) {
	client := newClient(t)
	in := stream.Topic[int]{Name: "ints", Partitions: 2}
	keys := []string{"", ""}
	for i := 0; keys[0] == "" || keys[1] == ""; i++ {
		key := fmt.Sprint(i)
		keys[stream.Partition(key, 2)] = key
	}
	var well atomic.Bool
	describe := func() *processor.Topology {
		b := processor.NewBuilder("patient")
		processor.Map(processor.From(b, in), func(n int) int {
			if n == 13 && !well.Load() {
				panic("later")
			}
			return n
		}).OnFailure(processor.Retry{Backoff: time.Hour}).To(passed)
		return build(t, b)
	}
	produce(t, client, in, stream.ProducerRecord[int]{Key: keys[0], Value: 13}, stream.ProducerRecord[int]{Key: keys[0], Value: 14})
	core, logs := observer.New(zap.WarnLevel)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- processor.NewApp(client, describe(), processor.Config{Logger: zap.New(core)}).Run(ctx)
	}()
	waiting := func() bool { return logs.FilterMessage("an attempt has failed; there is another one").Len() == 1 }
	require.Eventually(t, waiting, 30*time.Second, 5*time.Millisecond)
	produce(t, client, in, stream.ProducerRecord[int]{Key: keys[1], Value: 1})
	require.Eventually(t, func() bool {
		offsets, err := client.Offsets(t.Context(), passed.Spec())
		return err == nil && offsets[0].Records == 1
	}, 30*time.Second, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
	well.Store(true)
	require.NoError(t, newApp(t, client, describe(), true).Run(t.Context()))
	var got []int
	for _, r := range all(t, client, passed) {
		got = append(got, r.Value)
	}
	require.Equal(t, []int{1, 13, 14}, got)
}

// TestStopBetweenRecords asks an app to stop that has read many records and takes its time with each: it finishes the one in hand.
func TestStopBetweenRecords(t *testing.T) {
	client := newClient(t)
	records := make([]stream.ProducerRecord[int], 100)
	for i := range records {
		records[i] = stream.ProducerRecord[int]{Key: "k", Value: i}
	}
	produce(t, client, ints, records...)
	at, release := make(chan int), make(chan struct{})
	b := processor.NewBuilder("slow")
	processor.Map(processor.From(b, ints), func(n int) int { at <- n; <-release; return n }).To(passed)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- newApp(t, client, build(t, b), false).Run(ctx) }()
	require.Equal(t, 0, <-at)
	cancel()
	release <- struct{}{}
	require.NoError(t, <-ended)
	require.Len(t, all(t, client, passed), 1)
}
