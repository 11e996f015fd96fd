package processor_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// TestKeysThatATopicCannotHave sends records whose keys fit the topic that they come from, and not those that they go to: each
// becomes a dead letter, and the app goes on.
func TestKeysThatATopicCannotHave(t *testing.T) {
	client := newClient(t)
	in := stream.Topic[int]{Name: "in", KeyIn: stream.Header}
	out := stream.Topic[int]{Name: "out", Compact: true}
	b := processor.NewBuilder("keys")
	processor.From(b, in).To(out)
	topology, err := b.Build()
	require.NoError(t, err)
	long := strings.Repeat("k", 10<<10)
	produce(t, client, in, stream.ProducerRecord[int]{Key: long, Value: 1}, stream.ProducerRecord[int]{Value: 2}, stream.ProducerRecord[int]{Key: "k", Value: 3})
	require.NoError(t, newApp(t, client, topology, true).Run(t.Context()))
	got := all(t, client, out)
	require.Len(t, got, 1)
	require.Equal(t, "k", got[0].Key)

	letters := all(t, client, stream.Topic[[]byte]{Name: "keys-dead-letters", Codec: stream.Bytes()})
	require.Len(t, letters, 2)
	require.Contains(t, letters[0].Headers.Get(processor.DeadError), "the limit is 1024")
	require.Equal(t, long, letters[0].Headers.Get(stream.KeyHeader))
	require.Empty(t, letters[0].Key)
	require.Contains(t, letters[1].Headers.Get(processor.DeadError), "compacted")

	done, err := processor.Redrive(t.Context(), client, stream.Topic[[]byte]{Name: "keys-dead-letters"}, processor.RedriveConfig{})
	require.NoError(t, err)
	require.Equal(t, 2, done.Sent)
	back := all(t, client, in)
	require.Len(t, back, 5)
	require.Equal(t, long, back[3].Key)
	require.Empty(t, back[3].Headers.Get(stream.KeyHeader))
	require.Equal(t, 1, back[3].Value)
	require.Equal(t, 2, back[4].Value)
}
