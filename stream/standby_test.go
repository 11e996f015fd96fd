package stream_test

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// copier is a member that keeps copies and says which of them are warm.
type copier struct {
	t       *testing.T
	m       *stream.Membership
	mu      sync.Mutex
	follows map[string]bool
	holds   map[string]bool
	cold    map[string]bool // items assigned without a copy
	warm    bool            // copies are warm at once
	revoked []string
	leaving atomic.Bool
}

func joinCopier(t *testing.T, c *stream.Client, standby, warm bool, items int) *copier {
	t.Helper()
	return joinLevel(t, c, 0, standby, warm, items)
}

func joinLevel(t *testing.T, c *stream.Client, level int, standby, warm bool, items int) *copier {
	p := &copier{t: t, follows: map[string]bool{}, holds: map[string]bool{}, cold: map[string]bool{}, warm: warm}
	names := make([]string, items)
	for i := range names {
		names[i] = "task-" + strconv.Itoa(i)
	}
	joined := make(chan struct{})
	m, err := c.Join(t.Context(), stream.MembershipConfig{
		Name: "app.x", Items: names, SessionTimeout: time.Second, Level: level, Standby: standby,
		Assigned: func(claims []stream.Claim) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, c := range claims {
				p.cold[c.Item] = !p.follows[c.Item]
				p.holds[c.Item] = true
			}
		},
		Revoke: func(items []string) {
			go func() {
				<-joined
				for _, item := range items {
					p.mu.Lock()
					delete(p.holds, item)
					p.revoked = append(p.revoked, item)
					p.mu.Unlock()
					if err := p.m.Release(context.Background(), item, 0); err != nil && !p.leaving.Load() {
						t.Error(err)
					}
				}
			}()
		},
		Lost: func(items []string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, item := range items {
				delete(p.holds, item)
			}
		},
		Failed: func(err error) { t.Error(err) },
		Follow: func(items []string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			clear(p.follows)
			for _, item := range items {
				p.follows[item] = true
			}
			if p.warm {
				go func() {
					<-joined
					p.ready(items...)
				}()
			}
		},
	})
	require.NoError(t, err)
	p.m = m
	close(joined)
	t.Cleanup(func() { p.leave(context.Background()) })
	return p
}

// leave may come between a Revoke and its Release.
func (p *copier) leave(ctx context.Context) {
	p.leaving.Store(true)
	p.m.Leave(ctx)
}

func (p *copier) ready(items ...string) {
	for _, item := range items {
		p.m.Ready(item)
	}
}

func (p *copier) held() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.holds))
}

func (p *copier) followed() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.follows))
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, patience, 5*time.Millisecond, what)
}

// An item moves when the copy of the one to whom it goes is warm, and not before.
func TestItemsMoveWhenTheirCopiesAreWarm(t *testing.T) {
	c := newClient(t)
	a := joinCopier(t, c, false, true, 12)
	require.Len(t, a.held(), 12)
	b := joinCopier(t, c, false, false, 12)
	eventually(t, "b follows what is to come", func() bool { return len(b.followed()) == 6 })
	require.Empty(t, b.held())
	require.Len(t, a.held(), 12)
	coming := b.followed()
	b.ready(coming[0], "no-such-item", "task-99")
	eventually(t, "one moves", func() bool { return len(b.held()) == 1 })
	require.Equal(t, coming[:1], b.held())
	require.Len(t, a.held(), 11)
	b.ready(coming...)
	eventually(t, "all move", func() bool { return len(b.held()) == 6 && len(a.held()) == 6 })
	require.Equal(t, coming, b.held())
	eventually(t, "nobody follows what moved: nobody asked for standbys", func() bool { return len(b.followed()) == 0 })
	for item, cold := range b.cold {
		require.False(t, cold, item)
	}
	b.leave(t.Context())
	eventually(t, "a takes all", func() bool { return len(a.held()) == 12 })
}

// With standbys every item has a second member that follows it; it takes the item when the first one is gone, and gives it to whom
// it belongs when that one is warm.
func TestStandbysTakeOver(t *testing.T) {
	c := newClient(t)
	members := []*copier{}
	for range 3 {
		members = append(members, joinCopier(t, c, true, true, 30))
	}
	standby := map[string]*copier{}
	settled := func() bool {
		var ids, items []string
		for _, m := range members {
			ids = append(ids, m.m.ID())
		}
		for i := range 30 {
			items = append(items, "task-"+strconv.Itoa(i))
		}
		owners := stream.Assign(ids, items)
		clear(standby)
		for _, m := range members {
			for _, item := range m.held() {
				if owners[item] != m.m.ID() {
					return false
				}
				delete(owners, item)
			}
			for _, item := range m.followed() {
				standby[item] = m
			}
		}
		return len(owners) == 0 && len(standby) == 30
	}
	eventually(t, "each holds its share, and each item is followed", settled)
	gone := members[0]
	was := gone.held()
	followers := maps.Clone(standby)
	members = members[1:]
	for _, m := range members {
		m.mu.Lock()
		clear(m.cold)
		m.mu.Unlock()
	}
	gone.leave(t.Context())
	eventually(t, "two share all", settled)
	for _, item := range was {
		m := followers[item]
		m.mu.Lock()
		cold, took := m.cold[item]
		m.mu.Unlock()
		require.True(t, took, "%s was taken by the one that followed it", item)
		require.False(t, cold)
	}
	for _, m := range members {
		m.mu.Lock()
		for item, cold := range m.cold {
			require.False(t, cold, item)
		}
		m.mu.Unlock()
	}
}

// A member writes its entry anew with every heartbeat, behind everything that there is to read for one who joins: its claims may come
// long before it, and are taken by nobody.
func TestWhoJoinsTakesNothingFromTheLiving(t *testing.T) {
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	log, err := nc.SubscribeSync("_rossby.groups.app.x.m.>")
	require.NoError(t, err)
	entry := func() *nats.Msg {
		m, err := log.NextMsg(time.Minute)
		require.NoError(t, err)
		return m
	}
	holder := joinCopier(t, c, false, true, 12)
	require.Len(t, holder.held(), 12)
	heartbeat := entry()
	for range 5 {
		joined := make(chan *copier)
		go func() { joined <- joinCopier(t, c, false, false, 12) }()
		first := entry()
		for first.Subject == heartbeat.Subject { // its own
			first = entry()
		}
		for i := range 5000 { // much to read, and then a heartbeat
			require.NoError(t, nc.Publish("_rossby.groups.app.x.c.old-"+strconv.Itoa(i), []byte("{}")))
		}
		require.NoError(t, nc.Publish(heartbeat.Subject, heartbeat.Data))
		j := <-joined
		eventually(t, "the new one knows of the holder", func() bool { return len(j.followed()) > 0 })
		require.Empty(t, j.held())
		j.leave(t.Context())
	}
	require.Len(t, holder.held(), 12)
}
