package health

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/rulesfile"
	"github.com/rossby-streams/rossby/schemas"
)

// parse reads rules with the built-in schemas.
func parse(t testing.TB, text []byte) (*Rules, error) {
	t.Helper()
	metric, err := schemas.Builtin("metric")
	require.NoError(t, err)
	syslog, err := schemas.Builtin("syslog")
	require.NoError(t, err)
	return ParseRules(text, metric, syslog)
}

func TestParseRulesFillsInDefaults(t *testing.T) {
	rules, err := parse(t, []byte(`{"$schema":"https://rossby.dev/schemas/rules.json","rules":[
		{"name":"HighCPU","metric":"cpu_percent","above":80,"clear":70,"for":"2m","severity":"critical",
		 "labels":{"team":"ops"},"context":{"within":"90s","max_lines":0}},
		{"name":"LowDisk","metric":"free","below":-1.5},
		{"name":"Zero","metric":"m","above":0,"for":"0s","context":{}}
	]}`))
	require.NoError(t, err)
	require.Equal(t, 90*time.Second, rules.Within)
	require.Equal(t, []string{"cpu_percent", "free", "m"}, rules.Series)
	high, low, zero := rules.Rules[0], rules.Rules[1], rules.Rules[2]
	require.Equal(t, []alerting.Level[Incident]{{Severity: "critical", When: alerting.Above(80).ClearAt(70)}}, high.Levels)
	require.Equal(t, map[string]string{"team": "ops"}, high.Labels)
	require.Equal(t, 2*time.Minute, high.For)
	require.Equal(t, []alerting.Level[Incident]{{Severity: "warning", When: alerting.Below(-1.5)}}, low.Levels)
	require.Equal(t, []alerting.Level[Incident]{{Severity: "warning", When: alerting.Above(0)}}, zero.Levels)

	incident := Incident{Sample: Metric{Name: "cpu_percent", Value: 93, Time: at(0)}, Lines: []Syslog{logged(-70, "err", "far"), logged(1, "err", "near")}}
	require.True(t, high.Select(incident))
	require.False(t, low.Select(incident))
	require.Equal(t, 93.0, high.Value(incident))
	require.Equal(t, Summarise(incident.Lines, at(0), 90*time.Second, 0), high.Context(incident))
	require.Equal(t, Summarise(incident.Lines, at(0), time.Minute, 20), low.Context(incident))
}

func TestRulesOverMetricsAndLogs(t *testing.T) {
	rules, err := parse(t, []byte(`
rules:
  - name: DiskFailing
    metric: disk_percent
    above: 50
    if: count(logs, .severity in ["err", "crit"] and .message contains "disk") >= 2
`))
	require.NoError(t, err)
	level := rules.Rules[0].Levels[0]
	holds, err := level.If(Incident{Lines: []Syslog{logged(1, "err", "disk 1"), logged(2, "crit", "disk 2"), logged(3, "info", "disk 3")}})
	require.NoError(t, err)
	require.True(t, holds)
	_, err = parse(t, []byte(`{"rules":[{"name":"A","if":"count(logs, .mesage == '') > 0"}]}`))
	require.EqualError(t, err, "line 1, column 42: /rules/0/if: the expression, line 1, column 14: unknown field mesage")
}

func TestDefaultRules(t *testing.T) {
	rules, err := parse(t, DefaultRules())
	require.NoError(t, err)
	first := rules.Rules[0]
	require.Equal(t, "HighCPU", first.Name)
	require.Equal(t, alerting.Above(80).ClearAt(70), first.Levels[0].When)
	require.Equal(t, 2*time.Minute, first.For)
	require.Equal(t, "critical", first.Levels[0].Severity)

	text := DefaultRules()
	text[0] = 'x'
	require.NotEqual(t, text, DefaultRules(), "callers share the built-in rules")
}

