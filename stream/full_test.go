package stream_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/stream"
)

// A server whose storage is full says so to everybody who writes; what it has
// acknowledged before is there, and once there is room again writing goes on.
func TestFullServer(t *testing.T) {
	ctx := testContext(t)
	s := configured(t, "jetstream { max_file_store: 2MB, max_memory_store: 1MB }")
	c := connect(t, stream.ConnectConfig{URL: s.URL()})
	topic := stream.Topic[[]byte]{Name: "t", Codec: stream.Bytes()}
	spec := topic.Spec()
	createTopic(t, c, spec)
	other := stream.TopicSpec{Name: "other"}
	createTopic(t, c, other)
	j, err := c.OpenJournal(ctx, "j")
	require.NoError(t, err)
	require.NoError(t, j.Replay(ctx, func(stream.Entry) error { return nil }))

	var full *stream.StorageError
	stored := 0
	big := make([]byte, 100<<10)
	for err = nil; err == nil; {
		err = briefly(ctx, func(ctx context.Context) error {
			return c.Publish(ctx, []stream.Outgoing{{Topic: spec, Key: "k", Data: big}})
		})
		if err == nil {
			stored++
		}
	}
	require.ErrorAs(t, err, &full)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "no room left")
	require.GreaterOrEqual(t, len(readAll(t, c, spec, 0)), stored)

	p, err := stream.NewProducer(c, topic, stream.ProducerConfig{})
	require.NoError(t, err)
	require.NoError(t, p.Send(ctx, stream.ProducerRecord[[]byte]{Key: "late", Value: big}))
	require.ErrorAs(t, briefly(ctx, p.Flush), &full)
	require.ErrorAs(t, c.CreateTopic(ctx, stream.TopicSpec{Name: "large", MaxBytes: 1 << 30}), &full, "at once")
	err = briefly(ctx, func(ctx context.Context) error { _, err := j.Append(ctx, big); return err })
	require.ErrorAs(t, err, &full)

	require.NoError(t, c.Purge(ctx, spec, 0, uint64(stored)))
	require.NoError(t, p.Close(ctx), "what waited is stored now")
	got := readAll(t, c, spec, 0)
	require.Equal(t, "late", got[len(got)-1].Key)
}

// briefly gives fn a time that is long enough for an answer and short for a test.
func briefly(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return fn(ctx)
}
