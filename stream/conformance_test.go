package stream_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
	"github.com/rossby-streams/rossby/stream/streamtest"
)

// target is a server for the suite.
func target(c *stream.Client) streamtest.Target {
	return streamtest.Target{
		Admin: c,
		Producer: func(topic stream.Topic[string]) (streamtest.ClosingSender, error) {
			return stream.NewProducer(c, topic, stream.ProducerConfig{})
		},
		Consumer: func(ctx context.Context, topic stream.Topic[string], cfg stream.ConsumerConfig) (streamtest.Member, error) {
			return stream.NewConsumer(ctx, c, topic, cfg)
		},
	}
}

func TestServerKeepsPromises(t *testing.T) { streamtest.Run(t, target(newClient(t))) }

func TestClusterKeepsPromises(t *testing.T) {
	nc := embeddedtest.ConnectToCluster(t, embeddedtest.StartCluster(t, 3))
	c, err := stream.NewClient(nc, stream.Config{Replicas: 3})
	require.NoError(t, err)
	streamtest.Run(t, target(c))
}
