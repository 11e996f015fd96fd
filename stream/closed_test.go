package stream_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// TestPublishEndsWithItsConnection closes the connection under a batch that the server has not acknowledged.
func TestPublishEndsWithItsConnection(t *testing.T) {
	server := embeddedtest.Start(t)
	nc := embeddedtest.ConnectTo(t, server, nats.MaxReconnects(-1))
	client, err := stream.NewClient(nc, stream.Config{})
	require.NoError(t, err)
	topic := stream.Topic[string]{Name: "t"}.Spec()
	require.NoError(t, client.CreateTopic(t.Context(), topic))
	for name, id := range map[string]string{"with an id": "w/1/0", "without one": ""} {
		require.NoError(t, client.Publish(t.Context(), []stream.Outgoing{{Topic: topic, Key: "k", Data: []byte(name), ID: id}}))
	}
	require.NoError(t, server.Stop())
	require.Eventually(t, func() bool { return nc.Status() == nats.RECONNECTING }, 30*time.Second, time.Millisecond)
	ended, sent := make(chan error, 2), nc.Stats().OutMsgs
	for _, id := range []string{"w/2/0", ""} {
		go func() {
			ended <- client.Publish(t.Context(), []stream.Outgoing{{Topic: topic, Key: "k", Data: []byte("x"), ID: id}})
		}()
	}
	require.Eventually(t, func() bool { return nc.Stats().OutMsgs == sent+2 }, 30*time.Second, time.Millisecond)
	nc.Close()
	for range 2 {
		select {
		case err := <-ended:
			require.ErrorIs(t, err, nats.ErrConnectionClosed)
		case <-time.After(time.Minute):
			require.FailNow(t, "Publish does not return")
		}
	}
}
