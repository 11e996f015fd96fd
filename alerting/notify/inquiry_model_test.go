package notify

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/alerting"
)

// rowsFrom are the rows that a task would store.
func rowsFrom(d *Dispatcher, silences map[string]silenceRow) stored {
	s := stored{alerts: make(map[string]known), groups: make(map[string]Group), log: make(map[string]Entry), silences: maps.Clone(silences)}
	for fingerprint, k := range d.alerts {
		s.alerts[fingerprint] = known{Alert: k.Alert, In: maps.Clone(k.In), Begun: k.Begun, Updated: k.Updated}
	}
	for id, g := range d.groups {
		s.groups[id] = Group{Route: g.Route, Labels: g.Labels, Next: g.Next, Flushed: g.Flushed}
	}
	for key, e := range d.log {
		s.log[key] = *e
	}
	return s
}

// TestACopyIsWhatItIsACopyOf: after any history, looked at at any moments, a copy says what the dispatcher itself says.
func TestACopyIsWhatItIsACopyOf(t *testing.T) {
	label := func(name, value string) Matchers {
		m, err := NewMatcher(name, Equal, value)
		require.NoError(t, err)
		return Matchers{m}
	}
	cfg := Config{
		Route: Route{
			Receiver: "a", GroupBy: []string{"alertname"}, GroupWait: time.Second, GroupInterval: 2 * time.Second, RepeatInterval: 5 * time.Second,
			Routes: []Route{{Receiver: "b", Matchers: label("severity", "s1")}},
		},
		Receivers: []Receiver{{Name: "a", SendResolved: true}, {Name: "b"}},
		Inhibit:   []InhibitRule{{Source: label("alertname", "n0"), Target: label("alertname", "n1"), Equal: []string{"severity"}}},
	}
	rapid.Check(t, func(rt *rapid.T) {
		d, err := New(cfg)
		require.NoError(rt, err)
		fresh, err := New(cfg)
		require.NoError(rt, err)
		c := copied{d: fresh, versions: make(map[string]silenceRow)}
		rows, now := make(map[string]silenceRow), time.Unix(1_700_000_000, 0)
		draw := func(what string, most int) int { return rapid.IntRange(0, most).Draw(rt, what) }
		for i := range draw("actions", 25) {
			now = now.Add(time.Duration(draw("wait", 3)) * time.Second)
			id := fmt.Sprint("id", draw("id", 2))
			row := silenceRow{Version: alerting.Version{Revision: uint64(i) + 1}}
			switch draw("what", 6) {
			case 0, 1:
				labels := map[string]string{"alertname": fmt.Sprint("n", draw("name", 1)), "severity": fmt.Sprint("s", draw("severity", 1))}
				a := Alert{Fingerprint: fmt.Sprint("f", draw("alert", 3)), Labels: labels, StartsAt: now}
				if draw("resolved", 2) == 0 {
					a.EndsAt = now
				}
				d.Take(a, now)
			case 2:
				row.Silence = &Silence{ID: id, Matchers: label("severity", "s1"), StartsAt: now, EndsAt: now.Add(4 * time.Second)}
			case 3:
				row.Acknowledgement = &Acknowledgement{ID: id, Matchers: label("alertname", "n1"), Owner: "x", CreatedAt: now, ExpiresAt: now.Add(9 * time.Second)}
			case 4: // it is removed
			case 5:
				for group := range maps.Clone(d.groups) {
					d.Flush(group, now)
				}
			case 6:
				c.take(rowsFrom(d, rows))
			}
			if w := row; w.Silence != nil || w.Acknowledgement != nil || i%7 == 0 {
				rows[id] = row
				row.enforce(d, id)
			}
		}
		c.take(rowsFrom(d, rows))
		require.Equal(rt, d.List(now), c.d.List(now))
		require.Equal(rt, d.ListGroups(now), c.d.ListGroups(now))
		for i := range 4 {
			require.Equal(rt, d.Explain(fmt.Sprint("f", i), now), c.d.Explain(fmt.Sprint("f", i), now))
		}
	})
}

// BenchmarkList lists 10,000 alerts of a copy: that has judged them, that has just been changed by an edit of a silence, and that is new.
func BenchmarkList(b *testing.B) {
	d, err := New(Config{Route: Route{Receiver: "a", GroupBy: []string{"alertname"}}, Receivers: []Receiver{{Name: "a"}}})
	require.NoError(b, err)
	now := time.Unix(1_700_000_000, 0)
	for i := range 10_000 {
		d.Take(Alert{Fingerprint: fmt.Sprintf("%016x", i), Labels: map[string]string{"alertname": fmt.Sprint("n", i%100), "key": fmt.Sprint("k", i)}, StartsAt: now}, now)
	}
	silences := make(map[string]silenceRow)
	for i := range 500 {
		id := fmt.Sprint("s", i)
		m, err := NewMatcher("alertname", Equal, id)
		require.NoError(b, err)
		silences[id] = silenceRow{Silence: &Silence{ID: id, Matchers: Matchers{m}, StartsAt: now, EndsAt: now.Add(time.Hour)}}
	}
	of := func(b *testing.B) *copied {
		fresh, err := New(d.cfg)
		require.NoError(b, err)
		c := &copied{d: fresh, versions: make(map[string]silenceRow)}
		c.take(rowsFrom(d, silences))
		return c
	}
	b.Run("again", func(b *testing.B) {
		c := of(b)
		c.d.List(now)
		for b.Loop() {
			c.d.List(now)
		}
	})
	b.Run("changed", func(b *testing.B) {
		c := of(b)
		c.d.List(now)
		for i := 0; b.Loop(); i++ {
			row := silences["s0"]
			row.Version.Revision = uint64(i) + 1
			edited := maps.Clone(silences)
			edited["s0"] = row
			c.take(rowsFrom(d, edited))
			c.d.List(now)
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			of(b).d.List(now)
		}
	})
}
