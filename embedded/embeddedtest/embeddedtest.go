// Package embeddedtest starts embedded servers for tests and cleans up after
// them: when a test ends, its connections are closed, its servers are down and
// their directories are gone.
package embeddedtest

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
)

// startTimeout bounds a start. It is generous: a loaded machine that runs many
// packages' tests at once is slow, and a hang still ends.
const startTimeout = time.Minute

// Start runs a server in memory without a port, for the length of the test.
func Start(t testing.TB) *embedded.Server {
	t.Helper()
	return StartWith(t, embedded.Config{})
}

// StartWith runs a server as cfg says, for the length of the test. The test may
// stop it earlier.
func StartWith(t testing.TB, cfg embedded.Config) *embedded.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	s, err := embedded.Start(ctx, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s
}

// Connect starts a server as Start does and connects to it.
func Connect(t testing.TB) *nats.Conn {
	t.Helper()
	return ConnectTo(t, Start(t))
}

// ConnectTo connects to s in process; the connection is closed when the test
// ends.
func ConnectTo(t testing.TB, s *embedded.Server, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := s.Connect(opts...)
	require.NoError(t, err)
	t.Cleanup(func() { closeConn(nc) })
	return nc
}

// StartCluster runs n servers for the length of the test.
func StartCluster(t testing.TB, n int) *embedded.Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	c, err := embedded.StartCluster(ctx, embedded.ClusterConfig{Size: n})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Stop()) })
	return c
}

// ConnectToCluster connects to c over TCP; the connection knows all servers and
// is closed when the test ends.
func ConnectToCluster(t testing.TB, c *embedded.Cluster, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := c.Connect(opts...)
	require.NoError(t, err)
	t.Cleanup(func() { closeConn(nc) })
	return nc
}

// closeConn waits until the connection's goroutines are gone, so that leak
// checks see none of them.
func closeConn(nc *nats.Conn) {
	closed := nc.StatusChanged(nats.CLOSED)
	if nc.IsClosed() {
		return
	}
	nc.Close()
	<-closed
}
