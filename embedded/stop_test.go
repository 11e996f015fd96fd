package embedded_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
)

// TestStopAmidWork stops servers while they create streams for somebody who has not waited. goleak, in TestMain, watches what stays behind.
func TestStopAmidWork(t *testing.T) {
	for i := range 20 {
		s, err := embedded.Start(t.Context(), embedded.Config{})
		require.NoError(t, err)
		nc, err := s.Connect()
		require.NoError(t, err)
		for j := range 20 {
			name := fmt.Sprint("s", j)
			text, err := json.Marshal(jetstream.StreamConfig{Name: name, Storage: jetstream.StorageType(i % 2)})
			require.NoError(t, err)
			require.NoError(t, nc.PublishRequest("$JS.API.STREAM.CREATE."+name, nats.NewInbox(), text))
		}
		nc.Close()
		require.NoError(t, s.Stop())
	}
}
