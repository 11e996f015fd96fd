package rulesfile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/rulesfile"
	"github.com/rossby-streams/rossby/schemas"
)

type sample struct {
	Host  string    `json:"host"`
	Name  string    `json:"name"`
	Value float64   `json:"value"`
	Unit  string    `json:"unit,omitempty"`
	Time  time.Time `json:"time"`
}

type line struct {
	Severity string `json:"severity"`
	App      string `json:"app"`
	Text     string `json:"message"`
}

type incident struct {
	Sample sample  `json:"metric"`
	Lines  []line  `json:"logs"`
	Secret string  `json:"-"`
	Tries  int     `json:"tries"`
	Near   *sample `json:"near"`
}

func model(t testing.TB) rulesfile.Model[incident] {
	t.Helper()
	metric, err := schemas.Builtin("metric")
	require.NoError(t, err)
	syslog, err := schemas.Builtin("syslog")
	require.NoError(t, err)
	return rulesfile.Model[incident]{
		Series: func(i incident) string { return i.Sample.Name }, Value: func(i incident) float64 { return i.Sample.Value },
		Schemas: map[string]*schemas.Schema{"metric": metric, "logs": syslog},
		Context: func(i incident, c rulesfile.Context) any {
			return map[string]int{"total": len(i.Lines), "shown": c.MaxLines}
		},
	}
}

func parse(t testing.TB, text string) *rulesfile.File[incident] {
	t.Helper()
	f, err := rulesfile.Parse([]byte(text), model(t))
	require.NoError(t, err)
	return f
}

func at(value float64, lines ...line) incident {
	return incident{Sample: sample{Host: "web1", Name: "cpu", Value: value, Unit: "%"}, Lines: lines}
}

func TestExpressionsMeanWhatTheySay(t *testing.T) {
	bad, good := line{Severity: "err", App: "kernel", Text: "disk failure"}, line{Severity: "info", App: "cron", Text: "ok"}
	for text, want := range map[string]bool{
		`metric.value > 80`:                                        true,
		`metric.value > 80 && metric.unit == "%"`:                  true,
		`metric.host startsWith "web" and metric.name == "cpu"`:    true,
		`count(logs, .severity == "err") >= 2`:                     true,
		`count(logs, .severity in ["err", "crit"]) >= 3`:           false,
		`any(logs, .message contains "disk" && .app == "kernel")`:  true,
		`any(logs, .message matches "^disk [a-z]+$")`:              true,
		`all(logs, .severity == "err")`:                            false,
		`none(logs, .severity == "crit")`:                          true,
		`len(logs) == 3 && metric.value / len(logs) > 30`:          true,
		`sum(logs, len(.message)) > 20`:                            true,
		`metric.value > 95 ? true : len(logs) > 2`:                 true,
		`lower(logs[0].severity) == "err"`:                         true,
		`tries == 0 || not (metric.value < 1)`:                     true,
		`abs(metric.value - 91.5) < 0.1 && max(1, 2) == 2`:         true,
		`metric.unit != "" && !(metric.unit endsWith "s")`:         true,
		`first(logs).app == "kernel" and last(logs).app == "cron"`: true,
	} {
		f := parse(t, `{"rules":[{"name":"A","metric":"cpu","if":`+quote(text)+`}]}`)
		got, err := f.Rules[0].Levels[0].If(at(91.5, bad, bad, good))
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

func quote(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }

func TestAMistakeInAnExpressionHasItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		`metric.valeu > 80`:                          `line 2, column 26: /rules/0/if: the expression, line 1, column 8: unknown field valeu`,
		`metirc.value > 80`:                          `line 2, column 19: /rules/0/if: the expression, line 1, column 1: unknown name metirc`,
		`metric.value > '80'`:                        `line 2, column 32: /rules/0/if: the expression, line 1, column 14: invalid operation: > (mismatched types float64 and string)`,
		`metric.value`:                               `expected bool, but got float64`,
		`count(logs, .sevirity == 'err') > 1`:        `column 14: unknown field sevirity`,
		`metric.value > `:                            `unexpected token EOF`,
		`metric.value > 80 &&& true`:                 `unexpected token`,
		`Sample.Value > 1`:                           `unknown name Sample`,
		`secret == 'x'`:                              `unknown name secret`,
		`logs.severity == 'err'`:                     `array elements can only be selected using an integer`,
		`metric.time.Year() > 3`:                     `cannot be called`,
		`count(logs, count(logs, true) > 0) > 0`:     `a predicate within a predicate is not for rules`,
		`let x = 1; x > 0`:                           `let is not for rules`,
		`len(1..1000000) > 0`:                        `a range of numbers is not for rules`,
		`any(logs, .message matches .app)`:           `the pattern of matches must be a text in quotes`,
		`any(logs, .message matches '(')`:            `missing closing )`,
		`any(logs, .message matches '(x{100}){10}')`: `the pattern is too large`,
		`now().Year() > 1`:                           `now cannot be called`,
		`$env['metric'] != nil`:                      `$env is not for rules`,
		`repeat('x', 1000000) == ''`:                 `repeat cannot be called`,
		`toJSON(logs) == ''`:                         `toJSON cannot be called`,
	} {
		_, err := rulesfile.Parse([]byte("{\"rules\":[\n{\"name\":\"A\",\"if\":"+quote(text)+"}]}"), model(t))
		require.ErrorContains(t, err, want, text)
		require.ErrorIs(t, err, rulesfile.ErrRules)
		require.NotContains(t, err.Error(), "\n")
	}
	_, err := rulesfile.Parse([]byte("rules:\n- name: A\n  if: |\n    metric.value > 1 &&\n      metric.valeu > 2\n"), model(t))
	require.EqualError(t, err, "line 3, column 3: /rules/0/if: the expression, line 2, column 10: unknown field valeu")
	_, err = rulesfile.Parse([]byte("rules:\n- name: A\n  if: metric.valeu > 2\n"), model(t))
	require.EqualError(t, err, "line 3, column 14: /rules/0/if: the expression, line 1, column 8: unknown field valeu")
}

func TestLargeExpressionsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("(", 2000) + "true" + strings.Repeat(")", 2000): "",
		strings.Repeat("!", 1000) + "true":                             "",
		"true" + strings.Repeat(" || true", 500):                       "",
		strings.Repeat("x", 5000):                                      "at most 4096 are taken",
		"true" + strings.Repeat(" && any(logs, true)", 9):              "more than 8 times",
	} {
		_, err := rulesfile.Parse([]byte(`{"rules":[{"name":"A","if":`+quote(text)+`}]}`), model(t))
		if want == "" && err == nil {
			continue // short after all
		}
		require.ErrorContains(t, err, want)
	}
}

// TestAFailingExpressionIsAnOutcome: not a panic, and not false.
func TestAFailingExpressionIsAnOutcome(t *testing.T) {
	f := parse(t, `{"rules":[{"name":"A","if":"logs[3].app == 'x'"},{"name":"B","value":"near.value + 1","above":1},{"name":"C","if":"tries % tries == 1"}]}`)
	for _, i := range []int{0, 2} {
		_, err := f.Rules[i].Levels[0].If(at(1))
		var failed *rulesfile.EvaluationError
		require.ErrorAs(t, err, &failed)
	}
	require.True(t, isNaN(f.Rules[1].Value(at(1))))
	near := at(1)
	near.Near = &sample{Value: 4}
	require.Equal(t, 5.0, f.Rules[1].Value(near))
}

func isNaN(v float64) bool { return v != v }

