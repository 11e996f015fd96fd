package embedded_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
)

func TestClusterIsReadyAndSurvivesTheLossOfTheLeader(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := embeddedtest.StartCluster(t, 3)
	require.Equal(t, 3, c.Size())
	require.Len(t, c.URLs(), 3)
	js, err := jetstream.New(embeddedtest.ConnectToCluster(t, c))
	require.NoError(t, err)

	// Ready means that a replicated stream is created at the first attempt.
	st, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}, Replicas: 3})
	require.NoError(t, err)
	_, err = js.Publish(ctx, "s", []byte("1"))
	require.NoError(t, err)

	leader := c.ServerNamed(st.CachedInfo().Cluster.Leader)
	require.NotEqual(t, -1, leader)
	require.NoError(t, c.StopServer(leader))
	require.NoError(t, c.StopServer(leader), "a second stop does nothing")
	require.Nil(t, c.Servers()[leader])
	require.EventuallyWithT(t, func(ct *assert.CollectT) {
		one, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := js.Publish(one, "s", []byte("2"), jetstream.WithMsgID("2"))
		require.NoError(ct, err)
	}, time.Minute, 10*time.Millisecond)

	require.NoError(t, c.RestartServer(ctx, leader))
	require.NoError(t, c.WaitReady(ctx))
	require.EventuallyWithT(t, func(ct *assert.CollectT) {
		info, err := st.Info(ctx)
		require.NoError(ct, err)
		require.EqualValues(ct, 2, info.State.Msgs)
		require.NotNil(ct, info.Cluster)
		require.Len(ct, info.Cluster.Replicas, 2)
		for _, p := range info.Cluster.Replicas {
			require.True(ct, p.Current)
		}
	}, time.Minute, 10*time.Millisecond)
}

func TestClusterRefusesUnknownServers(t *testing.T) {
	c := embeddedtest.StartCluster(t, 2)
	require.ErrorContains(t, c.StopServer(2), "no server 2")
	require.ErrorContains(t, c.RestartServer(t.Context(), -1), "no server -1")
	require.Equal(t, -1, c.ServerNamed("n9"))
	require.NoError(t, c.Stop())
	require.NoError(t, c.Stop())
	_, err := c.Connect()
	require.ErrorIs(t, err, embedded.ErrStopped)
}
