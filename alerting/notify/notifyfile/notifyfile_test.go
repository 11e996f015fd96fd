package notifyfile_test

import (
	"strings"
	"testing"
	"time"

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
      routes: [{match: {env: test}, match_re: {job: 'a.*'}, group_by: []}]
      mute_time_intervals: [holidays]
      active_time_intervals: [office, summer]
receivers:
  - name: ops
  - {name: pager, send_resolved: false}
inhibit_rules:
  - {source_matchers: ['alertname="Down"'], target_match: {severity: warning}, equal: [key]}
time_intervals:
  - name: office
    time_intervals:
      - times: [{start_time: '08:30', end_time: "24:00"}]
        weekdays: [Monday:friday, 'sunday']
        days_of_month: ['1:5', '-3:-1', 15, -7]
        months: ['may:August', 12, '1:january']
        years: ['2020:2022', 2030]
        location: Australia/Sydney
      - {location: UTC}
  - {name: summer, time_intervals: [{months: ['6:8']}]}
mute_time_intervals:
  - {name: holidays, time_intervals: [{days_of_month: ['25:26'], months: [december]}]}
key_label: host
tell_silence_ends: true
`

func TestAFile(t *testing.T) {
	cfg, err := notifyfile.Parse([]byte(file))
	require.NoError(t, err)
	require.Equal(t, []notify.Receiver{{Name: "ops", SendResolved: true}, {Name: "pager"}}, cfg.Receivers)
	require.Equal(t, "host", cfg.KeyLabel)
	require.True(t, cfg.TellSilenceEnds)
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
	require.Equal(t, []string{"holidays"}, pager.MuteTimeIntervals)
	require.Equal(t, []string{"office", "summer"}, pager.ActiveTimeIntervals)
	require.Nil(t, test.ActiveTimeIntervals)
	sydney, err := time.LoadLocation("Australia/Sydney")
	require.NoError(t, err)
	require.Equal(t, map[string][]notify.TimeInterval{
		"office": {{
			Times:       []notify.TimeRange{{StartMinute: 510, EndMinute: 1440}},
			Weekdays:    []notify.InclusiveRange{{Begin: 1, End: 5}, {}},
			DaysOfMonth: []notify.InclusiveRange{{Begin: 1, End: 5}, {Begin: -3, End: -1}, {Begin: 15, End: 15}, {Begin: -7, End: -7}},
			Months:      []notify.InclusiveRange{{Begin: 5, End: 8}, {Begin: 12, End: 12}, {Begin: 1, End: 1}},
			Years:       []notify.InclusiveRange{{Begin: 2020, End: 2022}, {Begin: 2030, End: 2030}},
			Location:    sydney,
		}, {Location: time.UTC}},
		"summer":   {{Months: []notify.InclusiveRange{{Begin: 6, End: 8}}}},
		"holidays": {{DaysOfMonth: []notify.InclusiveRange{{Begin: 25, End: 26}}, Months: []notify.InclusiveRange{{Begin: 12, End: 12}}}},
	}, cfg.TimeIntervals)
}

func TestMistakesHaveTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		``:             "line 1, column 1: the file is empty",
		"route: {}":    `"route" and "receivers" must be there`,
		"rout: {}":     "line 1, column 1: /rout: there is no such field",
		"receivers: x": `"route" and "receivers"`,
		"route: {receiver: a}\nreceivers: [{name: b}]":                                          `there is no receiver "a"`,
		"route: {receiver: a}\nreceivers: [{name: a, webhook_configs: []}]":                     "line 2, column 23: /receivers/0/webhook_configs: there is no such field",
		"route: {receiver: a}\nreceivers: [{}]":                                                 `the receiver has no "name"`,
		"route:\n  receiver: a\n  routes:\n    - matchers: ['x']\nreceivers: [{name: a}]":       "line 4, column 18: /route/routes/0/matchers/0: matchers, column 2",
		"route:\n  receiver: a\n  routes:\n    - match_re: {a: '('}\nreceivers: [{name: a}]":    "/route/routes/0/match_re: a: the pattern",
		"route: {receiver: a, group_wait: soon}\nreceivers: [{name: a}]":                        `"soon" is no duration`,
		"route: {receiver: a, group_interval: 0s}\nreceivers: [{name: a}]":                      "it must be more than 0s",
		"route: {receiver: a, continue: maybe}\nreceivers: [{name: a}]":                         "must be true or false",
		"route: {receiver: a, matchers: ['a=b']}\nreceivers: [{name: a}]":                       "the root route is for all",
		"route: {receiver: a}\nreceivers: [{name: a}]\ninhibit_rules: [{source_match: {a: b}}]": `the rule needs "source_matchers" and "target_matchers"`,
		`{"route":{"receiver":"a","group_by":["...","b"]},"receivers":[{"name":"a"}]}`:          "it is all of them, or some",
	} {
		_, err := notifyfile.Parse([]byte(text))
		require.ErrorIs(t, err, notifyfile.ErrFile, text)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestMistakesOfTimeIntervals(t *testing.T) {
	const head = "route: {receiver: a}\nreceivers: [{name: a}]\n"
	for text, want := range map[string]string{
		"time_intervals: {}":                                 "/time_intervals: must be an array",
		"time_intervals:\n  - {name: x}":                     `line 4, column 5: /time_intervals/0: "name" and "time_intervals" must be there`,
		"time_intervals: [{name: x, time_intervals: []}]":    "give one at least",
		"time_intervals: [{name: '', time_intervals: [{}]}]": "a name of its own",
		"time_intervals: [{name: x, time_intervals: [{}]}]\nmute_time_intervals: [{name: x, time_intervals: [{}]}]": `line 4, column 24: /mute_time_intervals/0/name: "x" is empty or another`,
		interval("times: []"):                                         "it is empty: give a range",
		interval("weekdays: []"):                                      "it is empty: give a range",
		interval("time: []"):                                          "there is no such field; known here: times, weekdays",
		interval("times: [{start_time: '09:00'}]"):                    `"start_time" and "end_time" must be there`,
		interval("times: [{start_time: '9:00', end_time: '10:00'}]"):  `start_time: "9:00" is no time of day`,
		interval("times: [{start_time: '09:00', end_time: '24:01'}]"): `end_time: "24:01" is no time of day`,
		interval("times: [{start_time: '17:00', end_time: '09:00'}]"): "/times/0: the time 17:00-09:00 is none",
		interval("weekdays: ['monday', 'funday']"):                    `/weekdays/1: "funday" is none of the weekdays: write one such as`,
		interval("weekdays: ['saturday:monday']"):                     "/weekdays/0: the weekday range 6:1 is none",
		interval("weekdays: ['monday:tuesday:friday']"):               "is none of the weekdays",
		interval("weekdays: [true]"):                                  "must be a string, not true or false",
		interval("days_of_month: [0]"):                                "the day of the month 0 is none",
		interval("days_of_month: ['-1:1']"):                           "count both from the end",
		interval("months: ['13']"):                                    "the month range 13:13 is none",
		interval("months: ['smarch']"):                                "is none of the months",
		interval("years: [':2020']"):                                  "is none of the years",
		interval("years: [99999999999999999999]"):                     "is none of the years",
		interval("location: Mars/Olympus"):                            `write a name such as "Europe/Berlin"`,
		interval("location: ../../etc/passwd"):                        `write a name such as "Europe/Berlin"`,
	} {
		_, err := notifyfile.Parse([]byte(head + text))
		require.ErrorIs(t, err, notifyfile.ErrFile, text)
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "\n")
	}
	for text, want := range map[string]string{
		"route: {receiver: a, mute_time_intervals: [x]}\nreceivers: [{name: a}]":                  "the root route is for all times",
		"route: {receiver: a, routes: [{active_time_intervals: [x]}]}\nreceivers: [{name: a}]":    `there is no time interval "x"`,
		"route: {receiver: a, routes: [{active_time_intervals: x}]}\nreceivers: [{name: a}]":      "active_time_intervals: must be an array",
		"route: {receiver: a, routes: [{mute_time_intervals: [{a: b}]}]}\nreceivers: [{name: a}]": "mute_time_intervals/0: must be a string",
	} {
		_, err := notifyfile.Parse([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
}

// interval is a file's part with one time interval that has one field.
func interval(field string) string {
	return "time_intervals: [{name: x, time_intervals: [{" + field + "}]}]"
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
