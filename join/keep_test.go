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

// TestEveryJoinCanBeOnDisk asks each kind of join to keep its state on disk: without a folder for that, no app of it runs; with one, it does.
func TestEveryJoinCanBeOnDisk(t *testing.T) {
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	left, right := stream.Topic[string]{Name: "left", Compact: true}, stream.Topic[string]{Name: "right", Compact: true}
	for _, topic := range []stream.Topic[string]{left, right} {
		require.NoError(t, client.CreateTopic(t.Context(), topic.Spec()))
		p, err := stream.NewProducer(client, topic, stream.ProducerConfig{})
		require.NoError(t, err)
		require.NoError(t, p.Send(t.Context(), stream.ProducerRecord[string]{Key: "k", Value: "k"}))
		require.NoError(t, p.Close(t.Context()))
	}
	w := join.Window{Name: "j", Within: time.Hour, Emit: join.OnUpdate, Keep: processor.OnDisk}
	pairs := w
	pairs.Emit = 0
	primary := join.Primary{Name: "j", Keep: processor.OnDisk}
	foreign := join.Foreign[string]{Name: "j", Key: func(l string) string { return l }, Keep: processor.OnDisk}
	lookup := join.Lookup{Name: "j", Keep: processor.OnDisk}
	history := join.Lookup{Name: "j", History: time.Hour, Grace: time.Minute, Keep: processor.OnDisk}
	for name, wire := range map[string]func(l, r processor.Table[string]){
		"inner": func(l, r processor.Table[string]) {
			join.Inner(l.Stream(), r.Stream(), pairs, pair).To(joined)
		},
		"left": func(l, r processor.Table[string]) {
			join.Left(l.Stream(), r.Stream(), w, pairLeft).To(joined)
		},
		"collect": func(l, r processor.Table[string]) {
			join.Collect(l.Stream(), r.Stream(), w, gather).To(joined)
		},
		"lookup": func(l, r processor.Table[string]) {
			join.TableLeft(l.Stream(), r, lookup, pairLeft).To(joined) // whichever comes first
		},
		"history": func(l, r processor.Table[string]) {
			join.TableLeft(l.Stream(), r, history, pairLeft).To(joined)
		},
		"tables": func(l, r processor.Table[string]) {
			join.Tables(l, r, primary, pair).To(joined)
		},
		"foreign": func(l, r processor.Table[string]) {
			// The rows of l, which tell what an update replaces, are TableFrom's to keep: see its Medium.
			join.ForeignKey(l, r, foreign, pair).To(joined)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := processor.NewBuilder(name)
			wire(processor.TableFrom(b, left), processor.TableFrom(b, right))
			topology, err := b.Build()
			require.NoError(t, err)
			require.ErrorIs(t, processor.NewApp(client, topology, processor.Config{Bounded: true}).Run(t.Context()), processor.ErrNoStateDir)
			require.NoError(t, processor.NewApp(client, topology, processor.Config{Bounded: true, StateDir: t.TempDir()}).Run(t.Context()))
			require.NotEmpty(t, values(t, client), "what has come since")
		})
	}
}
