package api

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/notifyfile"
)

// TestTheConfigurationIsAFile reads what amtool config show would print.
func TestTheConfigurationIsAFile(t *testing.T) {
	const file = `
route:
  receiver: ops
  group_by: [alertname, key]
  group_wait: 10s
  repeat_interval: 1h30m
  routes:
    - matchers: ['severity="critical"', 'team=~"web|db"']
      continue: true
      mute_time_intervals: [holidays]
      active_time_intervals: [office]
receivers: [{name: ops}]
inhibit_rules:
  - {source_matchers: ['alertname="Down"'], target_matchers: ['severity="warning"'], equal: [key]}
time_intervals:
  - name: office
    time_intervals:
      - times: [{start_time: '08:30', end_time: '24:00'}]
        weekdays: ['monday:friday', sunday]
        days_of_month: ['1:5', '-3:-1', 15]
        months: ['may:august', december]
        years: ['2020:2022', 2030]
        location: Australia/Sydney
  - {name: holidays, time_intervals: [{months: [december], days_of_month: ['25:26']}]}
`
	cfg, err := notifyfile.Parse([]byte(file))
	require.NoError(t, err)
	text, err := original(&cfg)
	require.NoError(t, err)
	again, err := notifyfile.Parse([]byte(text))
	require.NoError(t, err, text)
	require.Equal(t, cfg.TimeIntervals, again.TimeIntervals)
	require.Equal(t, cfg.Route.Routes[0].MuteTimeIntervals, again.Route.Routes[0].MuteTimeIntervals)
	require.Equal(t, text, mustOriginal(t, again))
}

func mustOriginal(t *testing.T, cfg notify.Config) string {
	t.Helper()
	text, err := original(&cfg)
	require.NoError(t, err)
	return text
}
