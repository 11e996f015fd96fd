package stream_test

import (
	"bytes"
	"context"
	"fmt"
	"sort"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/stream"
)

const (
	benchRounds  = 9      // of each side, in turns
	benchRecords = 60_000 // per round
	benchSize    = 200    // bytes of a value
	benchParts   = 4
	// consumeRecords is per round of reading in a group: more, so that joining one, which takes some 20 ms once, is no part of what is measured.
	consumeRecords = 6 * benchRecords
)

var benchTopic = stream.Topic[[]byte]{Name: "bench", Partitions: benchParts, Codec: stream.Bytes()}

// versus runs the two sides in turns and reports the medians: other load on the
// machine meets both alike.
func versus(b *testing.B, name string, records int, s sides) {
	b.Helper()
	rate := func(fn func()) float64 {
		start := time.Now()
		fn()
		took := time.Since(start)
		if s.after != nil {
			s.after()
		}
		return float64(records) / took.Seconds()
	}
	median := func(v []float64) float64 { sort.Float64s(v); return v[len(v)/2] }
	for b.Loop() {
		var mine, theirs []float64
		for round := range benchRounds + 1 {
			r, o := rate(s.reference), rate(s.ours)
			if round > 0 { // the first one warms up
				mine, theirs = append(mine, o), append(theirs, r)
			}
		}
		m, r := median(mine), median(theirs)
		b.ReportMetric(m, "ours/s")
		b.ReportMetric(r, "reference/s")
		b.ReportMetric(m/r, "ratio")
		require.NoError(b, benchtable.Record(name, m, r, "records/s"))
	}
	b.ReportMetric(0, "ns/op")
}

// sides are what versus compares. after, if set, tidies up and is not measured.
type sides struct {
	ours, reference, after func()
}

func benchKeys() []string {
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprintf("eu.web-%03d", i)
	}
	return keys
}

func benchClient(b *testing.B) (*nats.Conn, jetstream.JetStream, *stream.Client) {
	b.Helper()
	nc := embeddedtest.Connect(b)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(benchParts*4096))
	require.NoError(b, err)
	return nc, js, clientOf(b, nc)
}

// purge empties the topic between rounds, so that no round pays for another.
func purge(b *testing.B, js jetstream.JetStream, spec stream.TopicSpec) {
	b.Helper()
	for p := range spec.Partitions {
		s, err := js.Stream(b.Context(), spec.BackingStream(p))
		require.NoError(b, err)
		require.NoError(b, s.Purge(b.Context()))
	}
}

// BenchmarkProducer compares Producer with a bare PublishAsync loop that does
// the same: key to partition, acknowledgements of all.
func BenchmarkProducer(b *testing.B) {
	_, js, c := benchClient(b)
	createTopic(b, c, benchTopic.Spec())
	keys, value := benchKeys(), bytes.Repeat([]byte("x"), benchSize)
	p, err := stream.NewProducer(c, benchTopic, stream.ProducerConfig{})
	require.NoError(b, err)
	defer func() { require.NoError(b, p.Close(context.Background())) }()
	ctx := b.Context()

	versus(b, "producer, acks all", benchRecords, sides{after: func() { purge(b, js, benchTopic.Spec()) }, ours: func() {
		for i := range benchRecords {
			if err := p.Send(ctx, stream.ProducerRecord[[]byte]{Key: keys[i%len(keys)], Value: value}); err != nil {
				b.Fatal(err)
			}
		}
		require.NoError(b, p.Flush(ctx))
	}, reference: func() {
		for i := range benchRecords {
			key := keys[i%len(keys)]
			subject := "bench." + strconv.Itoa(stream.Partition(key, benchParts)) + "." + key
			if _, err := js.PublishAsync(subject, value); err != nil {
				b.Fatal(err)
			}
		}
		<-js.PublishAsyncComplete()
	}})
}

// BenchmarkUnmarkedProducer is BenchmarkProducer's topic without marks: the
// reference is the producer that marks.
func BenchmarkUnmarkedProducer(b *testing.B) {
	produceVersus(b, "producer, unmarked against marked", benchTopic, benchTopic, true)
}

// BenchmarkManyPartitions is the cost per record of 64 partitions; the reference
// has 8.
func BenchmarkManyPartitions(b *testing.B) {
	few, many := benchTopic, benchTopic
	few.Name, few.Partitions = "few", 8
	many.Name, many.Partitions = "many", 64
	produceVersus(b, "producer, 64 partitions against 8", many, few, false)
}

// produceVersus sends the same records to two topics, which may be one.
func produceVersus(b *testing.B, name string, ours, reference stream.Topic[[]byte], unmarked bool) {
	b.Helper()
	_, js, c := benchClient(b)
	keys, value := benchKeys(), bytes.Repeat([]byte("x"), benchSize)
	send := func(topic stream.Topic[[]byte], cfg stream.ProducerConfig) func() {
		createTopic(b, c, topic.Spec())
		p, err := stream.NewProducer(c, topic, cfg)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, p.Close(context.Background())) })
		return func() {
			for i := range benchRecords {
				if err := p.Send(b.Context(), stream.ProducerRecord[[]byte]{Key: keys[i%len(keys)], Value: value}); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, p.Flush(b.Context()))
		}
	}
	versus(b, name, benchRecords, sides{
		after: func() {
			purge(b, js, ours.Spec())
			purge(b, js, reference.Spec())
		},
		ours:      send(ours, stream.ProducerConfig{Unmarked: unmarked}),
		reference: send(reference, stream.ProducerConfig{}),
	})
}

