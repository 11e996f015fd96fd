package health

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseRulesFillsInDefaults(t *testing.T) {
	rules, err := ParseRules([]byte(`{"$schema":"https://rossby.dev/schemas/rules.json","rules":[
		{"name":"HighCPU","metric":"cpu_percent","above":80,"clear":70,"for":"2m","severity":"critical",
		 "labels":{"team":"ops"},"context":{"within":"90s","max_lines":0}},
		{"name":"LowDisk","metric":"free","below":-1.5},
		{"name":"Zero","metric":"m","above":0,"for":"0s","context":{}}
	]}`))
	require.NoError(t, err)
	require.Equal(t, []Rule{
		{Name: "HighCPU", Metric: "cpu_percent", Above: new(80.0), Clear: new(70.0), For: 2 * time.Minute,
			Severity: "critical", Labels: map[string]string{"team": "ops"}, Within: 90 * time.Second},
		{Name: "LowDisk", Metric: "free", Below: new(-1.5), Clear: new(-1.5), Severity: "warning", Within: time.Minute, MaxLines: 20},
		{Name: "Zero", Metric: "m", Above: new(0.0), Clear: new(0.0), Severity: "warning", Within: time.Minute, MaxLines: 20},
	}, rules)
	require.NotSame(t, rules[1].Below, rules[1].Clear)
}

func TestDefaultRules(t *testing.T) {
	rules, err := ParseRules(DefaultRules())
	require.NoError(t, err)
	require.Equal(t, "HighCPU", rules[0].Name)
	require.Equal(t, 80.0, *rules[0].Above)
	require.Equal(t, 70.0, *rules[0].Clear)
	require.Equal(t, 2*time.Minute, rules[0].For)
	require.Equal(t, "critical", rules[0].Severity)

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
		"no JSON":      {"rules:\n - name: A", `line 1, column 1: this is not JSON: invalid character 'r' at start of value`},
		"comma":        {"{\"rules\":[]\n \"x\":1}", `line 2, column 2: this is not JSON: invalid character '"' after object value (expecting ',' or '}')`},
		"trailing":     {`{"rules":[]} {}`, `line 1, column 14: this is not JSON: invalid character '{' after top-level value`},
		"array":        {`[]`, `line 1, column 1: must be an object, not an array`},
		"no rules":     {`{}`, `line 1, column 1: /rules: the file holds no rule: give at least one in "rules"`},
		"none":         {`{"rules":[]}`, `line 1, column 2: /rules: the file holds no rule: give at least one in "rules"`},
		"rules object": {`{"rules":{}}`, `line 1, column 2: /rules: must be an array of rules, not an object`},
		"typo":         {rule(`"abve":1`), `line 2, column 28: /rules/0/abve: there is no such field; known here: name, metric, above, below, clear, for, severity, labels, context`},
		"typo above":   {`{"rule":[]}`, `line 1, column 2: /rule: there is no such field; known here: rules, $schema`},
		"typo below":   {rule(`"above":1,"context":{"lines":2}`), `line 2, column 49: /rules/0/context/lines: there is no such field; known here: within, max_lines`},
		"twice":        {rule(`"above":1,"above":2`), `line 2, column 28: /rules/0/above: the field is given twice: keep one`},
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
			rules, err := ParseRules([]byte(c.text))
			require.Nil(t, rules)
			require.ErrorIs(t, err, ErrRules)
			require.EqualError(t, err, c.want)
		})
	}
}

// TestNothingPassesThatTheSchemaRefuses holds against a schema that becomes stricter than the checks here.
func TestNothingPassesThatTheSchemaRefuses(t *testing.T) {
	err := checkSchema([]byte("{\"rules\":[\n{\"name\":\"A\",\"metric\":7,\"above\":1}]}"))
	require.ErrorIs(t, err, ErrRules)
	require.ErrorContains(t, err, "line 2, column 13: /rules/0/metric: ")
	require.NoError(t, checkSchema(DefaultRules()))
}

func FuzzParseRules(f *testing.F) {
	f.Add(DefaultRules())
	f.Add([]byte(`{"rules":[{"name":"A","metric":"m","above":1e999,"context":null}]}`))
	f.Add([]byte("{\"rules\":[{\"name\":\"\xff\"}]}"))
	f.Add([]byte(strings.Repeat("[", 20000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, err := ParseRules(data)
		if err != nil {
			var detail *RulesError
			require.ErrorAs(t, err, &detail)
			require.GreaterOrEqual(t, detail.Line, 1)
			require.LessOrEqual(t, detail.Line, 1+strings.Count(string(data), "\n"))
			require.GreaterOrEqual(t, detail.Column, 1)
			require.NotContains(t, err.Error(), "\n")
			return
		}
		require.NotEmpty(t, rules)
		for _, r := range rules {
			require.NotNil(t, r.Clear)
			require.True(t, (r.Above == nil) != (r.Below == nil))
			require.GreaterOrEqual(t, r.For, time.Duration(0))
			require.GreaterOrEqual(t, r.Within, time.Duration(0))
			require.True(t, r.Above == nil || *r.Clear <= *r.Above)
			require.True(t, r.Below == nil || *r.Clear >= *r.Below)
		}
	})
}
