package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// shortMemory is a topic whose server soon forgets message ids.
var shortMemory = stream.TopicSpec{Name: "short-memory", Partitions: 2, DuplicateWindow: 100 * time.Millisecond}

// identified gives n records with ids, over both partitions.
func identified(n int) []stream.Outgoing {
	batch := make([]stream.Outgoing, n)
	for i := range batch {
		batch[i] = stream.Outgoing{Topic: shortMemory, Partition: i % 2, Key: "k", Data: []byte("always the same"), ID: fmt.Sprintf("app/task/1/%d", i)}
	}
	return batch
}

// owner is never replaced.
func owner(context.Context, bool) error { return nil }

// requireIDsOnce checks that both partitions hold the records of identified, each once and in order.
func requireIDsOnce(t *testing.T, c *stream.Client, n int) {
	t.Helper()
	require.EqualValues(t, n, total(t, c, shortMemory), "records stored")
	next := [2]int{0, 1}
	for part := range 2 {
		for _, m := range readAll(t, c, shortMemory, part) {
			require.Equal(t, fmt.Sprintf("app/task/1/%d", next[part]), m.Headers.Get("Nats-Msg-Id"))
			next[part] += 2
		}
	}
}

// forgotten returns when the server has forgotten the ids that it has had.
func forgotten() { <-time.After(5 * shortMemory.DuplicateWindow) }

func throughProxy(t *testing.T) (px *proxy, nc *nats.Conn, through, direct *stream.Client) {
	t.Helper()
	s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	at, err := url.Parse(s.URL())
	require.NoError(t, err)
	px = startProxy(t, at.Host)
	direct = clientOf(t, embeddedtest.ConnectTo(t, s))
	createTopic(t, direct, shortMemory)
	nc = px.connect(t)
	return px, nc, clientOf(t, nc), direct
}

// All answers are lost until the server has forgotten both the sessions and the ids: what is stored is found in the log.
func TestIDsAreLookedForWhenTheServerHasForgottenThem(t *testing.T) {
	const n = 6000
	ctx := testContext(t)
	px, _, through, direct := throughProxy(t)
	require.NoError(t, through.Publish(ctx, identified(2)), "the way for answers is open")
	px.loseAnswers()
	published := make(chan error, 1)
	go func() { published <- through.Publish(ctx, identified(n)[2:]) }()
	waitForRecords(t, direct, shortMemory, n)
	forgotten()
	px.cut()
	require.NoError(t, <-published)
	requireIDsOnce(t, direct, n)
}

// A writer is cut off for longer than the server remembers ids. Meanwhile another one has taken its place, and has published what
// the first one had not: that must not come again, neither from its buffers nor by trying again.
func TestReplacedWriterPublishesNothing(t *testing.T) {
	const n = 20_000 // more than are in flight at once
	gone := errors.New("somebody else is the owner")
	for _, when := range []string{"before its first record", "amid its records"} {
		t.Run(when, func(t *testing.T) {
			ctx := testContext(t)
			px, nc, through, direct := throughProxy(t)
			var replaced atomic.Bool
			asked := make(chan struct{}, 1)
			owned := func(context.Context, bool) error {
				select {
				case asked <- struct{}{}:
				default:
				}
				if replaced.Load() {
					return gone
				}
				return nil
			}
			require.NoError(t, through.Publish(ctx, identified(2)), "the way for answers is open")
			cutOff := func() {
				px.block(true)
				require.Eventually(t, nc.IsReconnecting, patience, time.Millisecond)
			}
			amid := when == "amid its records"
			if amid {
				px.loseAnswers() // so that it cannot come to its end
			} else {
				cutOff()
			}
			published := make(chan error, 1)
			go func() { published <- through.NewOutbox(owned).Publish(ctx, identified(n)[2:]) }()
			<-asked
			if amid {
				waitForRecords(t, direct, shortMemory, 1000)
				cutOff()
			}
			replaced.Store(true)
			forgotten() // nobody is replaced at once: what was on its way has arrived
			missing, err := direct.NewOutbox(owner).Republish(ctx, identified(n), time.Now())
			require.NoError(t, err)
			require.Positive(t, missing)
			forgotten()
			px.block(false)
			require.ErrorIs(t, <-published, gone)
			requireIDsOnce(t, direct, n)
		})
	}
}
