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
receivers:
  - name: ops
  - {name: pager, send_resolved: false}
inhibit_rules:
  - {source_matchers: ['alertname="Down"'], target_match: {severity: warning}, equal: [key]}
key_label: host
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
