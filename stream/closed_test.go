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

// TestJoinEndsWithItsConnection closes the connection of a member that joins after each of its messages.
func TestJoinEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Start(t)
	for n := uint64(0); ; n++ {
		nc := embeddedtest.ConnectTo(t, server)
		client, err := stream.NewClient(nc, stream.Config{})
		require.NoError(t, err)
		joined := make(chan error, 1)
		sent := nc.Stats().OutMsgs
		go func() {
			m, err := client.Join(t.Context(), stream.MembershipConfig{
				Name: "g", Items: []string{"a"}, Assigned: func([]stream.Claim) {}, Revoke: func([]string) {}, Lost: func([]string) {}, Failed: func(error) {},
			})
			if err == nil {
				m.Leave(t.Context())
			}
			joined <- err
		}()
		require.Eventually(t, func() bool { return len(joined) > 0 || nc.Stats().OutMsgs > sent+n }, 30*time.Second, 10*time.Microsecond)
		if len(joined) > 0 {
			require.NoError(t, <-joined)
			require.Greater(t, n, uint64(3))
			return
		}
		nc.Close()
		select {
		case <-joined: // it may have joined
		case <-time.After(time.Minute):
			require.FailNow(t, "Join does not return", "after %d messages", n)
		}
	}
}
