package processor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// TestOneThatHasSleptLooksAtTheJournalFirst has an owner whose lease is over deliver an outbox, after another one has taken its
// journal: nothing may be published, however late the server's duplicate window has forgotten it.
func TestOneThatHasSleptLooksAtTheJournalFirst(t *testing.T) {
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	topic := stream.Topic[string]{Name: "out"}.Spec()
	require.NoError(t, client.CreateTopic(t.Context(), topic))
	own := func() *stream.Journal {
		j, err := client.OpenJournal(t.Context(), "sleepy-journal")
		require.NoError(t, err)
		require.NoError(t, j.Replay(t.Context(), func(stream.Entry) error { return nil }))
		_, err = j.Append(t.Context(), []byte(time.Now().String()))
		require.NoError(t, err)
		return j
	}
	stale := own()
	outbox := []stream.Outgoing{{Topic: topic, Key: "k", Data: []byte("x"), ID: "app/task/1/0"}}
	stored := func() uint64 {
		offsets, err := client.Offsets(t.Context(), topic)
		require.NoError(t, err)
		return offsets[0].Records
	}

	c := &committer{journal: stale, log: zap.NewNop(), heard: time.Now().Add(-time.Minute)}
	c.outbox = client.NewOutbox(c.verify)
	require.NoError(t, c.deliver(t.Context(), outbox), "it has slept, but nobody came")
	require.EqualValues(t, 1, stored())

	own()
	c.heard = time.Now().Add(-time.Minute)
	outbox[0].ID = "app/task/1/1"
	require.ErrorIs(t, c.deliver(t.Context(), outbox), stream.ErrFenced)
	require.EqualValues(t, 1, stored())
}
