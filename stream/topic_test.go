package stream_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

func TestCreateTopicIsIdempotent(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	spec := stream.Topic[int]{Name: "t", Partitions: 3, MaxAge: time.Hour}.Spec()
	createTopic(t, c, spec)
	createTopic(t, c, spec)

	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(ctx, "t-2")
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	require.Equal(t, []string{"t.2.>"}, cfg.Subjects)
	require.Equal(t, "t", cfg.Metadata["rossby.topic"])
	require.Equal(t, "3", cfg.Metadata["rossby.partitions"])
	require.Equal(t, "1", cfg.Metadata["rossby.version"])
	require.True(t, cfg.AllowDirect)
	require.True(t, cfg.AllowAtomicPublish)
	require.True(t, cfg.AllowBatchPublish)
	require.Equal(t, 2*time.Minute, cfg.Duplicates)

	// An interrupted creation is completed.
	require.NoError(t, js.DeleteStream(ctx, "t-1"))
	createTopic(t, c, spec)
	_, err = js.Stream(ctx, "t-1")
	require.NoError(t, err)
}

func TestTopicMismatchSaysBothSides(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	have := stream.TopicSpec{Name: "t", Partitions: 4, Storage: stream.Memory}
	createTopic(t, c, have)

	for name, test := range map[string]struct {
		change func(*stream.TopicSpec)
		says   []string
	}{
		"fewer partitions": {func(s *stream.TopicSpec) { s.Partitions = 2 }, []string{"number of partitions is 4", "asked for 2"}},
		"more partitions":  {func(s *stream.TopicSpec) { s.Partitions = 8 }, []string{"number of partitions is 4", "asked for 8"}},
		"replicas":         {func(s *stream.TopicSpec) { s.Replicas = 3 }, []string{"replicas is 1", "asked for 3"}},
		"storage":          {func(s *stream.TopicSpec) { s.Storage = stream.File }, []string{"storage is memory", "asked for file"}},
		"age":              {func(s *stream.TopicSpec) { s.MaxAge = time.Hour }, []string{"MaxAge is unlimited", "asked for 1h"}},
		"window":           {func(s *stream.TopicSpec) { s.DuplicateWindow = time.Hour }, []string{"DuplicateWindow is 2m", "asked for 1h"}},
	} {
		t.Run(name, func(t *testing.T) {
			want := have
			test.change(&want)
			err := c.CreateTopic(ctx, want)
			var differs *stream.TopicMismatchError
			require.ErrorAs(t, err, &differs)
			require.Len(t, differs.Differences, 1)
			for _, s := range test.says {
				require.ErrorContains(t, err, s)
			}
		})
	}
	t.Run("unsaid settings match", func(t *testing.T) {
		require.NoError(t, c.CreateTopic(ctx, stream.TopicSpec{Name: "t", Partitions: 4}))
	})
	t.Run("foreign stream", func(t *testing.T) {
		js, err := jetstream.New(nc)
		require.NoError(t, err)
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "f-0", Subjects: []string{"f"}, Duplicates: 2 * time.Minute})
		require.NoError(t, err)
		require.ErrorContains(t, c.CreateTopic(ctx, stream.TopicSpec{Name: "f"}), "not Rossby's")
		_, err = c.OpenJournal(ctx, "f-0")
		require.ErrorContains(t, err, "no journal")
		require.ErrorContains(t, c.DeleteJournal(ctx, "f-0"), "no journal")
	})
}

func TestTwoCreatorsWithDifferentPartitions(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	results := make(chan error, 8)
	for i := range cap(results) {
		go func() { results <- c.CreateTopic(ctx, stream.TopicSpec{Name: "t", Partitions: 2 + i%2}) }()
	}
	won := 0
	for range cap(results) {
		if err := <-results; err == nil {
			won++
		} else {
			var differs *stream.TopicMismatchError
			require.ErrorAs(t, err, &differs)
		}
	}
	require.Equal(t, cap(results)/2, won)
}

