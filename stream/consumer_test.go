package stream_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

func newConsumer[V any](t testing.TB, c *stream.Client, topic stream.Topic[V], cfg stream.ConsumerConfig) *stream.Consumer[V] {
	t.Helper()
	k, err := stream.NewConsumer(testContext(t), c, topic, cfg)
	require.NoError(t, err)
	t.Cleanup(k.Close)
	return k
}

// pollN polls at least n records.
func pollN[V any](t testing.TB, k *stream.Consumer[V], n int) []stream.Record[V] {
	t.Helper()
	ctx := testContext(t)
	var got []stream.Record[V]
	for len(got) < n {
		records, err := k.Poll(ctx)
		require.NoError(t, err)
		require.NotEmpty(t, records)
		got = append(got, records...)
	}
	return got
}

// fill stores "0", "1", ... round robin in the partitions of numbers.
func fill(t testing.TB, c *stream.Client, from, n int) {
	t.Helper()
	spec := numbers.Spec()
	var out []stream.Outgoing
	for i := from; i < from+n; i++ {
		out = append(out, stream.Outgoing{Topic: spec, Partition: i % spec.Partitions, Key: "k", Data: []byte(strconv.Itoa(i)), ID: strconv.Itoa(i)})
	}
	require.NoError(t, c.Publish(testContext(t), out))
}

// requireAll checks that the records are those that fill stored, each once and
// in order within its partition.
func requireAll(t testing.TB, from, n int, records []stream.Record[string]) {
	t.Helper()
	require.Len(t, records, n)
	next := map[int]int{}
	for i := range numbers.Partitions {
		next[(from+i)%numbers.Partitions] = from + i
	}
	for _, r := range records {
		require.NoError(t, r.Err)
		require.Equal(t, "numbers", r.Topic)
		require.Equal(t, strconv.Itoa(next[r.Partition]), r.Value)
		require.EqualValues(t, next[r.Partition]/numbers.Partitions+1, r.Offset)
		next[r.Partition] += numbers.Partitions
	}
}

func TestConsumerResumesWhereItCommitted(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	fill(t, c, 0, 1000)
	cfg := stream.ConsumerConfig{Group: "g"}
	k := newConsumer(t, c, numbers, cfg)
	requireAll(t, 0, 1000, pollN(t, k, 1000))
	done, err := k.CaughtUp(ctx)
	require.NoError(t, err)
	require.True(t, done)
	require.NoError(t, k.Commit(ctx))
	require.NoError(t, k.Commit(ctx), "nothing new")

	fill(t, c, 1000, 1000)
	requireAll(t, 1000, 1000, pollN(t, k, 1000))
	k.Close() // without a commit
	k.Close()
	_, err = k.Poll(ctx)
	require.ErrorIs(t, err, stream.ErrClosed)
	require.ErrorIs(t, k.Commit(ctx), stream.ErrClosed)

	committed, err := c.Committed(ctx, numbers.Spec(), "g")
	require.NoError(t, err)
	for p, o := range committed {
		require.Equal(t, stream.GroupOffset{Partition: p, Next: 251, Lag: 250}, o)
	}
	k = newConsumer(t, c, numbers, cfg)
	requireAll(t, 1000, 1000, pollN(t, k, 1000))
	require.NoError(t, k.Commit(ctx))
	k.Close()
	committed, err = c.Committed(ctx, numbers.Spec(), "g")
	require.NoError(t, err)
	require.Equal(t, stream.GroupOffset{Next: 501}, committed[0])
}

func TestConsumerStart(t *testing.T) {
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	fill(t, c, 0, 100)
	latest := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "latest", Start: stream.Latest})
	earliest := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "earliest"})
	fill(t, c, 100, 100)
	requireAll(t, 100, 100, pollN(t, latest, 100))
	requireAll(t, 0, 200, pollN(t, earliest, 200))
	// A group that has a position keeps it.
	latest.Close()
	again := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "latest", Start: stream.Earliest})
	requireAll(t, 100, 100, pollN(t, again, 100))
}

