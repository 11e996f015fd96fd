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

	c := &committer{client: client, journal: stale, log: zap.NewNop(), heard: time.Now().Add(-time.Minute)}
	require.NoError(t, c.deliver(t.Context(), outbox), "it has slept, but nobody came")
	require.EqualValues(t, 1, stored())

	own()
	c.heard = time.Now().Add(-time.Minute)
	outbox[0].ID = "app/task/1/1"
	require.ErrorIs(t, c.deliver(t.Context(), outbox), stream.ErrFenced)
	require.EqualValues(t, 1, stored())
}

// A commit that was delivered to a compacted topic left the last record of each key there. The ones before it are not missing.
func TestReplacedRecordsAreNotDeliveredAgain(t *testing.T) {
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	spec := stream.Topic[string]{Name: "table", Compact: true}.Spec()
	require.NoError(t, client.CreateTopic(t.Context(), spec))
	record := func(key, id string) stream.Outgoing {
		return stream.Outgoing{Topic: spec, Key: key, Data: []byte(id), ID: id}
	}
	outbox := []stream.Outgoing{record("a", "1"), record("b", "2"), record("a", "3"), record("b", "4"), record("a", "5")}
	c := &committer{client: client, log: zap.NewNop()}
	since := time.Now().Add(-time.Minute)
	for delivered := range len(outbox) + 1 {
		missing, err := c.missing(t.Context(), outbox, since)
		require.NoError(t, err)
		require.Equal(t, len(outbox)-delivered, len(missing))
		for i, o := range missing {
			require.Equal(t, outbox[delivered+i], o)
		}
		if delivered < len(outbox) {
			require.NoError(t, client.Publish(t.Context(), outbox[delivered:delivered+1]))
		}
	}
}
