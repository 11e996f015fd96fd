package notify_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/notify"
)

// BenchmarkCycle is one look at all groups of 10,000 firing alerts, with 50 routes, 500 silences and 100 rules of inhibition: "quiet" when nothing
// has changed since the last one, "first" the one that tells of all, "silenced" the one after a silence was added.
func BenchmarkCycle(b *testing.B) {
	const alerts, routes, silences, rules = 10_000, 50, 500, 100
	cfg := notify.Config{
		Receivers: []notify.Receiver{{Name: "default", SendResolved: true}},
		Route:     notify.Route{Receiver: "default", GroupBy: []string{"alertname", "team"}, GroupWait: time.Second, GroupInterval: time.Second},
	}
	for i := range routes {
		cfg.Receivers = append(cfg.Receivers, notify.Receiver{Name: fmt.Sprint("r", i), SendResolved: true})
		cfg.Route.Routes = append(cfg.Route.Routes, notify.Route{Receiver: fmt.Sprint("r", i), Matchers: match(b, fmt.Sprintf(`team=~"team-%d|x-%d"`, i, i))})
	}
	for i := range rules {
		cfg.Inhibit = append(cfg.Inhibit, notify.InhibitRule{
			Source: match(b, fmt.Sprintf(`alertname="rule-%d",severity="critical"`, i)), Target: match(b, fmt.Sprintf(`alertname=~"rule-%d",severity="warning"`, i)),
			Equal: []string{"key"},
		})
	}
	fill := func(d *notify.Dispatcher) {
		for i := range silences {
			d.Silence(notify.Silence{ID: fmt.Sprint("s", i), Matchers: match(b, fmt.Sprintf(`key=~"host-%d",team!="none"`, i)), StartsAt: at(0), EndsAt: at(1e6)})
		}
		for i := range alerts {
			a := alert(0, 0, "alertname", fmt.Sprint("rule-", i%rules), "key", fmt.Sprint("host-", i/4), "team", fmt.Sprint("team-", i%60),
				"severity", []string{"warning", "critical"}[i%2])
			d.Take(a, at(0))
		}
	}
	cycle := func(d *notify.Dispatcher, now time.Time) (told int) {
		for _, id := range d.Due(now) {
			told += len(d.Flush(id, now))
		}
		return told
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d, err := notify.New(cfg)
	require.NoError(b, err)
	began := time.Now()
	fill(d)
	took := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.Logf("10,000 alerts taken in %v, %.1f MB", took.Round(time.Millisecond), float64(after.HeapAlloc-before.HeapAlloc)/1e6)
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			d, err := notify.New(cfg)
			require.NoError(b, err)
			fill(d)
			b.StartTimer()
			require.NotZero(b, cycle(d, at(1)))
		}
	})
	now := 1
	require.NotZero(b, cycle(d, at(1)))
	b.Run("quiet", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			now++
			require.Zero(b, cycle(d, at(float64(now))))
		}
	})
	b.Run("silenced", func(b *testing.B) {
		for b.Loop() {
			now++
			d.Silence(notify.Silence{ID: "s0", Matchers: match(b, `key="host-0"`), StartsAt: at(0), EndsAt: at(1e6)})
			require.Zero(b, cycle(d, at(float64(now))))
		}
	})
}
