package stream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

const (
	chaosParts   = 2
	chaosKeys    = 20
	chaosRecords = 30_000
)

// tally is an entry of the journal: records, and the position behind them.
type tally struct {
	Partition int
	Next      uint64
	Values    []string
}

// Records are in the results once, whatever happens to servers, connections and readers,
// where the position is stored with the result.
func TestResultsAreExactlyOnceUnderChaos(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	cluster := embeddedtest.StartCluster(t, 3)
	connect := func() (*nats.Conn, *stream.Client) {
		nc := embeddedtest.ConnectToCluster(t, cluster, reconnecting()...)
		c, err := stream.NewClient(nc, stream.Config{Replicas: 3})
		require.NoError(t, err)
		return nc, c
	}
	sending, producers := connect()
	reading, readers := connect()
	topic := stream.Topic[string]{Name: "chaos", Partitions: chaosParts}
	createTopic(t, producers, topic.Spec())

	sent := make(chan error, 1)
	go func() { sent <- sendNumbers(ctx, producers, topic) }()
	disturbed := make(chan error, 1)
	go func() { disturbed <- disturb(ctx, cluster, []*nats.Conn{sending, reading}) }()

	lives, last := 0, make(map[string]int)
	for total := 0; total < chaosRecords; lives++ {
		total = oneLife(ctx, t, readers, topic)
	}
	require.NoError(t, <-sent)
	require.NoError(t, <-disturbed)
	values := 0
	for _, r := range results(ctx, t, readers, nil) {
		for _, v := range r.Values {
			n, err := strconv.Atoi(v)
			require.NoError(t, err)
			key := strconv.Itoa(n % chaosKeys)
			if before, ok := last[key]; ok {
				require.Equal(t, before+chaosKeys, n, "key %s", key)
			}
			last[key] = n
			values++
		}
	}
	require.Equal(t, chaosRecords, values)
	t.Logf("%d records acknowledged, %d in the results, each once and in the order of its key; the reader lived %d times", chaosRecords, values, lives)
}

func sendNumbers(ctx context.Context, c *stream.Client, topic stream.Topic[string]) error {
	p, err := stream.NewProducer(c, topic, stream.ProducerConfig{})
	if err != nil {
		return err
	}
	pace := time.NewTicker(400 * time.Millisecond) // so that sending is as long as the disturbances
	defer pace.Stop()
	for i := range chaosRecords {
		v := strconv.Itoa(i)
		if err := p.Send(ctx, stream.ProducerRecord[string]{Key: strconv.Itoa(i % chaosKeys), Value: v, ID: v}); err != nil {
			return err
		}
		if i%1000 == 999 {
			<-pace.C
		}
	}
	return p.Close(ctx)
}

// disturb makes leaders step down, cuts connections and restarts each server in turn.
func disturb(ctx context.Context, cluster *embedded.Cluster, conns []*nats.Conn) error {
	for i := range cluster.Size() {
		for p := range chaosParts {
			one, cancel := context.WithTimeout(ctx, time.Second)
			// Without a leader nobody answers: then there is nobody to step down.
			_, _ = conns[0].RequestWithContext(one, fmt.Sprintf("$JS.API.STREAM.LEADER.STEPDOWN.chaos-%d", p), nil)
			cancel()
		}
		for _, nc := range conns {
			if err := nc.ForceReconnect(); err != nil {
				return err
			}
		}
		if err := cluster.RestartServer(ctx, i); err != nil {
			return err
		}
		if err := cluster.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// results replays the journal.
func results(ctx context.Context, t *testing.T, c *stream.Client, into **stream.Journal) []tally {
	t.Helper()
	j, err := c.OpenJournal(ctx, "results")
	require.NoError(t, err)
	var out []tally
	require.NoError(t, j.Replay(ctx, func(e stream.Entry) error {
		var r tally
		err := json.Unmarshal(e.Data, &r)
		out = append(out, r)
		return err
	}))
	if into != nil {
		*into = j
	}
	return out
}

// oneLife reads some thousand records into the journal from where it ends, never commits
// to the group, and gives how many records the journal has.
func oneLife(ctx context.Context, t *testing.T, c *stream.Client, topic stream.Topic[string]) int {
	t.Helper()
	var j *stream.Journal
	next, total := make(map[int]uint64), 0
	for _, r := range results(ctx, t, c, &j) {
		next[r.Partition] = r.Next
		total += len(r.Values)
	}
	k, err := stream.NewConsumer(ctx, c, topic, stream.ConsumerConfig{
		Group: "results",
		OnAssigned: func(_ context.Context, parts []stream.Assignment) error {
			for i := range parts {
				parts[i].Next = max(next[parts[i].Partition], 1)
			}
			return nil
		},
	})
	require.NoError(t, err)
	defer k.Close()
	for end := min(total+4000, chaosRecords); total < end; {
		records, err := k.Poll(ctx)
		require.NoError(t, err)
		r := tally{Partition: records[0].Partition, Next: records[len(records)-1].Offset + 1}
		for _, one := range records {
			r.Values = append(r.Values, one.Value)
		}
		data, err := json.Marshal(r)
		require.NoError(t, err)
		_, err = j.Append(ctx, data)
		require.NoError(t, err)
		total += len(records)
	}
	return total
}
