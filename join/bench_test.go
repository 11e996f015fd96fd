package join_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// The benchmark's work: metrics of 500 hosts, every tenth record a log line, joined when they are at most 5 s apart, on 4
// partitions of two topics in files; JSON in, JSON out, exactly once.
const (
	benchRecords    = 200_000
	benchHosts      = 500
	benchPartitions = 4
	benchWithin     = 5 * time.Second
	benchBatch      = 10_000 // records per commit, both ways
)

type benchMetric struct {
	Host  string    `json:"host"`
	Name  string    `json:"name"`
	Value float64   `json:"value"`
	Unit  string    `json:"unit"`
	Time  time.Time `json:"time"`
}

type benchLog struct {
	Host     string    `json:"host"`
	Severity string    `json:"severity"`
	App      string    `json:"app"`
	Message  string    `json:"message"`
	Time     time.Time `json:"time"`
}

type benchHit struct {
	Host    string    `json:"host"`
	Value   float64   `json:"value"`
	Message string    `json:"message"`
	Time    time.Time `json:"time"`
}

var (
	benchMetrics = stream.Topic[benchMetric]{Name: "metrics", Partitions: benchPartitions, Time: func(m benchMetric) time.Time { return m.Time }}
	benchLogs    = stream.Topic[benchLog]{Name: "logs", Partitions: benchPartitions, Time: func(l benchLog) time.Time { return l.Time }}
)

