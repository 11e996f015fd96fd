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
	kept    map[string]bool // items asked for that are to be followed then
	warm    bool            // copies are warm at once
	revoked []string
	leaving atomic.Bool
}

func joinCopier(t *testing.T, c *stream.Client, standby, warm bool, items int) *copier {
	t.Helper()
	return joinLevel(t, c, 0, standby, warm, items)
}

func joinLevel(t *testing.T, c *stream.Client, level int, standby, warm bool, items int) *copier {
	p := &copier{t: t, follows: map[string]bool{}, holds: map[string]bool{}, cold: map[string]bool{}, kept: map[string]bool{}, warm: warm}
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
			p.mu.Lock()
			for _, item := range items {
				p.kept[item] = p.follows[item]
			}
			p.mu.Unlock()
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

// The copy that a change of members leaves over stays until the one that comes in its place is warm, and takes the item if its holder dies before.
func TestWarmCopiesStay(t *testing.T) {
	c := newClient(t)
	const items = 40
	a, b := joinCopier(t, c, true, true, items), joinCopier(t, c, true, true, items)
	eventually(t, "each holds a half and follows the other one", func() bool {
		return len(a.held()) == items/2 && len(b.held()) == items/2 && len(a.followed()) == items/2 && len(b.followed()) == items/2
	})
	cold := joinCopier(t, c, true, false, items)
	eventually(t, "the new one follows what is to come, and what it is to have copies of", func() bool { return len(cold.followed()) > items/3 })
	eventually(t, "the others keep what they have: the new one's are not warm", func() bool {
		return len(a.held())+len(b.held()) == items && containsAll(a.followed(), b.held()) && containsAll(b.followed(), a.held())
	})
	require.Empty(t, cold.held())
	was := a.held()
	b.mu.Lock()
	clear(b.cold)
	b.mu.Unlock()
	a.leave(t.Context())
	eventually(t, "the one with warm copies takes all", func() bool { return len(b.held()) == items })
	require.Empty(t, cold.held())
	b.mu.Lock()
	for _, item := range was {
		require.Contains(t, b.cold, item)
		require.False(t, b.cold[item])
	}
	b.mu.Unlock()
	cold.mu.Lock()
	cold.warm = true
	cold.mu.Unlock()
	cold.ready(cold.followed()...)
	eventually(t, "they share when all is warm", func() bool { return len(b.held()) == items/2 && len(cold.held()) == items/2 })
	eventually(t, "each has a copy of what the other one holds", func() bool {
		return slices.Equal(b.held(), cold.followed()) && slices.Equal(cold.held(), b.followed())
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, item := range b.revoked {
		require.True(t, b.kept[item], "%s is followed where it was held", item)
	}
}

func containsAll(set, items []string) bool {
	return !slices.ContainsFunc(items, func(item string) bool { return !slices.Contains(set, item) })
}

// Standby may be turned on, and off, by restarting one member after the other: whoever dies in between, its items are taken.
func TestMembersWithAndWithoutStandby(t *testing.T) {
	c := newClient(t)
	const items = 30
	alive := []*copier{joinCopier(t, c, false, true, items), joinCopier(t, c, false, true, items), joinCopier(t, c, false, true, items)}
	held := func() (n int) {
		for _, m := range alive {
			n += len(m.held())
		}
		return n
	}
	for _, standby := range []bool{true, true, true, false, false, false} {
		eventually(t, "all are held", func() bool { return held() == items })
		gone := alive[0]
		alive = alive[1:]
		gone.leave(t.Context())
		eventually(t, "two hold all", func() bool { return held() == items })
		alive = append(alive, joinCopier(t, c, standby, true, items))
		eventually(t, "the new one gets its share", func() bool { return len(alive[2].held()) == items/3 })
	}
	eventually(t, "nobody keeps copies any more", func() bool {
		return held() == items && len(alive[0].followed())+len(alive[1].followed())+len(alive[2].followed()) == 0
	})
}
