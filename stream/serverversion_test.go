package stream_test

import (
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// A server says its version in the first line that it sends, and in some later ones.
var infoVersion = regexp.MustCompile(`"version":"[^"]*"`)

// A server that is too old is refused, with its version and the one that is needed; one
// that is new enough, or of a fork, is not.
func TestOldServer(t *testing.T) {
	s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	at, err := url.Parse(s.URL())
	require.NoError(t, err)
	for version, old := range map[string]bool{"2.9.25": true, "2.12.3": true, "2.13.99-RC.1": true, "2.14.0": false, "3.0.0": false, "fork-7": false} {
		px := startProxy(t, at.Host)
		px.edit(func(b []byte) []byte {
			return infoVersion.ReplaceAll(b, []byte(`"version":"`+version+`"`))
		})
		nc := px.connect(t)
		require.Equal(t, version, nc.ConnectedServerVersion())
		_, err := stream.NewClient(nc, stream.Config{})
		if !old {
			require.NoError(t, err, version)
			continue
		}
		var have *stream.ServerVersionError
		require.ErrorAs(t, err, &have, version)
		require.Equal(t, version, have.Have)
		require.Equal(t, "2.14.0", have.Need)
		require.ErrorContains(t, err, "upgrade the server")
	}
}