func benchCorrelate(m benchMetric, l benchLog) benchHit {
	return benchHit{Host: m.Host, Value: m.Value, Message: l.Message, Time: later(m.Time, l.Time)}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// BenchmarkInnerExactlyOnce runs the join as a Rossby app and as a program written by hand for nothing else, over the same
// recorded input in the same run.
func BenchmarkInnerExactlyOnce(b *testing.B) {
	nc := embeddedtest.Connect(b)
	client, err := stream.NewClient(nc, stream.Config{})
	require.NoError(b, err)
	fillBenchTopics(b, client)
	var ours, reference time.Duration
	round := 0
	for b.Loop() {
		round++
		name := fmt.Sprintf("join-%d", round)
		started := time.Now()
		runApp(b, client, name)
		ours += time.Since(started)
		started = time.Now()
		results := runByHand(b, nc, fmt.Sprintf("hand-%d", round))
		reference += time.Since(started)
		if got := countResults(b, client, name+"-hits"); got != results {
			b.Fatalf("the app has %d results, the program by hand %d", got, results)
		}
	}
	perSecond := func(d time.Duration) float64 { return float64(benchRecords*round) / d.Seconds() }
	b.ReportMetric(perSecond(ours), "records/s")
	b.ReportMetric(perSecond(reference), "reference-records/s")
	b.ReportMetric(perSecond(ours)/perSecond(reference), "ratio")
	require.NoError(b, benchtable.Record("windowed join, JSON in, exactly-once", perSecond(ours), perSecond(reference), "records/s"))
}

func fillBenchTopics(b *testing.B, client *stream.Client) {
	require.NoError(b, client.CreateTopic(b.Context(), benchMetrics.Spec()))
	require.NoError(b, client.CreateTopic(b.Context(), benchLogs.Spec()))
	metrics, err := stream.NewProducer(client, benchMetrics, stream.ProducerConfig{})
	require.NoError(b, err)
	logs, err := stream.NewProducer(client, benchLogs, stream.ProducerConfig{})
	require.NoError(b, err)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range benchRecords {
		host := "host-" + strconv.Itoa(i%benchHosts) + ".example"
		at := start.Add(time.Duration(i) * 20 * time.Millisecond) // each host once in 10 s
		if i%10 == i/benchHosts%10 {
			require.NoError(b, logs.Send(b.Context(), stream.ProducerRecord[benchLog]{Key: host, Value: benchLog{
				Host: host, Severity: "err", App: "kernel", Message: "disk failure on /dev/sda1, sector " + strconv.Itoa(i), Time: at,
			}}))
			continue
		}
		require.NoError(b, metrics.Send(b.Context(), stream.ProducerRecord[benchMetric]{Key: host, Value: benchMetric{
			Host: host, Name: "cpu_percent", Value: float64(i%1000) / 10, Unit: "percent", Time: at,
		}}))
	}
	require.NoError(b, metrics.Close(b.Context()))
	require.NoError(b, logs.Close(b.Context()))
}

func runApp(b *testing.B, client *stream.Client, name string) {
	builder := processor.NewBuilder(name)
	hits := stream.Topic[benchHit]{Name: name + "-hits", Partitions: benchPartitions, Time: func(h benchHit) time.Time { return h.Time }}
	join.Inner(processor.From(builder, benchMetrics), processor.From(builder, benchLogs),
		join.Window{Name: "hits", Within: benchWithin}, benchCorrelate).To(hits)
	topology, err := builder.Build()
	require.NoError(b, err)
	require.NoError(b, processor.NewApp(client, topology, processor.Config{Bounded: true}).Run(b.Context()))
}

func countResults(b *testing.B, client *stream.Client, topic string) int {
	offsets, err := client.Offsets(b.Context(), stream.TopicSpec{Name: topic, Partitions: benchPartitions})
	require.NoError(b, err)
	n := 0
	for _, o := range offsets {
		n += int(o.Records)
	}
	return n
}

// runByHand is the same program without the framework: it reads the two topics in order of time, keeps what is within the
// window in slices per host, journals its rows and positions with a fenced append per batch, and publishes the results with
// message ids. It knows its types, its one join and nothing else.
func runByHand(b *testing.B, nc *nats.Conn, name string) int {
	js, err := jetstream.New(nc)
	require.NoError(b, err)
	var wg sync.WaitGroup
	results := make([]int, benchPartitions)
	for p := range benchPartitions {
		wg.Go(func() {
			h := &handJoin{js: js, name: name, partition: p}
			if err := h.run(b.Context()); err != nil {
				b.Errorf("by hand, partition %d: %v", p, err)
			}
			results[p] = h.results
		})
	}
	wg.Wait()
	total := 0
	for _, n := range results {
		total += n
	}
	return total
}

type handJoin struct {
	js        jetstream.JetStream
	name      string
	partition int
	metrics   map[string][]benchMetric
	logs      map[string][]benchLog
	journal   string
	lastSeq   uint64
	results   int
	pending   []*nats.Msg // results of the batch in hand
	commit    handCommit
}

// handCommit is what the program by hand journals: positions and the rows since the last commit, as the bytes that came in.
type handCommit struct {
	Metrics, Logs int
	Rows          []json.RawMessage
}

func (h *handJoin) run(ctx context.Context) error {
	h.metrics, h.logs = make(map[string][]benchMetric), make(map[string][]benchLog)
	h.journal = fmt.Sprintf("%s-journal-%d", h.name, h.partition)
	for _, s := range []jetstream.StreamConfig{
		{Name: h.journal, Subjects: []string{h.journal}},
		{Name: fmt.Sprintf("%s-hits-%d", h.name, h.partition), Subjects: []string{fmt.Sprintf("%s-hits.%d.>", h.name, h.partition)}},
	} {
		if _, err := h.js.CreateStream(ctx, s); err != nil {
			return err
		}
	}
	metrics, stopMetrics, metricCount, err := h.read(ctx, "metrics")
	if err != nil {
		return err
	}
	defer stopMetrics()
	logs, stopLogs, logCount, err := h.read(ctx, "logs")
	if err != nil {
		return err
	}
	defer stopLogs()
	var m *handRecord[benchMetric]
	var l *handRecord[benchLog]
	for n := 1; m != nil || l != nil || h.commit.Metrics < metricCount || h.commit.Logs < logCount; n++ {
		if m == nil && h.commit.Metrics < metricCount {
			if m, err = decodeByHand[benchMetric](<-metrics); err != nil {
				return err
			}
			h.commit.Metrics++
		}
		if l == nil && h.commit.Logs < logCount {
			if l, err = decodeByHand[benchLog](<-logs); err != nil {
				return err
			}
			h.commit.Logs++
		}
		if l == nil || m != nil && !l.value.Time.Before(m.value.Time) {
			err = h.metric(m)
			m = nil
		} else {
			err = h.log(l)
			l = nil
		}
		if err == nil && n%benchBatch == 0 {
			err = h.flush(ctx)
		}
		if err != nil {
			return err
		}
	}
	return h.flush(ctx)
}

type handRecord[V any] struct {
	key   string
	value V
	raw   []byte
}

func decodeByHand[V any](m jetstream.Msg) (*handRecord[V], error) {
	r := &handRecord[V]{raw: m.Data()}
	_, rest, _ := strings.Cut(m.Subject(), ".")
	_, r.key, _ = strings.Cut(rest, ".")
	return r, jsonv2.Unmarshal(r.raw, &r.value)
}

func (h *handJoin) read(ctx context.Context, topic string) (<-chan jetstream.Msg, func(), int, error) {
	s, err := h.js.Stream(ctx, fmt.Sprintf("%s-%d", topic, h.partition))
	if err != nil {
		return nil, nil, 0, err
	}
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, nil, 0, err
	}
	messages := make(chan jetstream.Msg, 4096)
	done := make(chan struct{})
	c, err := consumer.Consume(func(m jetstream.Msg) {
		select {
		case messages <- m:
		case <-done:
		}
	}, jetstream.PullMaxMessages(4096))
	if err != nil {
		return nil, nil, 0, err
	}
	stop := func() {
		close(done)
		c.Stop()
		<-c.Closed()
	}
	return messages, stop, int(s.CachedInfo().State.Msgs), nil
}

