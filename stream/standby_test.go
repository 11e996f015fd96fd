package stream_test

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
					if err := p.m.Release(context.Background(), item, 0); err != nil {
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
	t.Cleanup(func() { m.Leave(context.Background()) })
	return p
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
	b.m.Leave(t.Context())
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
	settled := func(n int) func() bool {
		return func() bool {
			follows := 0
			for _, m := range members {
				if len(m.held()) != n {
					return false
				}
				follows += len(m.followed())
			}
			return follows == 30
		}
	}
	eventually(t, "each holds its share, and each item is followed once", settled(10))
	gone := members[0]
	was := gone.held()
	standby := map[string]*copier{}
	for _, m := range members[1:] {
		for _, item := range m.followed() {
			standby[item] = m
		}
	}
	members = members[1:]
	for _, m := range members {
		m.mu.Lock()
		clear(m.cold)
		m.mu.Unlock()
	}
	gone.m.Leave(t.Context())
	eventually(t, "two share all", settled(15))
	for _, item := range was {
		m := standby[item]
		m.mu.Lock()
		cold, took := m.cold[item]
		m.mu.Unlock()
		require.True(t, took, "%s was taken by the one that followed it", item)
		require.False(t, cold)
	}
	for _, m := range members {
		for item, cold := range m.cold {
			require.False(t, cold, item)
		}
	}
}
