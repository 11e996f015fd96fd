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
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

var errReplaced = errors.New("somebody else is the owner")

// outboxModel is a journal, as a list of commits, and those who own it one after another. The former owners do not notice by themselves
// that they are replaced: they believe it only where they must be sure.
type outboxModel struct {
	t       *testing.T
	spec    stream.TopicSpec
	target  string
	direct  *stream.Client
	nc      *nats.Conn
	commits []int        // how many records each has
	told    int          // so many are known to be delivered by the journal: what its last commit says
	current atomic.Int64 // number of the owner
	owners  []*outboxOwner
	foreign int
}

type outboxOwner struct {
	number    int
	px        *proxy
	nc        *nats.Conn
	outbox    *stream.Outbox
	busy      chan error // of what it is publishing; nil: nothing
	delivered int
	deaf      bool
}

// appoint makes somebody new the owner, who publishes what the journal does not know to be delivered.
func (x *outboxModel) appoint(rt *rapid.T) {
	o := &outboxOwner{number: len(x.owners) + 1, px: startProxy(x.t, x.target)}
	var err error
	o.nc, err = nats.Connect("nats://"+o.px.listener.Addr().String(), reconnecting()...)
	require.NoError(rt, err)
	client := clientOf(x.t, o.nc)
	require.NoError(rt, client.Publish(x.t.Context(), nil), "the way for answers is open")
	o.outbox = client.NewOutbox(func(_ context.Context, sure bool) error {
		if sure && int(x.current.Load()) != o.number {
			return errReplaced
		}
		return nil
	})
	x.owners = append(x.owners, o)
	x.current.Store(int64(o.number))
	from, to := x.told, len(x.commits)
	since := time.Now().Add(-time.Hour)
	o.busy = make(chan error, 1)
	go func() {
		for n := from; n < to; n++ {
			if _, err := o.outbox.Republish(x.t.Context(), committed(x.spec, n+1, x.commits[n]), since); err != nil {
				o.busy <- err
				return
			}
		}
		o.busy <- nil
	}()
	o.delivered = to
}

// rest returns when the owner is not publishing; false if it still is, after a while.
func (o *outboxOwner) rest(rt *rapid.T, patience time.Duration) bool {
	if o.busy == nil {
		return true
	}
	select {
	case err := <-o.busy:
		o.busy = nil
		if err != nil {
			require.ErrorIs(rt, err, errReplaced)
		}
		return true
	case <-time.After(patience):
		return false
	}
}

// commit appends a commit to the journal and begins to publish it.
func (x *outboxModel) commit(rt *rapid.T, records int) {
	o := x.owners[len(x.owners)-1]
	if !o.rest(rt, 20*time.Millisecond) {
		return
	}
	x.told = o.delivered
	x.commits = append(x.commits, records)
	n := len(x.commits)
	o.busy = make(chan error, 1)
	go func() { o.busy <- o.outbox.Publish(x.t.Context(), committed(x.spec, n, records)) }()
	o.delivered = n
}

func (x *outboxModel) write(rt *rapid.T) {
	require.NoError(rt, x.nc.Publish(x.spec.Subject(0, "k0"), []byte(foreignData)))
	x.foreign++
}

// heal gives an owner its way back.
func (o *outboxOwner) heal(rt *rapid.T) {
	o.px.hold(false)
	before := o.nc.Stats().Reconnects
	o.px.cut()
	o.deaf = false
	require.Eventually(rt, func() bool { return o.nc.Stats().Reconnects > before }, patience, time.Millisecond)
}

// TestOutboxModel lets owners be held up, cut off and replaced, whatever they are doing, while somebody else writes to the partition as
// well: each record of each commit is stored once, in order.
func TestOutboxModel(t *testing.T) {
	t.Parallel()
	s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	at, err := url.Parse(s.URL())
	require.NoError(t, err)
	nc := embeddedtest.ConnectTo(t, s)
	direct := clientOf(t, nc)
	topics, records, owners := 0, 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		topics++
		x := &outboxModel{t: t, spec: stream.TopicSpec{Name: fmt.Sprint("t", topics), Partitions: 1}, target: at.Host, direct: direct, nc: nc}
		require.NoError(rt, direct.CreateTopic(t.Context(), x.spec))
		x.appoint(rt)
		anyOwner := func() *outboxOwner {
			return x.owners[max(0, len(x.owners)-1-rapid.IntRange(0, 1).Draw(rt, "which owner"))]
		}
		rt.Repeat(map[string]func(*rapid.T){
			"commit":      func(*rapid.T) { x.commit(rt, rapid.IntRange(1, 40).Draw(rt, "records")) },
			"commit much": func(*rapid.T) { x.commit(rt, rapid.IntRange(500, 1500).Draw(rt, "records")) },
			"write":       func(*rapid.T) { x.write(rt) },
			"replace": func(*rapid.T) {
				if len(x.owners) < 5 {
					x.appoint(rt)
				}
			},
			"hold": func(*rapid.T) { anyOwner().px.hold(true) },
			"let go": func(*rapid.T) {
				if o := anyOwner(); !o.deaf {
					o.px.hold(false)
				}
			},
			"cut": func(*rapid.T) { anyOwner().heal(rt) },
			"lose answers": func(*rapid.T) {
				o := anyOwner()
				o.px.loseAnswers()
				o.deaf = true
			},
		})
		for _, o := range x.owners { // the oldest first: it is late by all that was done meanwhile
			o.heal(rt)
			require.True(rt, o.rest(rt, patience))
			closed := o.nc.StatusChanged(nats.CLOSED)
			o.nc.Close()
			<-closed
		}
		require.NoError(rt, checkCommits(t, direct, x.spec, x.commits...))
		for _, n := range x.commits {
			records += n
		}
		owners += len(x.owners)
		require.EqualValues(rt, x.foreign, int(total(t, direct, x.spec))-sum(x.commits))
		require.NoError(rt, direct.DeleteTopic(t.Context(), x.spec.Name))
	})
	t.Logf("%d records, %d owners in %d runs", records, owners, topics)
}

func sum(numbers []int) (n int) {
	for _, m := range numbers {
		n += m
	}
	return n
}