// BenchmarkConsumer compares Consumer with bare AckAll loops over the same
// durables that acknowledge every thousand messages.
func BenchmarkConsumer(b *testing.B) {
	_, js, c := benchClient(b)
	createTopic(b, c, benchTopic.Spec())
	ctx := b.Context()
	fillBench(b, c, consumeRecords)

	groups := 0
	versus(b, "consumer group, commit per poll", consumeRecords, sides{ours: func() {
		groups++
		k, err := stream.NewConsumer(ctx, c, benchTopic, stream.ConsumerConfig{Group: fmt.Sprint("ours", groups)})
		require.NoError(b, err)
		defer k.Close()
		commit := 0
		for n := 0; n < consumeRecords; {
			records, err := k.Poll(ctx)
			if err != nil {
				b.Fatal(err)
			}
			n += len(records)
			if commit += len(records); commit >= 1000*benchParts || n == consumeRecords {
				commit = 0
				require.NoError(b, k.Commit(ctx))
			}
		}
	}, reference: func() {
		groups++
		done := make(chan error, benchParts)
		for p := range benchParts {
			go func() { done <- bareConsumer(ctx, js, p, fmt.Sprint("bare", groups)) }()
		}
		for range benchParts {
			require.NoError(b, <-done)
		}
	}})
}

// fillBench stores the same number of records in every partition.
func fillBench(b *testing.B, c *stream.Client, records int) {
	b.Helper()
	keys, value := benchKeys(), bytes.Repeat([]byte("x"), benchSize)
	out := make([]stream.Outgoing, records)
	for i := range out {
		out[i] = stream.Outgoing{Topic: benchTopic.Spec(), Partition: i % benchParts, Key: keys[i%len(keys)], Data: value}
	}
	require.NoError(b, c.Publish(b.Context(), out))
}

func bareConsumer(ctx context.Context, js jetstream.JetStream, p int, name string) error {
	cons, err := js.CreateConsumer(ctx, benchTopic.Spec().BackingStream(p), jetstream.ConsumerConfig{
		Durable: name, AckPolicy: jetstream.AckAllPolicy, MaxAckPending: -1,
	})
	if err != nil {
		return err
	}
	finished := make(chan error, 1)
	n := 0
	cc, err := cons.Consume(func(m jetstream.Msg) {
		switch n++; {
		case n == consumeRecords/benchParts:
			finished <- m.DoubleAck(ctx)
		case n%1000 == 0:
			_ = m.Ack()
		}
	}, jetstream.PullMaxMessages(4096))
	if err != nil {
		return err
	}
	defer cc.Stop()
	return <-finished
}

// BenchmarkReader compares Reader with the NATS library's ordered consumer.
func BenchmarkReader(b *testing.B) {
	_, js, c := benchClient(b)
	createTopic(b, c, benchTopic.Spec())
	ctx := b.Context()
	fillBench(b, c, benchRecords)
	const each = benchRecords / benchParts
	versus(b, "reader of one partition", each, sides{ours: func() {
		n, done := 0, make(chan struct{})
		r, err := c.OpenReader(ctx, benchTopic.Spec(), 0, stream.ReaderConfig{Deliver: func(stream.Message) {
			if n++; n == each {
				close(done)
			}
		}})
		require.NoError(b, err)
		<-done
		r.Close()
	}, reference: func() {
		cons, err := js.OrderedConsumer(ctx, "bench-0", jetstream.OrderedConsumerConfig{})
		require.NoError(b, err)
		n, done := 0, make(chan struct{})
		cc, err := cons.Consume(func(m jetstream.Msg) {
			if n++; n == each {
				close(done)
			}
		}, jetstream.PullMaxMessages(4096))
		require.NoError(b, err)
		<-done
		cc.Stop()
	}})
}

// BenchmarkJournalAppend gives the time of one commit by size.
func BenchmarkJournalAppend(b *testing.B) {
	for _, size := range []int{100, 10_000, 100_000, 900_000, 3 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c := newClient(b)
			j, _ := openJournal(b, b.Context(), c)
			data := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				e, err := j.Append(b.Context(), data)
				if err != nil {
					b.Fatal(err)
				}
				if e.Seq%100 == 0 {
					if err := j.Trim(b.Context(), e.Seq); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkPublishOne is the latency of one record's delivery, and of a small
// batch of them.
func BenchmarkPublishOne(b *testing.B) {
	for _, n := range []int{1, 2, 10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := newClient(b)
			createTopic(b, c, benchTopic.Spec())
			out := make([]stream.Outgoing, n)
			for b.Loop() {
				for i := range out {
					out[i] = stream.Outgoing{Topic: benchTopic.Spec(), Key: "k", Data: []byte("value")}
				}
				if err := c.Publish(b.Context(), out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPartition is on every path that a record takes.
func BenchmarkPartition(b *testing.B) {
	keys := benchKeys()
	i := 0
	for b.Loop() {
		stream.Partition(keys[i%len(keys)], 8)
		i++
	}
}
