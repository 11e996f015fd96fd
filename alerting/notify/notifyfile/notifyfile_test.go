package notifyfile_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/notifyfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const file = `
route:
  receiver: ops
  group_by: [alertname, key]
  group_wait: 10s
  routes:
    - receiver: pager
      matchers: ['severity="critical"', 'team=~"web|db"']
      continue: true
      repeat_interval: 1h30m
      mute_time_intervals: [nights]
      active_time_intervals: [holidays, nights]
      routes: [{match: {env: test}, match_re: {job: 'a.*'}, group_by: []}]
receivers:
  - name: ops
  - {name: pager, send_resolved: false}
inhibit_rules:
  - {source_matchers: ['alertname="Down"'], target_match: {severity: warning}, equal: [key]}
key_label: host
time_intervals:
  - name: nights
    time_intervals:
      - times: [{start_time: "22:00", end_time: "24:00"}, {start_time: "00:00", end_time: "06:00"}]
        location: Europe/Berlin
  - {name: holidays, time_intervals: [{months: [december], days_of_month: ['24:26', -1], years: ['2026:2027', 2030]}, {weekdays: [saturday, sunday]}]}
`

func TestAFile(t *testing.T) {
	cfg, err := notifyfile.Parse([]byte(file))
	require.NoError(t, err)
	require.Equal(t, []notify.Receiver{{Name: "ops", SendResolved: true}, {Name: "pager"}}, cfg.Receivers)
	require.Equal(t, "host", cfg.KeyLabel)
	require.Equal(t, 10*time.Second, cfg.Route.GroupWait)
	require.Equal(t, []string{"alertname", "key"}, cfg.Route.GroupBy)
	pager := cfg.Route.Routes[0]
	require.Equal(t, `{severity="critical",team=~"web|db"}`, pager.Matchers.String())
	require.True(t, pager.Continue)
	require.Equal(t, 90*time.Minute, pager.RepeatInterval)
	require.Nil(t, pager.GroupBy)
	test := pager.Routes[0]
	require.ElementsMatch(t, []string{`env="test"`, `job=~"a.*"`}, strings.Split(strings.Trim(test.Matchers.String(), "{}"), ","))
	require.NotNil(t, test.GroupBy)
	require.Empty(t, test.GroupBy)
	require.Equal(t, `{alertname="Down"}`, cfg.Inhibit[0].Source.String())
	require.Equal(t, `{severity="warning"}`, cfg.Inhibit[0].Target.String())
	require.Equal(t, []string{"key"}, cfg.Inhibit[0].Equal)
	require.Equal(t, []string{"nights"}, pager.MuteTimeIntervals)
	require.Equal(t, []string{"holidays", "nights"}, pager.ActiveTimeIntervals)
	for text, want := range map[string]map[string]bool{
		"2026-07-01T20:30:00Z": {"nights": true},                    // a Wednesday, 22:30 of Berlin's summer
		"2026-01-07T20:30:00Z": {},                                  // 21:30 of its winter
		"2026-10-25T00:30:00Z": {"nights": true, "holidays": true},  // Sunday, 02:30 for the first time
		"2026-10-26T05:30:00Z": {},                                  // Monday
		"2026-12-24T12:00:00Z": {"holidays": true},                  // Thursday
		"2027-12-31T12:00:00Z": {"holidays": true},                  // the last day of the month
		"2028-12-26T12:00:00Z": {},                                  // Tuesday, of another year
		"2030-12-24T23:30:00Z": {"nights": true, "holidays": true},  // Tuesday
		"2030-12-23T23:30:00Z": {"nights": true, "holidays": false}, // holidays are of UTC
	} {
		now, err := time.Parse(time.RFC3339, text)
		require.NoError(t, err)
		for name, intervals := range cfg.TimeIntervals {
			is := slices.ContainsFunc(intervals, func(i timeinterval.TimeInterval) bool { return i.ContainsTime(now) })
			require.Equal(t, want[name], is, "%s: %s", text, name)
		}
	}
}

func TestMistakesHaveTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		``:             "line 1, column 1: the file is empty",
		"route: {}":    `"route" and "receivers" must be there`,
		"rout: {}":     "line 1, column 1: /rout: there is no such field",
		"receivers: x": `"route" and "receivers"`,
		"route: {receiver: a}\nreceivers: [{name: b}]":                                                   `there is no receiver "a"`,
		"route: {receiver: a}\nreceivers: [{name: a, webhook_configs: []}]":                              "line 2, column 23: /receivers/0/webhook_configs: there is no such field",
		"route: {receiver: a}\nreceivers: [{}]":                                                          `the receiver has no "name"`,
		"route:\n  receiver: a\n  routes:\n    - matchers: ['x']\nreceivers: [{name: a}]":                "line 4, column 18: /route/routes/0/matchers/0: matchers, column 2",
		"route:\n  receiver: a\n  routes:\n    - match_re: {a: '('}\nreceivers: [{name: a}]":             "/route/routes/0/match_re: a: the pattern",
		"route: {receiver: a, group_wait: soon}\nreceivers: [{name: a}]":                                 `"soon" is no duration`,
		"route: {receiver: a, group_interval: 0s}\nreceivers: [{name: a}]":                               "it must be more than 0s",
		"route: {receiver: a, continue: maybe}\nreceivers: [{name: a}]":                                  "must be true or false",
		"route: {receiver: a, matchers: ['a=b']}\nreceivers: [{name: a}]":                                "the root route is for all",
		"route: {receiver: a}\nreceivers: [{name: a}]\ninhibit_rules: [{source_match: {a: b}}]":          `the rule needs "source_matchers" and "target_matchers"`,
		`{"route":{"receiver":"a","group_by":["...","b"]},"receivers":[{"name":"a"}]}`:                   "it is all of them, or some",
		"route: {receiver: a, mute_time_intervals: [x]}\nreceivers: [{name: a}]":                         "the root route is for all alerts at all times",
		"route: {receiver: a, routes: [{active_time_intervals: [x]}]}\nreceivers: [{name: a}]":           `there is no time interval "x"`,
		"route: {receiver: a}\nreceivers: [{name: a}]\ntime_intervals: [{name: x}]":                      `needs "name" and "time_intervals"`,
		"route: {receiver: a}\nreceivers: [{name: a}]\ntime_intervals: [{name: '', time_intervals: []}]": "give each another",
		intervals("{times: [{start_time: '09:00', end_time: '08:00'}]}"):                                 "line 3, column 45: /time_intervals/0/time_intervals/0: ",
		intervals("{times: [{start_time: '25:00', end_time: '26:00'}]}"):                                 "/time_intervals/0/time_intervals/0: ",
		intervals("{weekdays: [funday]}"):                                                                "funday",
		intervals("{days_of_month: ['32']}"):                                                             "32",
		intervals("{location: ../../etc/passwd}"):                                                        "location",
		intervals("{week: [monday]}"):                                                                    "there is no such field",
	} {
		_, err := notifyfile.Parse([]byte(text))
		require.ErrorIs(t, err, notifyfile.ErrFile, text)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
}

func intervals(one string) string {
	return "route: {receiver: a}\nreceivers: [{name: a}]\ntime_intervals: [{name: x, time_intervals: [" + one + "]}]"
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(file))
	f.Add([]byte(`{"route":{"receiver":"a"},"receivers":[{"name":"a"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := notifyfile.Parse(data)
		if err != nil {
			require.ErrorIs(t, err, notifyfile.ErrFile)
			require.NotContains(t, err.Error(), "\n")
			return
		}
		_, err = notify.New(cfg)
		require.NoError(t, err)
	})
}
