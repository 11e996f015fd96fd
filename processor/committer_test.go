package processor

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// TestOneThatHasSleptLooksAtTheJournalFirst has an owner whose lease is over deliver an outbox, after another one has taken its
// journal: nothing may be published, however late the server's duplicate window has forgotten it.
func TestOneThatHasSleptLooksAtTheJournalFirst(t *testing.T) {
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	topic := stream.Topic[string]{Name: "out"}.Spec()
	require.NoError(t, client.CreateTopic(t.Context(), topic))
	own := func() *stream.Journal { return takeJournal(t, client) }
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

// takeJournal fences whoever had it before.
func takeJournal(t *testing.T, client *stream.Client) *stream.Journal {
	t.Helper()
	j, err := client.OpenJournal(t.Context(), "sleepy-journal")
	require.NoError(t, err)
	require.NoError(t, j.Replay(t.Context(), func(stream.Entry) error { return nil }))
	_, err = j.Append(t.Context(), []byte(time.Now().String()))
	require.NoError(t, err)
	return j
}

// TestDeliveriesAreTheOwners has an owner lose its task, and sleep, while a receiver refuses what it hands over: it neither tries again nor
// writes dead letters.
func TestDeliveriesAreTheOwners(t *testing.T) {
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	letters := stream.Topic[[]byte]{Name: "letters"}.Spec()
	require.NoError(t, client.CreateTopic(t.Context(), letters))
	for _, attempts := range []int{1, 2} {
		c := &committer{journal: takeJournal(t, client), log: zap.NewNop(), heard: time.Now()}
		c.outbox = client.NewOutbox(c.verify)
		calls := 0
		v := &vertex{kind: kindDeliver, name: "hook", ownPolicy: true, policy: &policy{retry: attempts > 1, attempts: attempts, backoff: 1, most: 1}}
		v.send = func(context.Context, []stream.Outgoing) error {
			calls++
			c.heard = time.Now().Add(-time.Minute)
			takeJournal(t, client)
			return errors.New("away")
		}
		to := externalTopic(v.name)
		c.external = map[string]*deliverer{to: {vertex: v, owned: c.verify, letters: letters, log: c.log, calling: new(atomic.Pointer[vertex])}}
		err := c.deliver(t.Context(), []stream.Outgoing{{Topic: stream.TopicSpec{Name: to}, Key: "k", Data: []byte(`{"v":1}`), ID: "app/task/1/0"}})
		require.ErrorIs(t, err, stream.ErrFenced)
		require.Equal(t, 1, calls)
	}
	offsets, err := client.Offsets(t.Context(), letters)
	require.NoError(t, err)
	require.Zero(t, offsets[0].Records)
}

// TestLettersOfARedeliveryComeOnce has two owners, one after the other, give up the same record, whose id the server has forgotten when the second
// one does.
func TestLettersOfARedeliveryComeOnce(t *testing.T) {
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	const window = 100 * time.Millisecond
	letters := stream.Topic[[]byte]{Name: "letters", DuplicateWindow: window}.Spec()
	require.NoError(t, client.CreateTopic(t.Context(), letters))
	v := &vertex{kind: kindDeliver, name: "hook", ownPolicy: true, policy: &policy{}}
	v.send = func(context.Context, []stream.Outgoing) error { return errors.New("away") }
	to := externalTopic(v.name)
	outbox := []stream.Outgoing{{Topic: stream.TopicSpec{Name: to}, Key: "k", Data: []byte(`{"v":1}`), ID: "app/task/1/0"}}
	own := func() *committer {
		c := &committer{journal: takeJournal(t, client), log: zap.NewNop(), heard: time.Now()}
		c.outbox = client.NewOutbox(c.verify)
		c.external = map[string]*deliverer{to: {vertex: v, owned: c.verify, letters: letters, log: c.log, calling: new(atomic.Pointer[vertex])}}
		return c
	}
	began := time.Now()
	require.NoError(t, own().deliver(t.Context(), outbox))
	<-time.After(2 * window) // the server's memory is what this test is about
	require.NoError(t, own().redeliver(t.Context(), engine.Undelivered{Number: 1, Outbox: outbox}, began))
	offsets, err := client.Offsets(t.Context(), letters)
	require.NoError(t, err)
	require.EqualValues(t, 1, offsets[0].Records)
}
