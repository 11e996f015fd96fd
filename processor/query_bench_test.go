package processor_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// BenchmarkQuery measures what it takes to ask an owner: while it has nothing to do, and while it counts 10,000 records a second.
func BenchmarkQuery(b *testing.B) {
	for _, name := range []string{"idle", "busy"} {
		b.Run(name, func(b *testing.B) {
			server, err := embedded.Start(b.Context(), embedded.Config{})
			require.NoError(b, err)
			defer func() { require.NoError(b, server.Stop()) }()
			nc, err := server.Connect()
			require.NoError(b, err)
			defer nc.Close()
			client, err := stream.NewClient(nc, stream.Config{})
			require.NoError(b, err)
			in := stream.Topic[int64]{Name: "numbers"}
			builder := processor.NewBuilder("bench")
			processor.Count(processor.From(builder, in), processor.Counting{Name: "numbers"}).To(stream.Topic[int64]{Name: "sums"})
			topology, err := builder.Build()
			require.NoError(b, err)
			require.NoError(b, client.CreateTopic(b.Context(), in.Spec()))
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 2)
			go func() { ended <- processor.NewApp(client, topology, processor.Config{Queries: true}).Run(ctx) }()
			q, err := processor.NewQuery[int64](client, topology, processor.QueryConfig{Operator: "numbers", Store: "aggregates"})
			require.NoError(b, err)
			_, err = q.Get(b.Context(), "k1")
			require.NoError(b, err)
			go func() {
				p, err := stream.NewProducer(client, in, stream.ProducerConfig{})
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for i := 0; err == nil && name == "busy" && ctx.Err() == nil; i++ {
					if i%100 == 0 {
						<-tick.C
					}
					err = p.Send(b.Context(), stream.ProducerRecord[int64]{Key: fmt.Sprintf("k%d", i%100_000), Value: 1})
				}
				if err == nil {
					err = p.Close(b.Context())
				}
				ended <- err
			}()
			var worst time.Duration
			b.ResetTimer()
			for b.Loop() {
				start := time.Now()
				_, err := q.Get(b.Context(), "k1")
				require.NoError(b, err)
				worst = max(worst, time.Since(start))
			}
			b.ReportMetric(float64(worst.Milliseconds()), "worst-ms")
			b.StopTimer()
			stop()
			require.NoError(b, <-ended)
			require.NoError(b, <-ended)
		})
	}
}