// TestYAMLAndJSONMeanTheSame compares everything but functions.
func TestYAMLAndJSONMeanTheSame(t *testing.T) {
	asJSON := parse(t, `{"rules":[
		{"name":"A","metric":"cpu","above":80,"clear":70,"for":"2m","keep_firing_for":"1m","max_duration":"1h","severity":"critical","labels":{"team":"ops"},
		 "annotations":{"summary":"{{.Key}} is at {{.Value}}"},"no_data":"own","on_error":"alert","flap":{"high":50},"context":{"within":"90s","max_lines":3}},
		{"name":"B","metric":"cpu","over":{"fn":"quantile","quantile":0.95,"window":"5m"},"levels":[{"severity":"warning","above":80,"clear":70},{"severity":"critical","above":90,"if":"len(logs) > 2"}]},
		{"name":"C","metric":"errors","per":"requests","above":0.05,"every":"30s","lookback":"2m"},
		{"name":"D","metric":"cpu","absent_for":"5m","severity":"critical"},
		{"name":"E","metric":"cpu","over":{"fn":"seasonal","season":"24h","step":"5m","min_deviation":1},"above":3}]}`)
	asYAML := parse(t, `
# what wakes people
rules:
  - name: A
    metric: cpu
    above: 80
    clear: 70
    for: 2m
    keep_firing_for: 1m
    max_duration: 1h
    severity: critical
    labels: {team: ops}
    annotations:
      summary: "{{.Key}} is at {{.Value}}"
    no_data: own
    on_error: alert
    flap: {high: 50}
    context: {within: 90s, max_lines: 3}
  - name: B
    metric: cpu
    over: {fn: quantile, quantile: 0.95, window: 5m}
    levels:
      - {severity: warning, above: 80, clear: 70}
      - {severity: critical, above: 90, if: len(logs) > 2}
  - {name: C, metric: errors, per: requests, above: 0.05, every: 30s, lookback: 2m}
  - {name: D, metric: cpu, absent_for: 5m, severity: critical}
  - name: E
    metric: cpu
    over: {fn: seasonal, season: 24h, step: 5m, min_deviation: 1}
    above: 3
`)
	require.Equal(t, asJSON.Series, asYAML.Series)
	require.Equal(t, []string{"cpu", "errors", "requests"}, asJSON.Series)
	require.Equal(t, 90*time.Second, asJSON.Within)
	require.False(t, asJSON.All)
	for i, j := range asJSON.Rules {
		y := asYAML.Rules[i]
		for _, r := range []*alerting.Rule[incident]{&j, &y} {
			r.Select, r.Value, r.Context, r.Combine, r.Series = nil, nil, nil, nil, nil
			for l := range r.Levels {
				r.Levels[l].If = nil
			}
		}
		require.Equal(t, j, y)
	}
	a, b, d := asJSON.Rules[0], asJSON.Rules[1], asJSON.Rules[3]
	require.Equal(t, alerting.Above(80).ClearAt(70), a.Levels[0].When)
	require.Equal(t, []time.Duration{2 * time.Minute, time.Minute, time.Hour}, []time.Duration{a.For, a.KeepFiringFor, a.MaxDuration})
	require.Equal(t, alerting.Flap{High: 50, Low: 20}, a.Flap)
	require.Equal(t, []alerting.Policy{alerting.OwnAlarm, alerting.AsBreach}, []alerting.Policy{a.OnNoData, a.OnError})
	require.Equal(t, alerting.Quantile(0.95, 5*time.Minute), b.Over)
	require.Equal(t, "critical", b.Levels[1].Severity)
	require.Equal(t, 5*time.Minute, d.Lookback)
	require.True(t, a.Select(at(1)))
	require.Equal(t, map[string]int{"total": 0, "shown": 3}, a.Context(at(1)))
}

