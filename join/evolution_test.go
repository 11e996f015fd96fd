package join_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// TestWindowOfAJoinStays starts an app whose join has another window than the one that its state was made with: it is refused.
func TestWindowOfAJoinStays(t *testing.T) {
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	run := func(w join.Window) error {
		b := processor.NewBuilder("app")
		left, right := stream.Topic[int]{Name: "left"}, stream.Topic[int]{Name: "right"}
		w.Name = "paid"
		join.Left(processor.From(b, left), processor.From(b, right), w, func(int, *int) int { return 1 }).To(stream.Topic[int]{Name: "out"})
		topology, err := b.Build()
		require.NoError(t, err)
		return processor.NewApp(client, topology, processor.Config{Bounded: true}).Run(t.Context())
	}
	made := join.Window{Within: time.Minute}
	require.NoError(t, run(made))
	for _, w := range []join.Window{{Within: time.Hour}, {Before: time.Minute}, {Within: time.Minute, Grace: time.Second}} {
		var refused *processor.EvolutionError
		require.ErrorAs(t, run(w), &refused)
		require.ErrorContains(t, refused, "Left, from 1m0s before to 1m0s after, grace 0s, emitted on close")
	}
	require.NoError(t, run(made))
}
