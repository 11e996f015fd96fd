package processor_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// guaranteePairs is how many runs of each are compared in an iteration, pair by pair: machines have better and worse moments. It is
// even, so that each comes first as often as the other.
const guaranteePairs = 6

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
	run := func(g processor.Guarantee, round int) time.Duration {
		name := fmt.Sprintf("%s-%d", g, round)
		builder := processor.NewBuilder(name)
		build(builder, name)
		topology, err := builder.Build()
		require.NoError(b, err)
		started := time.Now()
		require.NoError(b, processor.NewApp(client, topology, processor.Config{Bounded: true, Guarantee: g}).Run(b.Context()))
		return time.Since(started)
	}
	var exactly, atLeast, ratios []float64
	for round := 0; b.Loop(); {
		for range guaranteePairs {
			round++
			var took [2]time.Duration
			for i := range took { // whoever comes second finds a warm server
				g := processor.Guarantee((round + i) % 2)
				took[g] = run(g, round)
			}
			e, a := took[processor.ExactlyOnce].Seconds(), took[processor.AtLeastOnce].Seconds()
			exactly, atLeast, ratios = append(exactly, benchRecords/e), append(atLeast, benchRecords/a), append(ratios, a/e)
		}
	}
	b.ReportMetric(median(exactly), "records/s")
	b.ReportMetric(median(atLeast), "at-least-once-records/s")
	b.ReportMetric(median(ratios), "ratio")
	require.NoError(b, benchtable.Record(what+", exactly-once against at-least-once", median(exactly), median(atLeast), "records/s"))
}

func median(of []float64) float64 {
	s := slices.Sorted(slices.Values(of))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
