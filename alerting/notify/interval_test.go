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
