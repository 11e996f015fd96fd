package processor_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

const (
	latencyRate    = 5_000 // records per second
	latencyRecords = 10 * latencyRate
	latencyBurst   = 5 // records that are sent at a time
	latencyWarm    = latencyRate
)

var sent = stream.Topic[int64]{Name: "sent", Partitions: benchPartitions}

// latencies is how long records were under way, in order.
type latencies []time.Duration

func (l latencies) at(q float64) time.Duration { return l[int(q*float64(len(l)-1))] }

// report reports the quantiles, beside those of a reference.
func (l latencies) report(b *testing.B, what, reference string, other latencies) {
	for _, q := range []float64{0.5, 0.99, 0.999} {
		name := "p" + strconv.FormatFloat(q*100, 'f', -1, 64)
		b.ReportMetric(float64(l.at(q).Microseconds()), name+"-us")
		b.ReportMetric(float64(other.at(q).Microseconds()), reference+"-"+name+"-us")
		require.NoError(b, benchtable.Record(what+", "+name, 1/l.at(q).Seconds(), 1/other.at(q).Seconds(), "1/s"))
	}
}

// BenchmarkLatency sends 5,000 records per second and measures the time from the call of Send to the arrival of what an app has made
// of each, exactly-once, with a state; next to the same records read directly, without an app.
func BenchmarkLatency(b *testing.B) {
	nc := embeddedtest.Connect(b)
	client, err := stream.NewClient(nc, stream.Config{})
	require.NoError(b, err)
	require.NoError(b, client.CreateTopic(b.Context(), sent.Spec()))
	builder := processor.NewBuilder("latency")
	latestSent := stream.Topic[int64]{Name: "latest-sent", Partitions: benchPartitions}
	latest := processor.Reduction[int64]{Name: "latest", Add: func(_, sent int64) int64 { return sent }}
	processor.Reduce(processor.From(builder, sent), latest).To(latestSent)
	topology, err := builder.Build()
	require.NoError(b, err)
	require.NoError(b, client.CreateTopic(b.Context(), latestSent.Spec()))
	defer runBeside(b, client, topology)()
	var ours, direct latencies
	for b.Loop() {
		ours = append(ours, underWay(b, client, latestSent)...)
		direct = append(direct, underWay(b, client, sent)...)
	}
	slices.Sort(ours)
	slices.Sort(direct)
	ours.report(b, "latency at 5,000 records/s through an app, exactly-once, against none", "direct", direct)
	b.Logf("through an app: p50 %v, p99 %v, p99.9 %v, max %v; without: p50 %v, p99 %v, p99.9 %v, max %v",
		ours.at(0.5), ours.at(0.99), ours.at(0.999), ours.at(1), direct.at(0.5), direct.at(0.99), direct.at(0.999), direct.at(1))
}

// runBeside runs an app until what it returns is called.
func runBeside(b *testing.B, client *stream.Client, topology *processor.Topology) (end func()) {
	ctx, stop := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := processor.NewApp(client, topology, processor.Config{}).Run(ctx); err != nil {
			b.Errorf("run: %v", err)
		}
	})
	return func() {
		stop()
		wg.Wait()
	}
}

// BenchmarkLatencyOfLargeState is BenchmarkLatency through an app that reads and changes an entry of its state for each record, at random: ten
// million entries of a hundred bytes against ten thousand. The collector works on all of them meanwhile.
func BenchmarkLatencyOfLargeState(b *testing.B) {
	const few, many = 10_000, 10_000_000
	for b.Loop() {
		small, large := latencyOfState(b, few), latencyOfState(b, many)
		large.report(b, "latency at 5,000 records/s, state of 10 M entries against 10 k", "small", small)
	}
}

