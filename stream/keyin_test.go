package stream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// Every key comes back from a topic whose keys are in headers: through
// Publish, a producer, a reader and a consumer, with the user's own headers
// untouched and without those that the topic added.
func TestKeyInHeader(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	topic := stream.Topic[string]{Name: "t", Partitions: 3, KeyIn: stream.Header, Codec: stream.String()}
	spec := topic.Spec()
	createTopic(t, c, spec)

	keys := append([]string{strings.Repeat("long", 2560)}, awkwardKeys...)
	own := stream.Headers{"X": {"1"}}
	var out []stream.Outgoing
	for _, key := range keys {
		out = append(out, stream.Outgoing{Topic: spec, Partition: stream.Partition(key, 3), Key: key, Data: []byte("published"), Headers: own})
	}
	require.NoError(t, c.Publish(ctx, out))
	require.Equal(t, stream.Headers{"X": {"1"}}, own)
	p, err := stream.NewProducer(c, topic, stream.ProducerConfig{})
	require.NoError(t, err)
	for _, key := range keys {
		require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Key: key, Value: "sent"}))
	}
	require.NoError(t, p.Close(ctx))

	js, err := jetstream.New(nc)
	require.NoError(t, err)
	read, published, sent := 0, map[string]int{}, map[string]int{}
	for part := range spec.Partitions {
		s, err := js.Stream(ctx, spec.BackingStream(part))
		require.NoError(t, err)
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
		require.NoError(t, err)
		require.Len(t, info.State.Subjects, 1, "one subject for all keys")
		for _, m := range readAll(t, c, spec, part) {
			read++
			if string(m.Data) == "sent" {
				sent[m.Key]++
				require.Nil(t, m.Headers)
				continue
			}
			published[m.Key]++
			require.Equal(t, stream.Headers{"X": {"1"}}, m.Headers)
			require.Equal(t, stream.Partition(m.Key, 3), part)
		}
	}
	require.Equal(t, 2*len(keys), read)
	for _, key := range keys {
		require.Equal(t, 1, published[key], "%q", key)
		require.Equal(t, 1, sent[key], "%q", key)
	}

	k, err := stream.NewConsumer(ctx, c, topic, stream.ConsumerConfig{Group: "g"})
	require.NoError(t, err)
	defer k.Close()
	consumed := map[string]int{}
	for n := 0; n < 2*len(keys); {
		records, err := k.Poll(ctx)
		require.NoError(t, err)
		for _, r := range records {
			consumed[r.Key]++
			n++
		}
	}
	for _, key := range keys {
		require.Equal(t, 2, consumed[key], "%q", key)
	}
}

// A key that would make the server close the connection is refused before it
// is sent, and one just within the limit is stored.
func TestLongKeys(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	topic := stream.Topic[string]{Name: strings.Repeat("t", 200)}
	spec := topic.Spec()
	createTopic(t, c, spec)
	p, err := stream.NewProducer(c, topic, stream.ProducerConfig{})
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close(ctx)) }()
	for _, key := range []string{strings.Repeat("k", 1025), strings.Repeat("k", 10<<10), strings.Repeat(" ", 342), strings.Repeat("a.", 5<<10)} {
		var bad *stream.KeyError
		require.ErrorAs(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Key: key}}), &bad)
		require.Equal(t, key, bad.Key)
		require.Less(t, len(bad.Error()), 500)
		require.ErrorContains(t, bad, "limit is 1024")
		require.ErrorAs(t, p.Send(ctx, stream.ProducerRecord[string]{Key: key}), &bad)
	}
	long := []string{strings.Repeat("k", 1024), strings.Repeat(" ", 341), strings.Repeat("a.", 511) + "b"}
	for _, key := range long {
		require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Key: key}}))
		require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Key: key}))
	}
	require.NoError(t, p.Flush(ctx))
	got := readAll(t, c, spec, 0)
	require.Len(t, got, 2*len(long))
	require.NoError(t, c.StoreOffset(ctx, spec, strings.Repeat("g", 200), 0, 2))
}

func TestKeyInCannotChange(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	createTopic(t, c, stream.TopicSpec{Name: "s"})
	createTopic(t, c, stream.TopicSpec{Name: "h", KeyIn: stream.Header})
	var differs *stream.TopicMismatchError
	require.ErrorAs(t, c.CreateTopic(ctx, stream.TopicSpec{Name: "s", KeyIn: stream.Header}), &differs)
	require.ErrorContains(t, differs, "KeyIn is subject, asked for header")
	require.ErrorAs(t, c.CreateTopic(ctx, stream.TopicSpec{Name: "h"}), &differs)
	createTopic(t, c, stream.TopicSpec{Name: "h", KeyIn: stream.Header, DuplicateWindow: 2 * time.Minute})
}
