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

// The benchmark's work: readings in JSON on 4 partitions in files; a tenth is dropped, the others are converted and written as JSON,
// exactly once.
const (
	benchRecords    = 200_000
	benchPartitions = 4
	benchBatch      = 10_000 // records per commit of the loop by hand
)

type reading struct {
	Sensor string    `json:"sensor"`
	Value  float64   `json:"value"`
	Unit   string    `json:"unit"`
	Time   time.Time `json:"time"`
}

type converted struct {
	Sensor  string    `json:"sensor"`
	Celsius float64   `json:"celsius"`
	Time    time.Time `json:"time"`
}

var readings = stream.Topic[reading]{Name: "readings", Partitions: benchPartitions, Time: func(r reading) time.Time { return r.Time }}

func valid(r reading) bool { return r.Unit == "F" }

func convert(r reading) converted {
	return converted{Sensor: r.Sensor, Celsius: (r.Value - 32) / 1.8, Time: r.Time}
}

func convertedTopic(name string) stream.Topic[converted] {
	return stream.Topic[converted]{Name: name + "-converted", Partitions: benchPartitions, Time: func(c converted) time.Time { return c.Time }}
}

func pipeline(tb testing.TB, name string) *processor.Topology {
	b := processor.NewBuilder(name)
	processor.Map(processor.From(b, readings).Filter(valid), convert).To(convertedTopic(name))
	topology, err := b.Build()
	require.NoError(tb, err)
	return topology
}

// BenchmarkStatelessExactlyOnce runs the pipeline as a Rossby app and as a loop written by hand: consume, decode, publish.
func BenchmarkStatelessExactlyOnce(b *testing.B) {
	nc := embeddedtest.Connect(b)
	client, err := stream.NewClient(nc, stream.Config{})
	require.NoError(b, err)
	require.NoError(b, client.CreateTopic(b.Context(), readings.Spec()))
	p, err := stream.NewProducer(client, readings, stream.ProducerConfig{})
	require.NoError(b, err)
	for i := range benchRecords {
		r := reading{Sensor: "sensor-" + strconv.Itoa(i%500), Value: float64(i%1000) / 10, Unit: "F", Time: at(i / 100)}
		if i%10 == 7 {
			r.Unit = "furlong"
		}
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
			require.NoError(b, processor.NewApp(client, pipeline(b, ourName), processor.Config{Bounded: true}).Run(b.Context()))
			ours += time.Since(started)
		}
		runHand := func() {
			require.NoError(b, client.CreateTopic(b.Context(), convertedTopic(handName).Spec()))
			started := time.Now()
			convertByHand(b, nc, handName)
			reference += time.Since(started)
		}
		first, second := runOurs, runHand
		if round%2 == 0 { // whoever comes second finds a warm server
			first, second = runHand, runOurs
		}
		first()
		second()
		require.EqualValues(b, benchRecords*9/10, stored(b, client, convertedTopic(ourName).Spec()))
		require.EqualValues(b, benchRecords*9/10, stored(b, client, convertedTopic(handName).Spec()))
	}
	perSecond := func(d time.Duration) float64 { return float64(benchRecords*round) / d.Seconds() }
	b.ReportMetric(perSecond(ours), "records/s")
	b.ReportMetric(perSecond(reference), "reference-records/s")
	b.ReportMetric(perSecond(ours)/perSecond(reference), "ratio")
	require.NoError(b, benchtable.Record("stateless JSON pipeline, exactly-once", perSecond(ours), perSecond(reference), "records/s"))
}

func stored(tb testing.TB, client *stream.Client, spec stream.TopicSpec) (n uint64) {
	offsets, err := client.Offsets(tb.Context(), spec)
	require.NoError(tb, err)
	for _, o := range offsets {
		n += o.Records
	}
	return n
}

// convertByHand is the same program without the framework, exactly-once too: results with message ids, positions in a fenced
// journal, a loop per partition.
func convertByHand(b *testing.B, nc *nats.Conn, name string) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	require.NoError(b, err)
	var wg sync.WaitGroup
	for p := range benchPartitions {
		wg.Go(func() {
			if err := convertPartition(b.Context(), js, name, p); err != nil {
				b.Errorf("by hand, partition %d: %v", p, err)
			}
		})
	}
	wg.Wait()
}

func convertPartition(ctx context.Context, js jetstream.JetStream, name string, p int) error {
	journal := fmt.Sprintf("%s-journal-%d", name, p)
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: journal, Subjects: []string{journal}}); err != nil {
		return err
	}
	s, err := js.Stream(ctx, fmt.Sprintf("readings-%d", p))
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
	var acks []jetstream.PubAckFuture
	var position, head uint64
	for n := 1; n <= total; n++ {
		m := <-messages
		var r reading
		if err := json.Unmarshal(m.Data(), &r); err != nil {
			return err
		}
		position++
		if valid(r) {
			data, err := json.Marshal(convert(r))
			if err != nil {
				return err
			}
			_, key, _ := strings.Cut(m.Subject()[len("readings."):], ".")
			out := nats.NewMsg(fmt.Sprintf("%s-converted.%d.%s", name, p, key))
			out.Data = data
			out.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s/%d/%d", name, p, position))
			ack, err := js.PublishMsgAsync(out)
			if err != nil {
				return err
			}
			acks = append(acks, ack)
		}
		if n%benchBatch != 0 && n != total {
			continue
		}
		for _, ack := range acks {
			select {
			case <-ack.Ok():
			case err := <-ack.Err():
				return err
			}
		}
		acks = acks[:0]
		ack, err := js.Publish(ctx, journal, strconv.AppendUint(nil, position, 10), jetstream.WithExpectLastSequence(head))
		if err != nil {
			return err
		}
		head = ack.Sequence
	}
	return nil
}