// TestParseRulesSaysWhereAndWhy holds the whole text of each error: it is what a user sees.
func TestParseRulesSaysWhereAndWhy(t *testing.T) {
	rule := func(fields string) string {
		return `{"rules":[` + "\n" + `  {"name":"A","metric":"m",` + fields + `}` + "\n]}"
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":        {" \n", `line 1, column 1: the file is empty: it must hold {"rules":[...]}`},
		"cut":          {`{"rules":[` + "\n" + `{"name":"A"`, `line 2, column 12: this is not JSON: the file ends too early`},
		"no JSON":      {"rules:\n - name: A", `line 2, column 4: /rules/0/metric: the rule watches nothing: give the name of a metric, such as "cpu_percent"`},
		"comma":        {"{\"rules\":[]\n \"x\":1}", `line 2, column 2: this is not JSON: invalid character '"' after object value (expecting ',' or '}')`},
		"trailing":     {`{"rules":[]} {}`, `line 1, column 14: this is not JSON: invalid character '{' after top-level value`},
		"array":        {`[]`, `line 1, column 1: must be an object, not an array`},
		"no rules":     {`{}`, `line 1, column 1: /rules: the file holds no rule: give at least one in "rules"`},
		"none":         {`{"rules":[]}`, `line 1, column 2: /rules: the file holds no rule: give at least one in "rules"`},
		"rules object": {`{"rules":{}}`, `line 1, column 2: /rules: must be an array of rules, not an object`},
		"typo":         {rule(`"abve":1`), `line 2, column 28: /rules/0/abve: there is no such field; known here: name, metric, above, below, clear, for, severity, labels, context, keep_firing_for, max_duration, every, lookback, no_data, on_error, flap, annotations, over, per, value, if, until, levels, absent_for`},
		"typo above":   {`{"rule":[]}`, `line 1, column 2: /rule: there is no such field; known here: rules, $schema`},
		"typo below":   {rule(`"above":1,"context":{"lines":2}`), `line 2, column 49: /rules/0/context/lines: there is no such field; known here: within, max_lines`},
		"twice":        {rule(`"above":1,"above":2`), `line 2, column 38: /rules/0/above: the field is given twice: keep one`},
		"text number":  {rule(`"above":"80"`), `line 2, column 28: /rules/0/above: must be a finite number, not a string`},
		"huge number":  {rule(`"above":1e999`), `line 2, column 28: /rules/0/above: must be a finite number, not such a number`},
		"null":         {rule(`"above":null`), `line 2, column 28: /rules/0/above: the value is null: give a value or leave the field out`},
		"threshold":    {rule(`"for":"1s"`), `line 2, column 3: /rules/0: the rule has no threshold: give "above" or "below"`},
		"both":         {rule(`"above":1,"below":2`), `line 2, column 38: /rules/0/below: the rule has both "above" and "below": make it two rules`},
		"clear above":  {rule(`"above":80,"clear":90`), `line 2, column 39: /rules/0/clear: 90 must not be above the threshold: "above" is 80`},
		"clear below":  {rule(`"below":5,"clear":4.5`), `line 2, column 38: /rules/0/clear: 4.5 must not be below the threshold: "below" is 5`},
		"duration":     {rule(`"above":1,"for":"2 minutes"`), `line 2, column 38: /rules/0/for: "2 minutes" is no duration: write one such as "90s", "2m" or "1h30m"`},
		"seconds":      {rule(`"above":1,"for":120`), `line 2, column 38: /rules/0/for: must be a string, not such a number`},
		"negative":     {rule(`"above":1,"for":"-2m"`), `line 2, column 38: /rules/0/for: "-2m" is negative: a duration starts at "0s"`},
		"within":       {rule(`"above":1,"context":{"within":"-1s"}`), `line 2, column 49: /rules/0/context/within: "-1s" is negative: a duration starts at "0s"`},
		"lines":        {rule(`"above":1,"context":{"max_lines":1001}`), `line 2, column 49: /rules/0/context/max_lines: 1001 is out of range: an alarm shows 0 to 1000 lines`},
		"half line":    {rule(`"above":1,"context":{"max_lines":1.5}`), `line 2, column 49: /rules/0/context/max_lines: must be a whole number, not such a number`},
		"severity":     {rule(`"above":1,"severity":"page"`), `line 2, column 38: /rules/0/severity: "page" is no severity: use "info", "warning" or "critical"`},
		"label":        {rule(`"above":1,"labels":{"a":1}`), `line 2, column 48: /rules/0/labels/a: must be a string, not such a number`},
		"signed":       {rule(`"above":1,"for":"+2m"`), `line 2, column 38: /rules/0/for: "+2m" is no duration: write one such as "90s", "2m" or "1h30m"`},
		"name":         {`{"rules":[{"name":"High CPU","metric":"m","above":1}]}`, `line 1, column 12: /rules/0/name: "High CPU" is no rule name: use 1 to 100 letters, digits, '-' and '_'`},
		"no name":      {`{"rules":[{"metric":"m","above":1}]}`, `line 1, column 11: /rules/0/name: "" is no rule name: use 1 to 100 letters, digits, '-' and '_'`},
		"metric":       {`{"rules":[{"name":"A","metric":"","above":1}]}`, `line 1, column 23: /rules/0/metric: the rule watches nothing: give the name of a metric, such as "cpu_percent"`},
		"same name": {`{"rules":[{"name":"A","metric":"m","above":1},` + "\n" + `{"name":"A","metric":"n","below":1}]}`,
			`line 2, column 2: /rules/1/name: rule 0 is already called "A": choose another name`},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := parse(t, []byte(c.text))
			require.Nil(t, rules)
			require.ErrorIs(t, err, rulesfile.ErrRules)
			require.EqualError(t, err, c.want)
		})
	}
}

func TestTheBuiltInSchemaTakesTheDefaultRules(t *testing.T) {
	schema, err := schemas.Builtin("rules")
	require.NoError(t, err)
	require.NoError(t, schema.Validate(DefaultRules()))
}
