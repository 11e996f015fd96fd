package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/stream"
)

// BenchmarkConsumerPartitions compares one Consumer of 64 partitions with one of 8, with
// as many records altogether.
func BenchmarkConsumerPartitions(b *testing.B) {
	_, _, c := benchClient(b)
	topics := map[int]stream.Topic[[]byte]{}
	for _, n := range []int{8, 64} {
		topic := stream.Topic[[]byte]{Name: fmt.Sprint("wide", n), Partitions: n, Codec: stream.Bytes()}
		createTopic(b, c, topic.Spec())
		out := make([]stream.Outgoing, benchRecords)
		for i := range out {
			out[i] = stream.Outgoing{Topic: topic.Spec(), Partition: i % n, Key: "k", Data: bytes.Repeat([]byte("x"), benchSize)}
		}
		require.NoError(b, c.Publish(b.Context(), out))
		topics[n] = topic
	}
	groups := 0
	var k *stream.Consumer[[]byte]
	read := func(n int) {
		groups++
		var err error
		k, err = stream.NewConsumer(b.Context(), c, topics[n], stream.ConsumerConfig{Group: fmt.Sprint("g", groups)})
		require.NoError(b, err)
		for got := 0; got < benchRecords; {
			records, err := k.Poll(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			got += len(records)
		}
	}
	versus(b, "consumer, 64 partitions to 8", benchRecords, sides{
		ours: func() { read(64) }, reference: func() { read(8) }, after: func() { k.Close() },
	})
}

// BenchmarkRebalance gives for how long nobody reads a partition whose reader goes:
// from when it begins to leave, or dies, to the first record that its successor has.
// The reference is what is promised: 100 ms, and the session timeout and 500 ms.
func BenchmarkRebalance(b *testing.B) {
	const session = time.Second
	b.Run("leave", func(b *testing.B) {
		rebalances(b, "rebalance, clean leave, to 100 ms", 100*time.Millisecond, session, func(a *stream.Consumer[string], _ func()) { a.Close() })
	})
	b.Run("crash", func(b *testing.B) {
		rebalances(b, "rebalance, crash, to session and 500 ms", session+500*time.Millisecond, session, func(_ *stream.Consumer[string], cut func()) { cut() })
	})
}

func rebalances(b *testing.B, name string, promised, session time.Duration, end func(*stream.Consumer[string], func())) {
	b.Helper()
	for b.Loop() {
		var gaps []time.Duration
		for range benchRounds {
			gaps = append(gaps, rebalance(b, session, end))
		}
		slices.Sort(gaps)
		median := gaps[len(gaps)/2]
		b.ReportMetric(float64(median.Microseconds())/1000, "gap-ms")
		b.ReportMetric(float64(gaps[len(gaps)-1].Microseconds())/1000, "worst-ms")
		require.NoError(b, benchtable.Record(name, 1/median.Seconds(), 1/promised.Seconds(), "1/s"))
	}
	b.ReportMetric(0, "ns/op")
}

// rebalance lets one of two members go, and gives how long its partitions rested.
func rebalance(b *testing.B, session time.Duration, end func(*stream.Consumer[string], func())) time.Duration {
	b.Helper()
	s := embeddedtest.Start(b)
	admin := clientOf(b, embeddedtest.ConnectTo(b, s))
	createTopic(b, admin, numbers.Spec())
	cfg := stream.ConsumerConfig{Group: "g", SessionTimeout: session}
	nc := embeddedtest.ConnectTo(b, s)
	a := newConsumer(b, clientOf(b, nc), numbers, cfg)
	other := newConsumer(b, admin, numbers, cfg)
	share := func(k *stream.Consumer[string]) bool {
		soon, cancel := context.WithTimeout(b.Context(), time.Millisecond)
		defer cancel()
		if _, err := k.Poll(soon); !errors.Is(err, context.DeadlineExceeded) {
			require.NoError(b, err)
		}
		return len(k.Assigned()) == numbers.Partitions/2
	}
	for !share(a) || !share(other) {
		require.NoError(b, b.Context().Err())
	}
	moved := a.Assigned()
	fill(b, admin, 0, 400)
	pollN(b, a, 200)
	pollN(b, other, 200)
	require.NoError(b, a.Commit(b.Context()))
	fill(b, admin, 400, 400)
	start := time.Now()
	end(a, nc.Close)
	for {
		records, err := other.Poll(b.Context())
		require.NoError(b, err)
		if slices.Contains(moved, records[0].Partition) {
			return time.Since(start)
		}
	}
}