func (h *handJoin) metric(r *handRecord[benchMetric]) error {
	m := r.value
	lines := trimBefore(h.logs[r.key], func(l benchLog) bool { return l.Time.Before(m.Time.Add(-2 * benchWithin)) })
	h.logs[r.key] = lines
	for _, l := range lines {
		if !l.Time.Before(m.Time.Add(-benchWithin)) && !l.Time.After(m.Time.Add(benchWithin)) {
			if err := h.emit(r.key, m, l); err != nil {
				return err
			}
		}
	}
	h.metrics[r.key] = append(h.metrics[r.key], m)
	h.commit.Rows = append(h.commit.Rows, r.raw)
	return nil
}

func (h *handJoin) log(r *handRecord[benchLog]) error {
	l := r.value
	samples := trimBefore(h.metrics[r.key], func(m benchMetric) bool { return m.Time.Before(l.Time.Add(-2 * benchWithin)) })
	h.metrics[r.key] = samples
	for _, m := range samples {
		if !l.Time.Before(m.Time.Add(-benchWithin)) && !l.Time.After(m.Time.Add(benchWithin)) {
			if err := h.emit(r.key, m, l); err != nil {
				return err
			}
		}
	}
	h.logs[r.key] = append(h.logs[r.key], l)
	h.commit.Rows = append(h.commit.Rows, r.raw)
	return nil
}

func trimBefore[V any](rows []V, old func(V) bool) []V {
	for len(rows) > 0 && old(rows[0]) {
		rows = rows[1:]
	}
	return rows
}

func (h *handJoin) emit(key string, m benchMetric, l benchLog) error {
	data, err := jsonv2.Marshal(benchCorrelate(m, l))
	if err != nil {
		return err
	}
	h.results++
	out := nats.NewMsg(fmt.Sprintf("%s-hits.%d.%s", h.name, h.partition, key))
	out.Data = data
	out.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s/%d/%d", h.name, h.partition, h.results))
	h.pending = append(h.pending, out)
	return nil
}

// flush makes the batch durable, and publishes its results then.
func (h *handJoin) flush(ctx context.Context) error {
	data, err := jsonv2.Marshal(h.commit)
	if err != nil {
		return err
	}
	for chunk := data; len(chunk) > 0; { // the server takes a megabyte at once
		n := min(len(chunk), 900<<10)
		ack, err := h.js.Publish(ctx, h.journal, chunk[:n], jetstream.WithExpectLastSequence(h.lastSeq))
		if err != nil {
			return err
		}
		h.lastSeq, chunk = ack.Sequence, chunk[n:]
	}
	acks := make([]jetstream.PubAckFuture, len(h.pending))
	for i, m := range h.pending {
		if acks[i], err = h.js.PublishMsgAsync(m); err != nil {
			return err
		}
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return err
		}
	}
	h.pending, h.commit.Rows = h.pending[:0], h.commit.Rows[:0]
	return nil
}
