package notify_test

import (
	"testing"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/notify"
)

// Alerts of a route that is quiet stay in their group, and are told when it is not any more; one that is over by then is not.
func TestTimeIntervals(t *testing.T) {
	require.Equal(t, "22:13:20", at(0).Format(time.TimeOnly))
	minute := func(start, end int) []timeinterval.TimeInterval {
		return []timeinterval.TimeInterval{{Times: []timeinterval.TimeRange{{StartMinute: 22*60 + start, EndMinute: 22*60 + end}}}}
	}
	w := newWorld(t, notify.Config{
		TimeIntervals: notify.TimeIntervals{"22:14": minute(14, 15), "22:15 on": minute(15, 60), "never": nil},
		Receivers:     []notify.Receiver{{Name: "default"}, {Name: "muted", SendResolved: true}, {Name: "active", SendResolved: true}},
		Route: notify.Route{
			GroupWait: time.Second, GroupInterval: time.Second, GroupBy: []string{notify.GroupByAll},
			Routes: []notify.Route{
				{Receiver: "muted", MuteTimeIntervals: []string{"never", "22:14"}, Continue: true},
				{Receiver: "active", ActiveTimeIntervals: []string{"never", "22:15 on"}},
			},
		},
	})
	w.take(alert(0, 0, "alertname", "a"))
	require.Equal(t, []string{"1.0 muted: first notification: a 0.0"}, w.until(39))
	w.until(45)
	w.take(alert(45, 0, "alertname", "b"), alert(45, 0, "alertname", "c"))
	w.until(50)
	e, ok := w.d.Explain("alertname,b", at(50))
	require.True(t, ok)
	require.Equal(t, []string{"22:14"}, e.Groups[0].QuietBy)
	require.Equal(t, []string{"never", "22:15 on"}, e.Groups[1].QuietBy)
	require.Contains(t, e.String(), "the route is quiet now: never, 22:15 on\n")
	w.take(alert(45, 50, "alertname", "c"))
	require.Empty(t, w.until(99))
	require.Equal(t, []string{
		"100.0 muted: first notification: b 45.0", "100.0 active: first notification: a 0.0", "100.0 active: first notification: b 45.0",
	}, w.until(110))

	for want, route := range map[string]notify.Route{
		"the root route is for all alerts at all times": {Receiver: "r", MuteTimeIntervals: []string{"x"}},
		`there is no time interval "y"`:                 {Receiver: "r", Routes: []notify.Route{{ActiveTimeIntervals: []string{"x", "y"}}}},
	} {
		_, err := notify.New(notify.Config{Route: route, Receivers: []notify.Receiver{{Name: "r"}}, TimeIntervals: notify.TimeIntervals{"x": nil}})
		require.ErrorContains(t, err, want)
	}
}

// Explain tells each of the things that keep an alert quiet.
func TestExplain(t *testing.T) {
	w := newWorld(t, notify.Config{
		Route:   notify.Route{GroupWait: time.Second, GroupInterval: time.Minute, GroupBy: []string{"zone"}},
		Inhibit: []notify.InhibitRule{{Source: match(t, `alertname="down"`), Target: match(t, `alertname="slow"`), Equal: []string{"zone"}}},
	})
	_, ok := w.d.Explain("alertname,slow,zone,a", at(0))
	require.False(t, ok)
	w.take(alert(0, 0, "alertname", "slow", "zone", "a"), alert(0, 0, "alertname", "down", "zone", "a"))
	w.d.Silence(notify.Silence{ID: "s", Matchers: match(t, `zone="a"`), StartsAt: at(0), EndsAt: at(60), CreatedBy: "ann", Comment: "known"})
	w.d.Acknowledge(notify.Acknowledgement{ID: "1", Fingerprint: "alertname,slow,zone,a", Owner: "bob", Comment: "at it", CreatedAt: at(0), ExpiresAt: at(60)})
	e, ok := w.d.Explain("alertname,slow,zone,a", at(0.5))
	require.True(t, ok)
	require.Equal(t, `{alertname="slow", zone="a"} fires since 2023-11-14T22:13:20Z
  silenced until 2023-11-14T22:14:20Z by ann: known (silence s, {zone="a"})
  inhibited by {alertname="down", zone="a"}, which fires since 2023-11-14T22:13:20Z
  acknowledged until 2023-11-14T22:14:20Z by bob: at it (acknowledgement 1)
  default is told, by the route {}, of the group {zone="a"}, which is looked at 2023-11-14T22:13:21Z
    receiver 0 has heard nothing yet
`, e.String())
	w.take(alert(0, 0, "alertname", "slow", "zone", "b"))
	require.Len(t, w.until(2), 1)
	w.take(alert(0, 0, "alertname", "slow", "zone", "b"), alert(2, 0, "alertname", "new", "zone", "b"))
	e, _ = w.d.Explain("alertname,slow,zone,b", at(2))
	require.Contains(t, e.String(), "receiver 0 has heard that it is firing, at 2023-11-14T22:13:21Z; again from 2023-11-15T02:13:21Z on if nothing changes\n")
	e, _ = w.d.Explain("alertname,new,zone,b", at(2))
	require.Contains(t, e.String(), "receiver 0 has not heard of the alert; of the group, at 2023-11-14T22:13:21Z\n")
	moved := alert(0, 0, "alertname", "slow", "zone", "c")
	moved.Fingerprint = "alertname,slow,zone,b"
	w.take(moved)
	e, _ = w.d.Explain("alertname,slow,zone,b", at(2))
	require.Contains(t, e.String(), "left for another group at 2023-11-14T22:13:22Z")
	require.Len(t, e.Groups, 2)
}