func TestPollEndsWithItsContext(t *testing.T) {
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	k := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "g"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := k.Poll(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestUndecodableRecords(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	topic := stream.Topic[reading]{Name: "t"}
	createTopic(t, c, topic.Spec())
	bad := [][]byte{[]byte(`{"V":`), []byte(`{"V":1,"V":2}`), []byte("{\"V\":\"\xff\"}"), nil}
	var out []stream.Outgoing
	for _, data := range bad {
		out = append(out, stream.Outgoing{Topic: topic.Spec(), Key: "k", Data: data})
	}
	out = append(out, stream.Outgoing{Topic: topic.Spec(), Key: "k", Data: []byte(`{"V":1}`), Headers: stream.Headers{stream.TimeHeader: {"x"}}})
	out = append(out, stream.Outgoing{Topic: topic.Spec(), Key: "k", Data: []byte(`{"V":7}`)})
	require.NoError(t, c.Publish(ctx, out))
	got := pollN(t, newConsumer(t, c, topic, stream.ConsumerConfig{Group: "g"}), 6)
	for i, r := range got[:5] {
		require.Error(t, r.Err, "record %d", i)
		require.Zero(t, r.Value)
		require.Equal(t, string(out[i].Data), string(r.Data))
		require.False(t, r.Time.IsZero())
	}
	require.NoError(t, got[5].Err)
	require.InDelta(t, 7, got[5].Value.V, 0)
}

func TestConsumerConfigMistakes(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	createTopic(t, c, numbers.Spec())
	var bad *stream.NameError
	for _, group := range []string{"", "a.b", "a b", "*"} {
		_, err := stream.NewConsumer(ctx, c, numbers, stream.ConsumerConfig{Group: group})
		require.ErrorAs(t, err, &bad)
	}
	_, err := stream.NewConsumer(ctx, c, numbers, stream.ConsumerConfig{Group: "g", Start: 5})
	require.ErrorContains(t, err, "Start")
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateConsumer(ctx, "numbers-2", jetstream.ConsumerConfig{Durable: "foreign", AckPolicy: jetstream.AckExplicitPolicy})
	require.NoError(t, err)
	_, err = stream.NewConsumer(ctx, c, numbers, stream.ConsumerConfig{Group: "foreign"})
	require.ErrorAs(t, err, &bad)
}

// With one record per poll, a commit confirms exactly that record.
func TestMaxPollRecords(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	topic := stream.Topic[string]{Name: "numbers", Codec: stream.String()}
	createTopic(t, c, topic.Spec())
	var out []stream.Outgoing
	for i := range 1000 {
		out = append(out, stream.Outgoing{Topic: topic.Spec(), Key: "k", Data: []byte(strconv.Itoa(i))})
	}
	require.NoError(t, c.Publish(ctx, out))
	for _, limit := range []int{1, 7, 0, 10_000} {
		k := newConsumer(t, c, topic, stream.ConsumerConfig{Group: fmt.Sprint("g", limit), MaxPollRecords: limit})
		for n := 0; n < 1000; {
			records, err := k.Poll(ctx)
			require.NoError(t, err)
			if limit > 0 {
				require.LessOrEqual(t, len(records), limit)
			}
			for _, r := range records {
				require.Equal(t, strconv.Itoa(n), r.Value)
				n++
			}
			if limit == 1 && n%100 == 0 {
				require.NoError(t, k.Commit(ctx))
				committed, err := c.Committed(ctx, topic.Spec(), "g1")
				require.NoError(t, err)
				require.Equal(t, stream.GroupOffset{Next: uint64(n + 1), Lag: uint64(1000 - n)}, committed[0])
			}
		}
	}
	_, err := stream.NewConsumer(ctx, c, topic, stream.ConsumerConfig{Group: "g", MaxPollRecords: -1})
	require.ErrorContains(t, err, "MaxPollRecords")
}

// Large records are bounded by their bytes on both ways and still come through.
func TestLargeRecords(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	topic := stream.Topic[[]byte]{Name: "large", Codec: stream.Bytes()}
	createTopic(t, c, topic.Spec())
	p := newProducer(t, c, topic, stream.ProducerConfig{})
	value := make([]byte, 900<<10)
	for i := range 60 {
		value[0] = byte(i)
		require.NoError(t, p.Send(ctx, stream.ProducerRecord[[]byte]{Key: "k", Value: append([]byte(nil), value...)}))
	}
	require.NoError(t, p.Flush(ctx))
	for i, r := range pollN(t, newConsumer(t, c, topic, stream.ConsumerConfig{Group: "g"}), 60) {
		require.Len(t, r.Value, len(value))
		require.Equal(t, byte(i), r.Value[0])
	}
}

// The server is restarted under a consumer that commits now and then: it sees
// every record once and in order, and its commits hold.
func TestConsumerAcrossServerRestarts(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := restartable(t)
	c := clientOf(t, s.connect(t))
	createTopic(t, c, numbers.Spec())
	k := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "g", OnLost: func(_ context.Context, parts []int) error {
		return fmt.Errorf("partitions %v are lost, and what was not committed is read again", parts)
	}})
	const rounds, each = 5, 4000
	var got []stream.Record[string]
	for round := range rounds {
		fill(t, c, round*each, each)
		if round > 0 {
			s.restart(t)
		}
		for len(got) < (round+1)*each {
			got = append(got, pollN(t, k, 1)...)
			if len(got)%3 == 0 {
				require.NoError(t, k.Commit(ctx))
			}
		}
	}
	requireAll(t, 0, rounds*each, got)
	s.restart(t)
	require.NoError(t, k.Commit(ctx), "what was polled before the restart")
	committed, err := c.Committed(ctx, numbers.Spec(), "g")
	require.NoError(t, err)
	for p, o := range committed {
		require.Equal(t, stream.GroupOffset{Partition: p, Next: rounds*each/4 + 1}, o)
	}
	fill(t, c, rounds*each, 100)
	requireAll(t, rounds*each, 100, pollN(t, k, 100))
}