// latencyOfState is how long records were under way through an app with so many entries in its state, in order.
func latencyOfState(b *testing.B, entries int) latencies {
	const each = 1_000 // entries that a record makes, before those that are measured
	client, err := stream.NewClient(embeddedtest.Connect(b), stream.Config{})
	require.NoError(b, err)
	answers := stream.Topic[int64]{Name: "answers", Partitions: benchPartitions}
	require.NoError(b, client.CreateTopic(b.Context(), sent.Spec()))
	require.NoError(b, client.CreateTopic(b.Context(), answers.Spec()))
	builder := processor.NewBuilder("large")
	processor.Process(processor.From(builder, sent), "state", func(c *processor.Context[int64]) processor.Handler[int64] {
		state := processor.KeyValueStore[string](c, "entries")
		own, looks := 0, uint64(0)
		entry := func(i int) string { return "entry-" + strconv.Itoa(1_000_000_000+i) }
		return processor.Handler[int64]{Record: func(r processor.Record[int64]) error {
			if r.Value == 0 {
				for range each {
					state.Put(entry(own), fmt.Sprintf("%-98d", own))
					own++
				}
				state.Put("entries", strconv.Itoa(own))
				return nil
			}
			if own == 0 { // an app that goes on
				n, _ := state.Get("entries")
				own, _ = strconv.Atoi(n)
			}
			looks++
			key := entry(int(looks * 0x9E3779B97F4A7C15 >> 33 % uint64(own)))
			if old, ok := state.Get(key); !ok || len(old) != 98 {
				return fmt.Errorf("%s is %q", key, old)
			}
			state.Put(key, fmt.Sprintf("%-98d", r.Value))
			c.Forward(r)
			return nil
		}}
	}).To(answers)
	topology, err := builder.Build()
	require.NoError(b, err)
	producer, err := stream.NewProducer(client, sent, stream.ProducerConfig{})
	require.NoError(b, err)
	for i := range entries / each {
		require.NoError(b, producer.Send(b.Context(), stream.ProducerRecord[int64]{Key: "key-" + strconv.Itoa(i%500)}))
	}
	require.NoError(b, producer.Close(b.Context()))
	started := time.Now()
	require.NoError(b, processor.NewApp(client, topology, processor.Config{Bounded: true}).Run(b.Context()))
	b.Logf("%d entries made in %v", entries, time.Since(started).Round(time.Millisecond))
	defer runBeside(b, client, topology)()
	underWay(b, client, answers) // first it reads its journals
	defer collectBeside()()
	took := underWay(b, client, answers)
	slices.Sort(took)
	b.Logf("%d entries: p50 %v, p99 %v, p99.9 %v, max %v", entries, took.at(0.5), took.at(0.99), took.at(0.999), took.at(1))
	return took
}

// collectBeside collects garbage again and again until what it returns is called: a large heap is collected rarely by itself.
func collectBeside() (end func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for tick := time.NewTicker(time.Second); ; {
			select {
			case <-tick.C:
				runtime.GC()
			case <-stop:
				tick.Stop()
				return
			}
		}
	})
	return func() {
		close(stop)
		wg.Wait()
	}
}

// underWay sends the records at their rate, and returns how long after it each was read from a topic, but for the first second.
func underWay(b *testing.B, client *stream.Client, from stream.Topic[int64]) latencies {
	var mu sync.Mutex
	took := make(latencies, 0, latencyRecords)
	done := make(chan struct{})
	for p := range benchPartitions {
		end, err := client.Offsets(b.Context(), from.Spec())
		require.NoError(b, err)
		reader, err := client.OpenReader(b.Context(), from.Spec(), p, stream.ReaderConfig{
			From: end[p].Next,
			Deliver: func(m stream.Message) {
				at, err := strconv.ParseInt(string(m.Data), 10, 64)
				now := time.Now().UnixNano()
				mu.Lock()
				defer mu.Unlock()
				if took = append(took, time.Duration(now-at)); err != nil || len(took) == latencyRecords {
					close(done)
				}
			},
			Failed: func(err error) { b.Errorf("read: %v", err) },
		})
		require.NoError(b, err)
		defer reader.Close()
	}
	producer, err := stream.NewProducer(client, sent, stream.ProducerConfig{})
	require.NoError(b, err)
	tick := time.NewTicker(time.Second * latencyBurst / latencyRate)
	defer tick.Stop()
	for i := range latencyRecords {
		if i%latencyBurst == 0 {
			<-tick.C
		}
		require.NoError(b, producer.Send(b.Context(), stream.ProducerRecord[int64]{Key: "key-" + strconv.Itoa(i%500), Value: time.Now().UnixNano()}))
	}
	require.NoError(b, producer.Close(b.Context()))
	<-done
	return took[latencyWarm:]
}
