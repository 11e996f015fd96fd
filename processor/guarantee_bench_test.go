package processor_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// BenchmarkGuarantees runs the stateless pipeline and the windowed count exactly once and at least once, in turns.
func BenchmarkGuarantees(b *testing.B) {
	const keys = 10_000
	window := processor.Tumbling(countWindow(keys))
	for name, build := range map[string]func(*processor.Builder, string){
		"stateless pipeline": func(builder *processor.Builder, name string) {
			processor.Map(processor.From(builder, readings).Filter(valid), convert).To(convertedTopic(name))
		},
		"windowed count": func(builder *processor.Builder, name string) {
			processor.Count(processor.From(builder, readings), processor.Counting{Name: "count", Windows: window}).To(countTopic(name))
		},
	} {
		b.Run(name, func(b *testing.B) { benchmarkGuarantees(b, name, build) })
	}
}

func benchmarkGuarantees(b *testing.B, what string, build func(*processor.Builder, string)) {
	client, err := stream.NewClient(embeddedtest.Connect(b), stream.Config{})
	require.NoError(b, err)
	require.NoError(b, client.CreateTopic(b.Context(), readings.Spec()))
	p, err := stream.NewProducer(client, readings, stream.ProducerConfig{})
	require.NoError(b, err)
	for i := range benchRecords {
		r := reading{Sensor: "sensor-" + strconv.Itoa(i%500), Value: float64(i%1000) / 10, Unit: "F", Time: at(i / 100)}
		require.NoError(b, p.Send(b.Context(), stream.ProducerRecord[reading]{Key: r.Sensor, Value: r}))
	}
	require.NoError(b, p.Close(b.Context()))
	took := make(map[processor.Guarantee]time.Duration)
	round := 0
	for b.Loop() {
		round++
		order := []processor.Guarantee{processor.ExactlyOnce, processor.AtLeastOnce}
		if round%2 == 0 { // whoever comes second finds a warm server
			order[0], order[1] = order[1], order[0]
		}
		for _, g := range order {
			name := fmt.Sprintf("%s-%d", g, round)
			builder := processor.NewBuilder(name)
			build(builder, name)
			topology, err := builder.Build()
			require.NoError(b, err)
			started := time.Now()
			require.NoError(b, processor.NewApp(client, topology, processor.Config{Bounded: true, Guarantee: g}).Run(b.Context()))
			took[g] += time.Since(started)
		}
	}
	perSecond := func(g processor.Guarantee) float64 { return float64(benchRecords*round) / took[g].Seconds() }
	exactly, atLeast := perSecond(processor.ExactlyOnce), perSecond(processor.AtLeastOnce)
	b.ReportMetric(exactly, "records/s")
	b.ReportMetric(atLeast, "at-least-once-records/s")
	b.ReportMetric(exactly/atLeast, "ratio")
	require.NoError(b, benchtable.Record(what+", exactly-once against at-least-once", exactly, atLeast, "records/s"))
}