func TestStoreOffsetShowsInTheConsumerReport(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	createTopic(t, c, numbers.Spec())
	fill(t, c, 0, 400)
	spec := numbers.Spec()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	committed, err := c.Committed(ctx, spec, "app")
	require.NoError(t, err)
	require.Equal(t, stream.GroupOffset{Partition: 3, Next: 1, Lag: 100}, committed[3])
	for _, next := range []uint64{1, 41, 101, 41} { // back as well
		require.NoError(t, c.StoreOffset(ctx, spec, "app", 3, next))
		cons, err := js.Consumer(ctx, "numbers-3", "app")
		require.NoError(t, err)
		info := cons.CachedInfo()
		require.Equal(t, next-1, info.AckFloor.Stream)
		require.Equal(t, 101-next, info.NumPending)
		committed, err := c.Committed(ctx, spec, "app")
		require.NoError(t, err)
		require.Equal(t, stream.GroupOffset{Partition: 3, Next: next, Lag: 101 - next}, committed[3])
	}
	// Somebody deletes the durable: the next call makes it anew.
	require.NoError(t, js.DeleteConsumer(ctx, "numbers-3", "app"))
	require.NoError(t, c.StoreOffset(ctx, spec, "app", 3, 77))
	committed, err = c.Committed(ctx, spec, "app")
	require.NoError(t, err)
	require.EqualValues(t, 77, committed[3].Next)
}

func TestTopicVanishesUnderAConsumer(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	createTopic(t, c, numbers.Spec())
	fill(t, c, 0, 8)
	k := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "g"})
	requireAll(t, 0, 8, pollN(t, k, 8))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.NoError(t, js.DeleteStream(ctx, "numbers-1"))
	one, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err = k.Poll(one)
	var missing *stream.TopicNotFoundError
	require.ErrorAs(t, err, &missing)
}