func TestIllegalTopics(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	for _, name := range []string{"", "a.b", "a b", "a*", ">", "$JS", "_rossby", "_rossbyx", "a/b", `a\b`, "a\tb", "\xff", "topic\n", strings.Repeat("x", 201)} {
		var bad *stream.SpecError
		require.ErrorAs(t, c.CreateTopic(ctx, stream.TopicSpec{Name: name}), &bad, "%q", name)
		require.Equal(t, name, bad.Topic)
	}
	for _, spec := range []stream.TopicSpec{
		{Name: "t", Partitions: -1},
		{Name: "t", Partitions: 1 << 20},
		{Name: "t", Replicas: -1},
		{Name: "t", Replicas: 6},
		{Name: "t", Storage: 9},
		{Name: "t", MaxAge: -1},
		{Name: "t", MaxAge: time.Millisecond},
		{Name: "t", DuplicateWindow: -1},
		{Name: "t", DuplicateWindow: time.Hour, MaxAge: time.Minute},
	} {
		var bad *stream.SpecError
		require.ErrorAs(t, c.CreateTopic(ctx, spec), &bad, "%+v", spec)
	}
	err := stream.TopicSpec{Name: "a.b", Partitions: -1, MaxAge: -1}.Validate()
	require.ErrorContains(t, err, "name")
	require.ErrorContains(t, err, "partitions")
	require.ErrorContains(t, err, "MaxAge")

	createTopic(t, c, stream.TopicSpec{Name: "t"})
	for _, p := range []int{-1, 1} {
		var bad *stream.SpecError
		_, err := c.OpenReader(ctx, stream.TopicSpec{Name: "t"}, p, stream.ReaderConfig{Deliver: func(stream.Message) {}})
		require.ErrorAs(t, err, &bad)
		require.ErrorAs(t, c.Publish(ctx, []stream.Outgoing{{Topic: stream.TopicSpec{Name: "t"}, Partition: p}}), &bad)
		require.ErrorAs(t, c.StoreOffset(ctx, stream.TopicSpec{Name: "t"}, "g", p, 1), &bad)
	}
	var bad *stream.NameError
	require.ErrorAs(t, c.StoreOffset(ctx, stream.TopicSpec{Name: "t"}, "a.b", 0, 1), &bad)
	_, err = c.OpenJournal(ctx, "a b")
	require.ErrorAs(t, err, &bad)
	require.ErrorContains(t, err, "journal")
}

func TestMissingTopic(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	spec := stream.TopicSpec{Name: "missing", Partitions: 2}
	var missing *stream.TopicNotFoundError

	_, err := c.Offsets(ctx, spec)
	require.ErrorAs(t, err, &missing)
	_, err = c.OpenReader(ctx, spec, 1, stream.ReaderConfig{Deliver: func(stream.Message) {}})
	require.ErrorAs(t, err, &missing)
	require.Equal(t, 1, missing.Partition)
	require.ErrorAs(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Key: "k"}}), &missing)
	_, err = c.NewOutbox(owner).Republish(ctx, []stream.Outgoing{{Topic: spec, Key: "k", ID: "w/1/0"}}, time.Now())
	require.ErrorAs(t, err, &missing)
	require.ErrorAs(t, c.StoreOffset(ctx, spec, "g", 0, 1), &missing)
	_, err = c.Committed(ctx, spec, "g")
	require.ErrorAs(t, err, &missing)
	topic := stream.Topic[string]{Name: "missing"}
	_, err = stream.NewConsumer(ctx, c, topic, stream.ConsumerConfig{Group: "g"})
	require.ErrorAs(t, err, &missing)
	p, err := stream.NewProducer(c, topic, stream.ProducerConfig{})
	require.NoError(t, err)
	require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Key: "k"}))
	require.ErrorAs(t, p.Flush(ctx), &missing)
	require.NoError(t, p.Close(ctx))
}

func TestOffsets(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	spec := stream.TopicSpec{Name: "t", Partitions: 2}
	createTopic(t, c, spec)
	require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Partition: 1, Key: "a"}, {Topic: spec, Partition: 1, Key: "b"}}))
	got, err := c.Offsets(ctx, spec)
	require.NoError(t, err)
	require.Equal(t, []stream.PartitionOffsets{
		{Partition: 0, First: 1, Next: 1},
		{Partition: 1, First: 1, Next: 3, Records: 2},
	}, got)
}

func TestServerThatWillNotDo(t *testing.T) {
	nc := embeddedtest.ConnectTo(t, embeddedtest.StartWith(t, embedded.Config{NoJetStream: true}))
	_, err := stream.NewClient(nc, stream.Config{})
	require.ErrorIs(t, err, stream.ErrNoJetStream)

	nc.Close()
	_, err = stream.NewClient(nc, stream.Config{})
	require.ErrorContains(t, err, "CLOSED")

	ok := embeddedtest.Connect(t)
	_, err = stream.NewClient(ok, stream.Config{Replicas: 9})
	require.ErrorContains(t, err, "Replicas")
	_, err = stream.NewClient(ok, stream.Config{Storage: 9})
	require.ErrorContains(t, err, "Storage")
}

func TestCreateTopicEndsWithItsContext(t *testing.T) {
	c := newClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, c.CreateTopic(ctx, stream.TopicSpec{Name: "t"}), context.Canceled)
}
