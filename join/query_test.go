package join_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// TestQueriesOfJoins asks for the rows that joins keep: they are the user's values, and nothing of how they are kept.
func TestQueriesOfJoins(t *testing.T) {
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	left, right := stream.Topic[string]{Name: "left"}, stream.Topic[string]{Name: "right"}
	for _, topic := range []stream.Topic[string]{left, right} {
		require.NoError(t, client.CreateTopic(t.Context(), topic.Spec()))
		p, err := stream.NewProducer(client, topic, stream.ProducerConfig{})
		require.NoError(t, err)
		require.NoError(t, p.Send(t.Context(), stream.ProducerRecord[string]{Key: "k", Value: topic.Name + " value"}))
		require.NoError(t, p.Close(t.Context()))
	}
	b := processor.NewBuilder("asked")
	l, r := processor.From(b, left), processor.From(b, right)
	join.Inner(l, r, join.Window{Name: "pairs", Within: time.Hour}, pair).To(stream.Topic[string]{Name: "pairs"})
	join.Tables(processor.ToTable(l, "l"), processor.ToTable(r, "r"), join.Primary{Name: "rows"}, pair).To(stream.Topic[string]{Name: "rows"})
	topology, err := b.Build()
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- processor.NewApp(client, topology, processor.Config{Queries: true}).Run(ctx) }()
	query := func(operator, store string) *processor.Query[string] {
		q, err := processor.NewQuery[string](client, topology, processor.QueryConfig{Operator: operator, Store: store})
		require.NoError(t, err)
		return q
	}
	for _, side := range []string{"left", "right"} {
		require.Eventually(t, func() bool {
			a, err := query("rows", side).Get(ctx, "k")
			return err == nil && len(a.Rows) == 1 && a.Rows[0].Value == side+" value" && !a.Rows[0].Time.IsZero()
		}, time.Minute, 5*time.Millisecond)
		require.Eventually(t, func() bool {
			var rows []processor.Row[string]
			for a, err := range query("pairs", side).All(ctx, time.Time{}, time.Now().Add(time.Hour)) {
				if err != nil {
					return false
				}
				rows = append(rows, a.Rows...)
			}
			return len(rows) == 1 && rows[0].Key == "k" && rows[0].Value == side+" value"
		}, time.Minute, 5*time.Millisecond)
	}
	stop()
	require.NoError(t, <-ended)
}
