package alerting

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// TestACalmKeyIsForgottenWhileItsSamplesGoOn: samples that come faster than windows close must not keep each other alive.
func TestACalmKeyIsForgottenWhileItsSamplesGoOn(t *testing.T) {
	samples := stream.Topic[float64]{Name: "samples"}
	b := processor.NewBuilder("memory")
	in := processor.Process(processor.From(b, samples), "window", func(c *processor.Context[float64]) processor.Handler[float64] {
		return processor.Handler[float64]{Record: func(r processor.Record[float64]) error {
			r.Window = processor.Window{Start: r.Time, End: r.Time.Add(time.Minute), Closes: r.Time.Add(time.Minute)}
			c.Forward(r)
			return nil
		}}
	})
	Threshold(in, Rule[float64]{Name: "R", Value: func(v float64) float64 { return v }, When: Above(80)}).
		To(stream.Topic[Alarm]{Name: "alarms"})
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	start := time.Unix(1_700_000_000, 0)
	pipe := func(seconds int, value float64) {
		processortest.Pipe(d, samples, processor.Record[float64]{
			Key: "a", Value: value, Time: start.Add(time.Duration(seconds) * time.Second),
		})
	}
	kept := func() bool {
		_, ok, err := processortest.StoreValue[keyState](d, "R", "alarms", "a")
		require.NoError(t, err)
		return ok
	}
	pipe(0, 90)
	pipe(10, 10)
	for seconds := 20; seconds <= 70; seconds += 10 {
		pipe(seconds, 10)
		require.True(t, kept(), "results for the sample at 10 may still come")
	}
	pipe(80, 10)
	require.False(t, kept())
}
