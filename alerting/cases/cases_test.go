package cases_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/cases"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseValues(t *testing.T) {
	v := func(n float64) cases.Value { return cases.Value{Number: n} }
	none, stale := cases.Value{Missing: true}, cases.Value{Stale: true}
	for text, want := range map[string][]cases.Value{
		"":                nil,
		"75 85 _ 95":      {v(75), v(85), none, v(95)},
		"1+2x3":           {v(1), v(3), v(5), v(7)},
		"1-2x2 -1-1.5x1":  {v(1), v(-1), v(-3), v(-1), v(-2.5)},
		"1e-3+1e-3x1":     {v(0.001), v(0.002)},
		"7x2 _x3 stale 8": {v(7), v(7), v(7), none, none, none, stale, v(8)},
	} {
		got, err := cases.ParseValues(text)
		require.NoError(t, err, text)
		require.Len(t, got, len(want), text)
		for i := range want {
			require.InDelta(t, want[i].Number, got[i].Number, 1e-12)
			require.Equal(t, []bool{want[i].Missing, want[i].Stale}, []bool{got[i].Missing, got[i].Stale})
		}
	}
	for _, text := range []string{"a", "1x", "1x-1", "NaN", "1+x3", "x3", "1x999999999", "_x", "1+2", "99999x99999 1x99999"} {
		_, err := cases.ParseValues(text)
		require.Error(t, err, text)
	}
}

const text = `{"cases":[{"name":"c","start":"2026-03-01T00:00:00Z","interval":"30s",
 "input":[{"metric":"m","key":"a","labels":{"x":"1"},"values":"1 _ 3"},{"metric":"n","key":"a","interval":"1m","values":"7x1"}],
 "logs":[{"at":"30s","key":"a","severity":"err","message":"x","times":2,"every":"30s"}],
 "expect":[{"at":"1m","alarms":[{"rule":"R","key":"a","labels":{"x":"1"},"value":3,"since":"30s","annotations":{"s":"t"},"context":{"total":2,"by":{"err":1}}}]},
  {"at":"2m"}]}]}`

func TestInputsAreInTheOrderOfTime(t *testing.T) {
	list, err := cases.Parse([]byte(text))
	require.NoError(t, err)
	c := list[0]
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var said []string
	for _, in := range c.Inputs() {
		what := in.Metric
		if in.Log != nil {
			what = "log " + in.Log.Severity
		}
		said = append(said, in.At.Sub(start).String()+" "+what)
	}
	require.Equal(t, []string{"0s m", "0s n", "30s log err", "1m0s log err", "1m0s m", "1m0s n"}, said)
	require.Equal(t, start.Add(2*time.Minute), c.End())
}

func TestVerify(t *testing.T) {
	list, err := cases.Parse([]byte(text))
	require.NoError(t, err)
	c := list[0]
	at := func(seconds int) time.Time { return c.Start.Add(time.Duration(seconds) * time.Second) }
	firing := alerting.Alarm{
		Rule: "R", Key: "a", State: alerting.Firing, Labels: map[string]string{"x": "1", "y": "2"}, Value: 3, Since: at(30), At: at(60),
		Annotations: map[string]string{"s": "t", "u": "v"}, Context: []byte(`{"total":2,"by":{"err":1},"more":[]}`),
	}
	resolved := firing
	resolved.State, resolved.At = alerting.Resolved, at(90)
	good := []alerting.Alarm{firing, resolved}
	require.NoError(t, c.Verify(good))
	require.EqualError(t, c.Verify(nil), "c: at 1m0s (line 4): no alarm R of a")
	require.EqualError(t, c.Verify(good[:1]), "c: at 2m0s (line 5): not expected: alarm R of a, firing, value 3, since 30s")
	wrong := firing
	wrong.Value, wrong.Since, wrong.State = 4, at(0), alerting.Pending
	wrong.Annotations, wrong.Context = nil, []byte(`{"total":1}`)
	require.EqualError(t, c.Verify([]alerting.Alarm{wrong, resolved}),
		"c: at 1m0s (line 4): alarm R of a: state: want firing, got pending, value: want 3, got 4, since: want 30s, got 0s, "+
			"annotation s: want t, got , context by: want map[err:1], got <nil>, context total: want 2, got 1")
	stranger := alerting.Alarm{Rule: "S", Key: "b", State: alerting.Pending, At: at(0)}
	require.NoError(t, c.Verify(append(good, stranger)), "a pending alarm may have vanished")
}

func TestMistakesHaveTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                    `must hold 1 to 1000 cases`,
		"cases:\n- input: []\n": `line 2, column 3: /cases/0: there is no "name"`,
		"cases:\n- name: a\n":   `the case expects nothing`,
		"cases:\n- name: a\n  input: [{metric: m, key: k, values: 1 2 three}]\n":        `line 3, column 31: /cases/0/input/0/values: "three": it is no value`,
		"cases:\n- name: a\n  input: [{metric: m, values: 1}]\n":                        `a series needs`,
		"cases:\n- name: a\n  logs: [{at: 1s}]\n":                                       `a log line needs`,
		"cases:\n- name: a\n  logs: [{at: 1s, key: k, times: 0}]\n":                     `must be from 1 to`,
		"cases:\n- name: a\n  expect: [{at: 1m, alarms: [{rule: R, key: k, stat: x}]}]": `there is no such field; known here: rule, key, state`,
		"cases:\n- name: a\n  expect: [{at: 1m, alarms: [{rule: R}]}]":                  `an alarm needs`,
		"cases:\n- name: a\n  expect: [{alarms: []}]":                                   `there is no "at"`,
		"cases:\n- name: a\n  interval: 0s\n":                                           `must be more than 0s`,
	} {
		_, err := cases.Parse([]byte(text))
		require.ErrorContains(t, err, want, text)
		var at *cases.Error
		require.ErrorAs(t, err, &at)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(text))
	f.Add([]byte("cases:\n- name: a\n  input: [{metric: m, key: k, values: 1+1x5 _ stale}]\n  expect: [{at: 1m}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := cases.Parse(data)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		for _, c := range list {
			require.NotEmpty(t, c.Expect)
			_ = c.Verify(nil)
			if len(c.Series)+len(c.Logs) < 10 {
				c.Inputs()
			}
		}
	})
}
