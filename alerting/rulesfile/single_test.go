package rulesfile_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/rulesfile"
)

func TestOneRule(t *testing.T) {
	m := model(t)
	m.MaxWithin = time.Minute
	l, err := rulesfile.ParseRule("HighCPU", `{"metric":"cpu","above":80,"for":"2m","from":"2026-01-31T12:00:00Z"}`, m)
	require.NoError(t, err)
	require.Equal(t, "HighCPU", l.Rule.Name)
	require.Equal(t, 2*time.Minute, l.Rule.For)
	require.Equal(t, []string{"cpu"}, l.Series)
	require.Equal(t, time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), l.From)

	basis := func(text string) string {
		l, err := rulesfile.ParseRule("R", text, m)
		require.NoError(t, err, text)
		return l.Basis
	}
	same := basis(`{"metric":"cpu","above":80}`)
	for _, text := range []string{
		`{"above":70,"metric":"cpu","clear":60,"for":"1m","severity":"critical","name":"R"}`, "metric: cpu\nif: metric.value > 3\nannotations: {a: b}",
		`{"metric":"cpu","levels":[{"severity":"info","above":1}],"keep_firing_for":"1m","from":"2026-01-31T12:00:00Z"}`,
	} {
		require.Equal(t, same, basis(text), text)
	}
	for _, text := range []string{
		`{"metric":"mem","above":80}`, `{"metric":"cpu","above":80,"labels":{"a":"b"}}`, `{"metric":"cpu","above":80,"over":{"fn":"avg","window":"1m"}}`,
		`{"metric":"cpu","above":80,"every":"1m"}`, `{"metric":"cpu","above":80,"value":"metric.value * 2"}`, `{"metric":"cpu","absent_for":"1m"}`,
	} {
		require.NotEqual(t, same, basis(text), text)
	}

	for text, want := range map[string]string{
		`{"metric":"cpu"}`:                                          "the rule has no threshold",
		`{"name":"Other","metric":"cpu","above":80}`:                `the rule is kept as "R"`,
		`{"metric":"cpu","above":80,"from":"soon"}`:                 `"soon" is no time`,
		`{"metric":"cpu","above":80,"from":"2999-01-01T00:00:00Z"}`: "it is too far ahead",
		`{"metric":"cpu","above":80,"context":{"within":"2m"}}`:     "lines within 2m0s are asked for: there are those within 1m0s",
		`{"metric":"cpu","if":"metric.valeu > 3"}`:                  "line 1, column",
		`[]`: "must be an object",
		``:   "it must hold a rule",
	} {
		_, err := rulesfile.ParseRule("R", text, m)
		var e *rulesfile.Error
		require.ErrorAs(t, err, &e, text)
		require.ErrorContains(t, err, want)
	}
}

func FuzzParseRule(f *testing.F) {
	f.Add("R", `{"metric":"cpu","above":80,"from":"2026-01-31T12:00:00Z"}`)
	f.Add("A", "metric: cpu\nif: len(logs) > 3")
	m := model(f)
	f.Fuzz(func(t *testing.T, name, text string) {
		l, err := rulesfile.ParseRule(name, text, m)
		if err == nil {
			require.Equal(t, name, l.Rule.Name)
			require.NoError(t, l.Rule.Validate())
		}
	})
}
