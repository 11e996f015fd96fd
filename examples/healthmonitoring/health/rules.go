package health

import (
	_ "embed"
	"fmt"
	"regexp"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Defaults of the fields that a rule leaves out.
const (
	defaultSeverity = "warning"
	defaultWithin   = time.Minute
	defaultMaxLines = 20
)

// maxMaxLines bounds max_lines; Summarise cuts lines shorter when there are many.
const maxMaxLines = 1000

// Rule is one threshold over one metric.
type Rule struct {
	// Name identifies the rule in alarms and names its state: letters, digits, '-' and '_', unique in a file.
	Name string
	// Metric is the name of the metric watched, of any host.
	Metric string
	// Above and Below are the threshold: a value above (below) it, and not equal to it, is a breach. One of the two is set.
	Above, Below *float64
	// Clear is the level at which the alarm ends: at or below it for Above, at or above it for Below. It is always set.
	Clear *float64
	// For is how long the breach must last before the alarm fires; 0: it fires at the first breach.
	For time.Duration
	// Severity is "info", "warning" or "critical".
	Severity string
	// Labels are added to each alarm; nil when the rule has none.
	Labels map[string]string
	// Within bounds the log context: lines at most so far from the first breach belong to it.
	Within time.Duration
	// MaxLines is how many lines of the context an alarm shows at most, 0 to 1000; 0: they are counted only.
	MaxLines int
}

//go:embed rules.json
var defaultRules []byte

// DefaultRules returns the built-in rules as the text of a rules file, a fresh copy: CPU, memory, swap, disk and load of
// the metrics that this machine is sampled for.
func DefaultRules() []byte { return append([]byte(nil), defaultRules...) }

// legalName is what a name may be made of, because it names an operator and its stored state.
var legalName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// ParseRules reads the text of a rules file:
//
//	{"rules":[{"name":"HighCPU","metric":"cpu_percent","above":80,"clear":70,"for":"2m","severity":"critical",
//	  "labels":{"team":"ops"},"context":{"within":"60s","max_lines":20}}]}
//
// Needed are name, metric and one of above and below. Left out, "clear" is the threshold, "for" is "0s", "severity" is
// "warning", and the context is 20 lines within "60s". Unknown fields are mistakes. The text also
// has to fit the built-in schema "rules". The error is a *RulesError, one line.
func ParseRules(data []byte) ([]Rule, error) {
	file, err := decodeRules(data)
	if err != nil {
		return nil, err
	}
	if file.Rules == nil || len(*file.Rules) == 0 {
		return nil, rulesError(data, "/rules", `the file holds no rule: give at least one in "rules"`)
	}
	rules := make([]Rule, 0, len(*file.Rules))
	index := make(map[string]int, len(*file.Rules))
	for i, raw := range *file.Rules {
		rule, field, reason := raw.rule()
		if earlier, taken := index[rule.Name]; taken && reason == "" {
			field, reason = "/name", fmt.Sprintf("rule %d is already called %q: choose another name", earlier, rule.Name)
		}
		if reason != "" {
			return nil, rulesError(data, jsontext.Pointer(fmt.Sprintf("/rules/%d%s", i, field)), reason)
		}
		index[rule.Name] = i
		rules = append(rules, rule)
	}
	// Last, because the checks above say more plainly what to do: the schema is what other tools go by, so nothing passes
	// here that it refuses.
	if err := checkSchema(data); err != nil {
		return nil, err
	}
	return rules, nil
}

// rule checks one rule and fills in its defaults. A reason that is not empty says what is wrong with which field.
func (r *wireRule) rule() (rule Rule, field, reason string) {
	rule = Rule{
		Name: r.Name, Metric: r.Metric, Above: r.Above, Below: r.Below, Clear: r.Clear, Labels: r.Labels,
		Severity: defaultSeverity, Within: defaultWithin, MaxLines: defaultMaxLines,
	}
	switch {
	case !legalName.MatchString(r.Name):
		return rule, "/name", fmt.Sprintf("%q is no rule name: use 1 to 100 letters, digits, '-' and '_'", r.Name)
	case r.Metric == "":
		return rule, "/metric", `the rule watches nothing: give the name of a metric, such as "cpu_percent"`
	case r.Above == nil && r.Below == nil:
		return rule, "", `the rule has no threshold: give "above" or "below"`
	case r.Above != nil && r.Below != nil:
		return rule, "/below", `the rule has both "above" and "below": make it two rules`
	}
	threshold := r.Above
	if threshold == nil {
		threshold = r.Below
	}
	switch {
	case r.Clear == nil:
		rule.Clear = new(*threshold)
	case r.Above != nil && *r.Clear > *r.Above:
		return rule, "/clear", fmt.Sprintf(`%v must not be above the threshold: "above" is %v`, *r.Clear, *r.Above)
	case r.Below != nil && *r.Clear < *r.Below:
		return rule, "/clear", fmt.Sprintf(`%v must not be below the threshold: "below" is %v`, *r.Clear, *r.Below)
	}
	if r.For != nil {
		if rule.For, reason = duration(*r.For); reason != "" {
			return rule, "/for", reason
		}
	}
	if r.Severity != nil {
		rule.Severity = *r.Severity
	}
	if rule.Severity != "info" && rule.Severity != "warning" && rule.Severity != "critical" {
		return rule, "/severity", fmt.Sprintf(`%q is no severity: use "info", "warning" or "critical"`, rule.Severity)
	}
	if r.Context == nil {
		return rule, "", ""
	}
	if r.Context.Within != nil {
		if rule.Within, reason = duration(*r.Context.Within); reason != "" {
			return rule, "/context/within", reason
		}
	}
	if n := r.Context.MaxLines; n != nil {
		if rule.MaxLines = *n; *n < 0 || *n > maxMaxLines {
			return rule, "/context/max_lines", fmt.Sprintf("%d is out of range: an alarm shows 0 to %d lines", *n, maxMaxLines)
		}
	}
	return rule, "", ""
}

// legalDuration is what the schema takes for one, and a sign so that a negative one gets an answer of its own. Go takes
// more, such as "+2m" and ".5h".
var legalDuration = regexp.MustCompile(`^-?(0|([0-9]+(\.[0-9]+)?(ns|us|\x{b5}s|ms|s|m|h))+)$`)

// duration reads the text of a duration that must not be negative.
func duration(text string) (d time.Duration, reason string) {
	d, err := time.ParseDuration(text)
	if err != nil || !legalDuration.MatchString(text) {
		return 0, fmt.Sprintf(`%q is no duration: write one such as "90s", "2m" or "1h30m"`, text)
	}
	if d < 0 {
		return 0, fmt.Sprintf("%q is negative: a duration starts at \"0s\"", text)
	}
	return d, ""
}
