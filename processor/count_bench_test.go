package processor_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

const countStep = 100 * time.Microsecond // of event time between two records

// countWindow is long enough for each key to come at least twice.
func countWindow(keys int) time.Duration { return time.Duration(max(2*keys, 100_000)) * countStep }

func views(keys int) stream.Topic[reading] {
	return stream.Topic[reading]{Name: "views-" + strconv.Itoa(keys), Partitions: benchPartitions, Time: func(r reading) time.Time { return r.Time }}
}

func countTopic(name string) stream.Topic[int64] {
	return stream.Topic[int64]{Name: name + "-counts", Partitions: benchPartitions}
}

// BenchmarkWindowedCount counts JSON records per key in tumbling windows and writes each count when its window closes, as a
// Rossby app and as a program written by hand around a map, both exactly-once; with few keys and with many.
func BenchmarkWindowedCount(b *testing.B) {
	for _, keys := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) { benchmarkCount(b, keys) })
	}
}

func benchmarkCount(b *testing.B, keys int) {
	records := max(2*keys, 400_000)
	nc := embeddedtest.Connect(b)
	client, err := stream.NewClient(nc, stream.Config{})
	require.NoError(b, err)
	topic := views(keys)
	require.NoError(b, client.CreateTopic(b.Context(), topic.Spec()))
	p, err := stream.NewProducer(client, topic, stream.ProducerConfig{})
	require.NoError(b, err)
	for i := range records {
		k := i * 7919 % keys // all keys, in an order that no cache likes
		r := reading{Sensor: "sensor-" + strconv.Itoa(k), Value: 1, Unit: "F", Time: at(0).Add(time.Duration(i) * countStep)}
		require.NoError(b, p.Send(b.Context(), stream.ProducerRecord[reading]{Key: r.Sensor, Value: r}))
	}
	require.NoError(b, p.Close(b.Context()))
	var ours, reference time.Duration
	round := 0
	for b.Loop() {
		round++
		ourName, handName := fmt.Sprintf("ours-%d", round), fmt.Sprintf("hand-%d", round)
		runOurs := func() {
			started := time.Now()
			runCount(b, client, keys, ourName)
			ours += time.Since(started)
		}
		runHand := func() {
			require.NoError(b, client.CreateTopic(b.Context(), countTopic(handName).Spec()))
			started := time.Now()
			countByHand(b, nc, keys, handName)
			reference += time.Since(started)
		}
		first, second := runOurs, runHand
		if round%2 == 0 { // whoever comes second finds a warm server
			first, second = runHand, runOurs
		}
		first()
		second()
		require.Equal(b, stored(b, client, countTopic(handName).Spec()), stored(b, client, countTopic(ourName).Spec()))
	}
	perSecond := func(d time.Duration) float64 { return float64(records*round) / d.Seconds() }
	b.ReportMetric(1e9/perSecond(ours), "ns/record")
	b.ReportMetric(perSecond(ours), "records/s")
	b.ReportMetric(perSecond(reference), "reference-records/s")
	b.ReportMetric(perSecond(ours)/perSecond(reference), "ratio")
	require.NoError(b, benchtable.Record(fmt.Sprintf("windowed count, exactly-once, %d keys", keys), perSecond(ours), perSecond(reference), "records/s"))
}

// runCount runs the app until it has counted what the topic holds.
func runCount(b *testing.B, client *stream.Client, keys int, name string) {
	builder := processor.NewBuilder(name)
	processor.Count(processor.From(builder, views(keys)), processor.Counting{Name: "count", Windows: processor.Tumbling(countWindow(keys)), Emit: processor.OnClose}).
		To(countTopic(name))
	topology, err := builder.Build()
	require.NoError(b, err)
	require.NoError(b, processor.NewApp(client, topology, processor.Config{Bounded: true}).Run(b.Context()))
}

// countByHand is the same program without the framework: a loop per partition with a map, results with message ids, and a fenced journal
// that gets the position and the counts that have changed.
func countByHand(b *testing.B, nc *nats.Conn, keys int, name string) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	require.NoError(b, err)
	var wg sync.WaitGroup
	for p := range benchPartitions {
		wg.Go(func() {
			if err := countPartition(b.Context(), js, keys, name, p); err != nil {
				b.Errorf("by hand, partition %d: %v", p, err)
			}
		})
	}
	wg.Wait()
}

type handCount struct {
	js      jetstream.JetStream
	name    string
	p       int
	counts  map[string]int64
	changed map[string]int64 // since the last commit, as the journal gets it
	window  int64            // start of the window that counts belong to
	acks    []jetstream.PubAckFuture
	head    uint64
}

func countPartition(ctx context.Context, js jetstream.JetStream, keys int, name string, p int) error {
	topic := views(keys).Name
	journal := fmt.Sprintf("%s-journal-%d", name, p)
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: journal, Subjects: []string{journal}}); err != nil {
		return err
	}
	s, err := js.Stream(ctx, fmt.Sprintf("%s-%d", topic, p))
	if err != nil {
		return err
	}
	total := int(s.CachedInfo().State.Msgs)
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	messages := make(chan jetstream.Msg, 4096)
	c, err := consumer.Consume(func(m jetstream.Msg) { messages <- m }, jetstream.PullMaxMessages(4096))
	if err != nil {
		return err
	}
	defer c.Stop()
	h := &handCount{js: js, name: name, p: p, counts: map[string]int64{}, changed: map[string]int64{}}
	for n := 1; n <= total; n++ {
		m := <-messages
		var r reading
		if err := json.Unmarshal(m.Data(), &r); err != nil {
			return err
		}
		_, key, _ := strings.Cut(m.Subject()[len(topic)+1:], ".")
		if w := r.Time.Truncate(countWindow(keys)).UnixMilli(); w != h.window {
			if err := h.close(); err != nil {
				return err
			}
			h.window = w
		}
		h.counts[key]++
		h.changed[key] = h.counts[key]
		if n%benchBatch != 0 && n != total {
			continue
		}
		if n == total {
			if err := h.close(); err != nil {
				return err
			}
		}
		if err := h.commit(ctx, journal, n); err != nil {
			return err
		}
	}
	return nil
}

// close publishes the counts of a window and forgets them.
func (h *handCount) close() error {
	for key, n := range h.counts {
		out := nats.NewMsg(fmt.Sprintf("%s-counts.%d.%s", h.name, h.p, key))
		out.Data = strconv.AppendInt(nil, n, 10)
		out.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s/%d/%s", h.name, h.window, key))
		ack, err := h.js.PublishMsgAsync(out)
		if err != nil {
			return err
		}
		h.acks = append(h.acks, ack)
	}
	clear(h.counts)
	clear(h.changed)
	return nil
}

// commit waits for what was published and stores the position and the changed counts.
func (h *handCount) commit(ctx context.Context, journal string, position int) error {
	for _, ack := range h.acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return err
		}
	}
	h.acks = h.acks[:0]
	entry, err := json.Marshal(struct {
		Position int
		Window   int64
		Counts   map[string]int64
	}{position, h.window, h.changed})
	if err != nil {
		return err
	}
	clear(h.changed)
	ack, err := h.js.Publish(ctx, journal, entry, jetstream.WithExpectLastSequence(h.head))
	if err != nil {
		return err
	}
	h.head = ack.Sequence
	return nil
}
