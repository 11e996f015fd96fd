package stream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// What the topic is, is on the server: a client on another connection, with other
// defaults, knows it from the name alone.
func TestAnotherClientSeesTheTopic(t *testing.T) {
	ctx := testContext(t)
	s := embeddedtest.Start(t)
	maker, err := stream.NewClient(embeddedtest.ConnectTo(t, s), stream.Config{Storage: stream.Memory})
	require.NoError(t, err)
	spec := stream.TopicSpec{Name: "t", Partitions: 3, MaxAge: time.Hour, MaxBytes: 1 << 20, MaxRecords: 9, Compression: stream.S2}
	header := stream.TopicSpec{Name: "u", KeyIn: stream.Header}
	table := stream.TopicSpec{Name: "v", Compact: true, TombstoneTTL: time.Minute}
	for _, one := range []stream.TopicSpec{spec, header, table} {
		require.NoError(t, maker.CreateTopic(ctx, one))
	}
	other := clientOf(t, embeddedtest.ConnectTo(t, s))
	list, err := other.ListTopics(ctx)
	require.NoError(t, err)
	require.Len(t, list, 3)
	want := spec
	want.Replicas, want.Storage, want.DuplicateWindow = 1, stream.Memory, 2*time.Minute
	require.Equal(t, want, list[0].Spec)
	require.Equal(t, stream.Header, list[1].Spec.KeyIn)
	require.True(t, list[2].Spec.Compact)
	require.Equal(t, time.Minute, list[2].Spec.TombstoneTTL)

	want.MaxRecords = 5
	require.NoError(t, other.AlterTopic(ctx, want))
	info, err := maker.DescribeTopic(ctx, "t")
	require.NoError(t, err)
	require.Equal(t, want, info.Spec)
	require.NoError(t, other.DeleteTopic(ctx, "t"))
	var missing *stream.TopicNotFoundError
	_, err = maker.DescribeTopic(ctx, "t")
	require.ErrorAs(t, err, &missing)
}

// Whoever takes a topic for something else is told so before a key lands where nobody
// looks for it, or a partition is missed.
func TestProducersAndConsumersKnowTheLayout(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	topic := stream.Topic[string]{Name: "t", Partitions: 4, MaxAge: time.Hour}
	createTopic(t, c, topic.Spec())
	for says, change := range map[string]func(*stream.Topic[string]){
		"number of partitions is 4, asked for 2":      func(t *stream.Topic[string]) { t.Partitions = 2 },
		"number of partitions is 4, asked for 8":      func(t *stream.Topic[string]) { t.Partitions = 8 },
		"KeyIn is subject, asked for header":          func(t *stream.Topic[string]) { t.KeyIn = stream.Header },
		"Compact is false, asked for true":            func(t *stream.Topic[string]) { t.Compact = true },
		"storage is file, asked for memory":           func(t *stream.Topic[string]) { t.Storage = stream.Memory },
		"":                                            func(t *stream.Topic[string]) { t.MaxAge = 0 }, // no matter to them
		"topic \"u\" has no partition 0 on this serv": func(t *stream.Topic[string]) { t.Name = "u" },
	} {
		wrong := topic
		change(&wrong)
		p, err := stream.NewProducer(c, wrong, stream.ProducerConfig{})
		k, kerr := stream.NewConsumer(ctx, c, wrong, stream.ConsumerConfig{Group: "g"})
		var differs *stream.TopicMismatchError
		switch {
		case says == "":
			require.NoError(t, err)
			require.NoError(t, kerr)
			require.NoError(t, p.Close(ctx))
			k.Close()
		case wrong.Name == "u":
			require.NoError(t, err, "Flush tells it")
			require.NoError(t, p.Close(ctx))
			require.ErrorContains(t, kerr, says)
		default:
			for _, err := range []error{err, kerr} {
				require.ErrorAs(t, err, &differs, says)
				require.ErrorContains(t, err, says)
				require.ErrorContains(t, err, "describe the topic as it exists")
			}
		}
	}
}

// A server that does not answer a new producer is asked again by Send.
func TestProducerKnowsTheLayoutLater(t *testing.T) {
	ctx := testContext(t)
	s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	px := startProxy(t, strings.TrimPrefix(s.URL(), "nats://"))
	c := clientOf(t, px.connect(t))
	topic := stream.Topic[string]{Name: "t", Partitions: 4}
	createTopic(t, c, topic.Spec())
	px.loseAnswers()
	right := newProducer(t, c, topic, stream.ProducerConfig{})
	topic.Partitions = 2
	wrong, err := stream.NewProducer(c, topic, stream.ProducerConfig{})
	require.NoError(t, err)
	px.cut() // the next connection is a good one
	var differs *stream.TopicMismatchError
	for range 2 {
		require.ErrorAs(t, wrong.Send(ctx, stream.ProducerRecord[string]{Key: "k"}), &differs)
	}
	require.NoError(t, wrong.Close(ctx))
	require.NoError(t, right.Send(ctx, stream.ProducerRecord[string]{Key: "k"}))
	require.NoError(t, right.Flush(ctx))
	require.EqualValues(t, 1, total(t, c, stream.TopicSpec{Name: "t", Partitions: 4}))
}

// The number of partitions is what it was, and the error says why and what to do.
func TestPartitionsCannotChange(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	createTopic(t, c, stream.TopicSpec{Name: "t", Partitions: 4})
	for _, n := range []int{1, 3, 5, 8} {
		spec := stream.TopicSpec{Name: "t", Partitions: n}
		var fixed *stream.TopicFixedError
		err := c.AlterTopic(ctx, spec)
		require.ErrorAs(t, err, &fixed)
		require.ErrorContains(t, err, "keys would change their partition")
		require.ErrorContains(t, err, "copy the records")
		require.NotContains(t, err.Error(), "\n")
		var differs *stream.TopicMismatchError
		require.ErrorAs(t, c.CreateTopic(ctx, spec), &differs)
	}
	info, err := c.DescribeTopic(ctx, "t")
	require.NoError(t, err)
	require.Len(t, info.Partitions, 4)
	require.Empty(t, info.Unfinished)
}
