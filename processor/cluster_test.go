package processor_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// TestClusterLosesServers runs the word count on three replicas while every server in turn is stopped and started again: no
// record may be lost, doubled or counted out of order.
func TestClusterLosesServers(t *testing.T) {
	t.Parallel()
	cluster := embeddedtest.StartCluster(t, 3)
	client, err := stream.NewClient(embeddedtest.ConnectToCluster(t, cluster), stream.Config{Replicas: 3})
	require.NoError(t, err)
	const n = 6000
	records := textLines(n)
	produce(t, client, lines, records[:n/4]...)
	core := newApp(t, client, wordCount(t), false)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- core.Run(ctx) }()
	for i := range 3 {
		require.NoError(t, cluster.StopServer(i))
		part := records[n/4*(i+1) : n/4*(i+2)]
		for j := range part { // twice the same record would be counted twice: the id tells
			part[j].ID = part[j].Value.At.Format(time.RFC3339)
		}
		produce(t, client, lines, part...)
		require.NoError(t, cluster.RestartServer(t.Context(), i))
	}
	require.Eventually(t, func() bool {
		select {
		case err := <-ended:
			t.Fatalf("the app ended: %v", err)
		default:
		}
		committed, err := client.Committed(t.Context(), lines.Spec(), "wordcount")
		if err != nil {
			return false
		}
		sum := uint64(0)
		for _, c := range committed {
			sum += c.Next - 1
		}
		return sum == n
	}, 2*time.Minute, 50*time.Millisecond)
	stop()
	require.NoError(t, <-ended)
	require.NoError(t, newApp(t, client, wordCount(t), true).Run(t.Context()))
	checkCounts(t, client, n)
}
