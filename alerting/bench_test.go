package alerting_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

const benchKeys, benchBatch = 64, 1024

// benchValue is a value that breaches once in a thousand samples.
func benchValue(i int) float64 {
	if i%1000 < 2 {
		return 95
	}
	return 20 + float64(i%50)
}

// perRecord measures a topology with the driver, in records a second.
func perRecord(b *testing.B, build func(processor.Stream[metric], stream.Topic[alerting.Alarm])) float64 {
	b.Helper()
	topic := stream.Topic[metric]{Name: "m", Time: func(m metric) time.Time { return m.At }}
	builder := processor.NewBuilder("bench")
	build(processor.From(builder, topic), stream.Topic[alerting.Alarm]{Name: "alarms"})
	topology, err := builder.Build()
	require.NoError(b, err)
	d := processortest.New(b, topology)
	keys := make([]string, benchKeys)
	for i := range keys {
		keys[i] = "host-" + string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	batch := make([]processor.Record[metric], benchBatch)
	n := 0
	began := time.Now()
	for n < b.N {
		for i := range batch {
			batch[i] = processor.Record[metric]{Key: keys[n%benchKeys], Value: metric{benchValue(n), at(n / benchKeys)}}
			n++
		}
		processortest.Pipe(d, topic, batch...)
	}
	perSecond := float64(n) / time.Since(began).Seconds()
	require.NoError(b, d.Err())
	b.ReportMetric(1e9/perSecond, "ns/record")
	return perSecond
}

// BenchmarkHundredRules compares a hundred rules with a hundred bare comparisons over one stream, so that the rules are what costs: of a
// calm stream, since what alarms cost is what they carry.
func BenchmarkHundredRules(b *testing.B) {
	const rules = 100
	var bare float64
	b.Run("bare", func(b *testing.B) {
		bare = perRecord(b, func(in processor.Stream[metric], out stream.Topic[alerting.Alarm]) {
			for i := range rules {
				limit := 200 + float64(i)
				processor.Map(in.Filter(func(m metric) bool { return m.CPU > limit }), func(m metric) alerting.Alarm {
					return alerting.Alarm{Rule: "R", State: alerting.Firing, Value: m.CPU, At: m.At}
				}).To(out)
			}
		})
	})
	b.Run("rules", func(b *testing.B) {
		ours := perRecord(b, func(in processor.Stream[metric], out stream.Topic[alerting.Alarm]) {
			for i := range rules {
				alerting.Threshold(in, alerting.Rule[metric]{
					Name: fmt.Sprint("R", i), Value: func(m metric) float64 { return m.CPU }, When: alerting.Above(200 + float64(i)),
				}).To(out)
			}
		})
		require.NoError(b, benchtable.Record("alerting: records through a hundred rules, against bare comparisons", ours, bare, "records/s"))
	})
}

// BenchmarkRule compares a rule with the bare comparison in the same topology: decoding, operator, encoding of what comes out.
func BenchmarkRule(b *testing.B) {
	var bare float64
	b.Run("bare", func(b *testing.B) {
		bare = perRecord(b, func(in processor.Stream[metric], out stream.Topic[alerting.Alarm]) {
			processor.Map(in.Filter(func(m metric) bool { return m.CPU > 80 }), func(m metric) alerting.Alarm {
				return alerting.Alarm{Rule: "R", State: alerting.Firing, Value: m.CPU, At: m.At}
			}).To(out)
		})
	})
	value := func(m metric) float64 { return m.CPU }
	for name, rule := range map[string]alerting.Rule[metric]{
		"threshold": {When: alerting.Above(80).ClearAt(70), For: time.Minute},
		"levels": {Levels: []alerting.Level[metric]{
			{Severity: "warning", When: alerting.Above(80)}, {Severity: "critical", When: alerting.Above(90)},
		}},
		"avg-of-5m": {When: alerting.Above(80), Over: alerting.Avg(5 * time.Minute)},
	} {
		b.Run(name, func(b *testing.B) {
			rule.Name, rule.Value = "R", value
			ours := perRecord(b, func(in processor.Stream[metric], out stream.Topic[alerting.Alarm]) {
				alerting.Threshold(in, rule).To(out)
			})
			if name == "threshold" {
				require.NoError(b, benchtable.Record("alerting: records through a rule, against a bare comparison", ours, bare, "records/s"))
			}
		})
	}
}
