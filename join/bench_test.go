package join_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// The benchmarks' work: metrics of hosts, every tenth record a log line, joined when they are close in time, on 4 partitions of two
// topics in files; JSON in, JSON out, exactly once.
const (
	benchPartitions = 4
	benchBatch      = 10_000                // records per commit, both ways
	benchStep       = 20 * time.Millisecond // between two records
)

// benchCase is one input and the join that is made of it.
type benchCase struct {
	name          string
	records       int
	host          func(i int) (host int, isLog bool)
	within, grace time.Duration
}

// Every case has one result for ten records or more, and less than one for each: it measures the join more than the writing of results.
// 500 hosts have a record each in 10 s, so that a log line meets the metric before it and the one behind.
var benchCases = []benchCase{
	{name: "windowed join, JSON in, exactly-once", records: 200_000, host: hostsInTurn(500), within: 15 * time.Second},
	{name: "windowed join, window ten times larger", records: 200_000, host: hostsInTurn(5000), within: 150 * time.Second},
	{name: "windowed join, 1 M keys", records: 1_000_000, host: hostsOnce, within: 5 * time.Second, grace: 24 * time.Hour},
	{name: "windowed join, a hot key with 1 M rows", records: 1_000_000, host: hostsInTurn(1), within: 2 * benchStep, grace: 24 * time.Hour},
}

// hostsInTurn gives each host one record a round, by turns a log line.
func hostsInTurn(hosts int) func(int) (int, bool) {
	return func(i int) (int, bool) {
		if hosts == 1 {
			return 0, i%10 == 0
		}
		return i % hosts, i%10 == i/hosts%10
	}
}

// hostsOnce gives each host a metric, and every ninth of them a log line right after it.
func hostsOnce(i int) (int, bool) {
	if i%10 == 9 {
		return i - 1, true
	}
	return i, false
}

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

// BenchmarkInnerExactlyOnce runs each case as a Rossby app and as a program written by hand for nothing else, over the same
// recorded input in the same run. The cost of a record must not grow with the window: the second case buffers ten times as many
// records as the first one and finds as many partners.
func BenchmarkInnerExactlyOnce(b *testing.B) {
	rates := make([]float64, len(benchCases))
	for i, c := range benchCases {
		b.Run(strings.ReplaceAll(c.name, ", ", "/"), func(b *testing.B) { rates[i] = c.run(b) })
	}
	if usual, large := rates[0], rates[1]; usual > 0 && large > 0 {
		require.NoError(b, benchtable.Record("windowed join, window ten times larger, against itself", large, usual, "records/s"))
	}
}

// run returns the app's records per second.
func (c benchCase) run(b *testing.B) float64 {
	nc := embeddedtest.Connect(b)
	client, err := stream.NewClient(nc, stream.Config{})
	require.NoError(b, err)
	c.fillTopics(b, client)
	var ours, reference time.Duration
	round, results := 0, 0
	for b.Loop() {
		round++
		name := fmt.Sprintf("join-%d", round)
		started := time.Now()
		c.runApp(b, client, name)
		ours += time.Since(started)
		started = time.Now()
		results = c.runByHand(b, nc, fmt.Sprintf("hand-%d", round))
		reference += time.Since(started)
		if got := countResults(b, client, name+"-hits"); got != results {
			b.Fatalf("the app has %d results, the program by hand %d", got, results)
		}
	}
	perSecond := func(d time.Duration) float64 { return float64(c.records*round) / d.Seconds() }
	b.ReportMetric(perSecond(ours), "records/s")
	b.ReportMetric(perSecond(reference), "reference-records/s")
	b.ReportMetric(perSecond(ours)/perSecond(reference), "ratio")
	b.ReportMetric(float64(results)/float64(c.records), "results/record")
	require.NoError(b, benchtable.Record(c.name, perSecond(ours), perSecond(reference), "records/s"))
	return perSecond(ours)
}

func (c benchCase) fillTopics(b *testing.B, client *stream.Client) {
	require.NoError(b, client.CreateTopic(b.Context(), benchMetrics.Spec()))
	require.NoError(b, client.CreateTopic(b.Context(), benchLogs.Spec()))
	metrics, err := stream.NewProducer(client, benchMetrics, stream.ProducerConfig{})
	require.NoError(b, err)
	logs, err := stream.NewProducer(client, benchLogs, stream.ProducerConfig{})
	require.NoError(b, err)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range c.records {
		number, isLog := c.host(i)
		host := "host-" + strconv.Itoa(number) + ".example"
		at := start.Add(time.Duration(i) * benchStep)
		if isLog {
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

func (c benchCase) runApp(b *testing.B, client *stream.Client, name string) {
	builder := processor.NewBuilder(name)
	hits := stream.Topic[benchHit]{Name: name + "-hits", Partitions: benchPartitions, Time: func(h benchHit) time.Time { return h.Time }}
	join.Inner(processor.From(builder, benchMetrics), processor.From(builder, benchLogs),
		join.Window{Name: "hits", Within: c.within, Grace: c.grace}, benchCorrelate).To(hits)
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