func TestMistakesSayWhatToDo(t *testing.T) {
	for text, want := range map[string]string{
		"rules:\n- name: A\n  metric: m\n  abve: 3\n":            `line 4, column 3: /rules/0/abve: there is no such field; known here: name, metric, above`,
		"rules:\n- name: A\n  metric: m\n  above: 3\n  above: 4": `line 5, column 3: /rules/0/above: the field is given twice: keep one`,
		"rules: [":                     `this is not YAML (nor JSON, which begins with {): `,
		"rules:\n- &a {name: A}\n- *a": `line 2, column 3: /rules/0: anchors and aliases are not read`,
		"rules:\n- name: A\n  metric: m\n  above: 0x10": `/rules/0/above: 0x10 is no plain number`,
		"rules:\n- name: A\n  metric: m\n  above: .inf": `/rules/0/above: .inf is no plain number`,
		"rules:\n- name: A\n  metric: m\n  above:":      `/rules/0/above: the value is null`,
		"rules:\n- name: A\n  metric: m\n  above: '80'": `/rules/0/above: must be a finite number, not a string`,
		"rules:\n- name: !!str A\n":                     `/rules/0/name: tags such as !!str are not read`,
		"a: 1\n---\nb: 2\n":                             `this is a second document`,
		"- 1":                                           `must be an object, not an array`,
		"# nothing":                                     `the file is empty`,
		`{"rules":[{"name":"A","metric":"m","above":1,"over":{"fn":"avrg","window":"5m"}}]}`:                           `column 54: /rules/0/over/fn: "avrg" is not known here: use avg, min`,
		`{"rules":[{"name":"A","metric":"m","above":1,"over":{"fn":"avg"}}]}`:                                          `there is no "window": give one such as "5m"`,
		`{"rules":[{"name":"A","metric":"m","above":1,"over":{"fn":"avg","window":"0s"}}]}`:                            `must be more than zero`,
		`{"rules":[{"name":"A","metric":"m","above":1,"over":{"fn":"avg","window":"5m","quantile":1}}]}`:               `/rules/0/over/quantile: there is no such field; known here: fn, window`,
		`{"rules":[{"name":"A","metric":"m","above":1,"over":{"fn":"quantile","window":"5m","quantile":95}}]}`:         `a quantile must be from 0 to 1`,
		`{"rules":[{"name":"A","metric":"m","above":1,"over":{"fn":"seasonal","season":"24h","step":"7m"}}]}`:          `steps of equal length`,
		`{"rules":[{"name":"A","metric":"m","above":1,"max_duration":"1m","for":"2m"}]}`:                               `/rules/0/max_duration: it ends the alarm before it fires`,
		`{"rules":[{"name":"A","metric":"m","above":1,"flap":{"high":10}}]}`:                                           `/rules/0/flap: flapping starts at High`,
		`{"rules":[{"name":"A","metric":"m","above":1,"no_data":"maybe"}]}`:                                            `"maybe" is not known here: use alert, keep, ok, own`,
		`{"rules":[{"name":"A","metric":"m","above":1,"annotations":{"summary":"{{.Valeu}}"}}]}`:                       `/rules/0/annotations/summary: line 1, column 3: `,
		`{"rules":[{"name":"A","metric":"m","above":1,"annotations":{"summary":"{{range 9}}{{end}}"}}]}`:               `range goes over`,
		`{"rules":[{"name":"A","metric":"m","per":"m","above":1}]}`:                                                    `a ratio is that of two metrics`,
		`{"rules":[{"name":"A","metric":"m","absent_for":"5m","above":1}]}`:                                            `nothing else to judge`,
		`{"rules":[{"name":"A","metric":"m","absent_for":"0s"}]}`:                                                      `more than 0s`,
		`{"rules":[{"name":"A","metric":"m","absent_for":"5m","no_data":"ok"}]}`:                                       `use "alert" or "own"`,
		`{"rules":[{"name":"A","metric":"m","levels":[]}]}`:                                                            `1 to 8 levels`,
		`{"rules":[{"name":"A","metric":"m","levels":[{"above":1}]}]}`:                                                 `/rules/0/levels/0/severity: a level needs one`,
		`{"rules":[{"name":"A","metric":"m","above":1,"levels":[{"severity":"info","above":1}]}]}`:                     `"levels" say it: put "above" into each of them`,
		`{"rules":[{"name":"A","metric":"m","levels":[{"severity":"info","above":1},{"severity":"info","above":2}]}]}`: `has two levels`,
		`{"rules":[{"name":"A","metric":"m","clear":1,"if":"true"}]}`:                                                  `there is no threshold to clear`,
		`{"rules":[{"name":"A","metric":"m","above":2,"clear":1,"until":"true"}]}`:                                     `both say when it is over`,
		`[[]]`:                                `must be an object`,
		`{"rules":` + strings.Repeat(`[`, 50): `nested more than 10 levels deep`,
		strings.Repeat(" ", 2<<20):            `at most 1 MiB is read`,
	} {
		_, err := rulesfile.Parse([]byte(text), model(t))
		require.ErrorContains(t, err, want, text[:min(len(text), 200)])
		require.ErrorIs(t, err, rulesfile.ErrRules)
		require.NotContains(t, err.Error(), "\n")
	}
	_, err := rulesfile.Parse([]byte("{}"), rulesfile.Model[incident]{})
	require.ErrorContains(t, err, "needs Series and Value")
}

func FuzzParse(f *testing.F) {
	m := model(f)
	f.Add([]byte(`{"rules":[{"name":"A","metric":"cpu","above":80,"if":"count(logs, .severity == 'err') > 1","annotations":{"a":"{{.Value}}"}}]}`))
	f.Add([]byte("rules:\n- name: A\n  if: metric.value > 3 and len(logs) > 1\n  over: {fn: avg, window: 5m}\n"))
	f.Add([]byte("rules: [{name: A, value: 'sum(logs, len(.message))', above: 3}]"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := rulesfile.Parse(data, m)
		if err != nil {
			var detail *rulesfile.Error
			require.ErrorAs(t, err, &detail)
			require.GreaterOrEqual(t, detail.Line, 1)
			require.GreaterOrEqual(t, detail.Column, 1)
			require.NotContains(t, err.Error(), "\n")
			return
		}
		for _, r := range file.Rules {
			require.NoError(t, r.Validate())
			i := at(91.5, line{Severity: "err"}, line{Text: "x"})
			if r.Value != nil {
				r.Value(i)
			}
			for _, l := range r.Levels {
				if l.If != nil {
					_, _ = l.If(i)
				}
			}
		}
	})
}
