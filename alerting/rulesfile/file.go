package rulesfile

import (
	"errors"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"time"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/internal/document"
)

// File is a rules file.
type File[V any] struct {
	// Rules are ready for alerting.Threshold; each selects its own records.
	Rules []alerting.Rule[V]
	// Series are the names of the series that some rule looks at, each once, sorted; Every says that a rule looks at all of them.
	Series []string
	All    bool
	// Within is the widest context that a rule asks for.
	Within time.Duration
}

// Defaults of the fields that a rule leaves out.
const (
	defaultSeverity = "warning"
	defaultWithin   = time.Minute
	defaultMaxLines = 20
	defaultEvery    = time.Minute // of a ratio
)

// Bounds of a rule.
const (
	maxMaxLines = 1000
	maxRules    = 10_000
	maxTexts    = 64 // labels or annotations
)

// legalName is what a name may be made of, because it names an operator and its stored state.
var legalName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// Parse reads the text of a rules file, JSON or YAML, completely or not at all. The package documentation tells what is in it. The
// error is an *Error, one line; or it is about the model.
func Parse[V any](data []byte, model Model[V]) (*File[V], error) {
	if err := model.validate(); err != nil {
		return nil, err
	}
	root, err := document.Parse(data, `{"rules":[...]}`)
	if err != nil {
		return nil, asError(err)
	}
	f, err := model.file(root)
	if err != nil {
		return nil, asError(err)
	}
	return f, nil
}

func (m *Model[V]) file(root *document.Node) (*File[V], error) {
	fields, err := root.Fields("rules", "$schema")
	if err != nil {
		return nil, err
	}
	list, ok := fields["rules"]
	if !ok {
		return nil, (&document.Node{Line: root.Line, Column: root.Column, Pointer: "/rules"}).Errorf(`the file holds no rule: give at least one in "rules"`)
	}
	nodes, err := list.AsList("rules")
	switch {
	case err != nil:
		return nil, err
	case len(nodes) == 0:
		return nil, list.Errorf(`the file holds no rule: give at least one in "rules"`)
	case len(nodes) > maxRules:
		return nil, list.Errorf("the file holds %d rules: at most %d are taken", len(nodes), maxRules)
	}
	f := &File[V]{}
	series, names := make(map[string]bool), make(map[string]int)
	for i, node := range nodes {
		r, err := m.rule(node)
		if err != nil {
			return nil, err
		}
		if earlier, taken := names[r.rule.Name]; taken {
			return nil, r.fields["name"].Errorf("rule %d is already called %q: choose another name", earlier, r.rule.Name)
		}
		names[r.rule.Name] = i
		f.Rules = append(f.Rules, r.rule)
		f.Within = max(f.Within, r.context.Within)
		f.All = f.All || len(r.series) == 0
		for _, s := range r.series {
			series[s] = true
		}
	}
	f.Series = slices.Sorted(maps.Keys(series))
	return f, nil
}

// ruleNames are the fields of a rule.
var ruleNames = []string{
	"name", "metric", "above", "below", "clear", "for", "severity", "labels", "context", "keep_firing_for", "max_duration", "every", "lookback",
	"no_data", "on_error", "flap", "annotations", "over", "per", "value", "if", "until", "levels", "absent_for",
}

// reading is a rule while it is read.
type reading[V any] struct {
	model   *Model[V]
	node    *document.Node
	fields  map[string]*document.Node
	rule    alerting.Rule[V]
	series  []string
	context Context
}

// rule reads one rule. What is wrong is said of the field that is wrong; what only the whole can tell, of the rule.
func (m *Model[V]) rule(node *document.Node) (*reading[V], error) {
	fields, err := node.Fields(ruleNames...)
	if err != nil {
		return nil, err
	}
	r := &reading[V]{model: m, node: node, fields: fields}
	for _, step := range []func() error{
		r.name, r.what, r.conditions, r.times, r.policies, r.measure, r.ratio, r.texts, r.lines,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if err := r.rule.Validate(); err != nil {
		return nil, node.Errorf("%v", err)
	}
	return r, nil
}

func (r *reading[V]) name() error {
	name := ""
	where := r.node
	if n, ok := r.fields["name"]; ok {
		var err error
		if name, err = n.AsString(); err != nil {
			return err
		}
		where = n
	}
	if !legalName.MatchString(name) {
		return at(where, r.node, "/name").Errorf("%q is no rule name: use 1 to 100 letters, digits, '-' and '_'", name)
	}
	r.rule.Name = name
	return nil
}

// at is a node with the pointer of a field that may be missing.
func at(where, rule *document.Node, field string) *document.Node {
	n := *where
	n.Pointer = rule.Pointer + field
	return &n
}

// what reads which samples the rule is about, and what their value is.
func (r *reading[V]) what() error {
	r.rule.Value = r.model.Value
	if n, ok := r.fields["value"]; ok {
		e, err := r.model.compile(n, reflect.Float64)
		if err != nil {
			return err
		}
		r.rule.Value = e.number
	}
	n, ok := r.fields["metric"]
	if !ok {
		if r.fields["value"] != nil || r.fields["if"] != nil {
			return nil // of every record
		}
		return at(r.node, r.node, "/metric").Errorf(`the rule watches nothing: give the name of a metric, such as "cpu_percent"`)
	}
	metric, err := n.AsString()
	if err != nil {
		return err
	}
	if metric == "" {
		return n.Errorf(`the rule watches nothing: give the name of a metric, such as "cpu_percent"`)
	}
	r.series = []string{metric}
	series := r.model.Series
	r.rule.Select = func(v V) bool { return series(v) == metric }
	return nil
}

// conditions reads one level or several.
func (r *reading[V]) conditions() error {
	n, ok := r.fields["levels"]
	if !ok {
		if n, ok := r.fields["absent_for"]; ok {
			return r.absence(n)
		}
		level, err := r.level(r.node, r.fields, defaultSeverity)
		r.rule.Levels = []alerting.Level[V]{level}
		return err
	}
	for _, name := range []string{"above", "below", "clear", "if", "until", "severity", "absent_for"} {
		if n, ok := r.fields[name]; ok {
			return n.Errorf(`"levels" say it: put %q into each of them`, name)
		}
	}
	nodes, err := n.AsList("levels")
	if err != nil {
		return err
	}
	if len(nodes) == 0 || len(nodes) > 8 {
		return n.Errorf("a rule has 1 to 8 levels, the worst last")
	}
	for _, node := range nodes {
		fields, err := node.Fields("severity", "above", "below", "clear", "if", "until")
		if err != nil {
			return err
		}
		level, err := r.level(node, fields, "")
		if err != nil {
			return err
		}
		for _, other := range r.rule.Levels {
			if other.Severity == level.Severity {
				return at(node, node, "/severity").Errorf("the severity %q has two levels: one is enough", level.Severity)
			}
		}
		r.rule.Levels = append(r.rule.Levels, level)
	}
	return nil
}

// level reads what makes one severity.
func (r *reading[V]) level(node *document.Node, fields map[string]*document.Node, severity string) (alerting.Level[V], error) {
	l := alerting.Level[V]{Severity: severity}
	if n, ok := fields["severity"]; ok || severity == "" {
		if !ok {
			return l, at(node, node, "/severity").Errorf(`a level needs one: use "info", "warning" or "critical"`)
		}
		text, err := n.AsString()
		if err != nil {
			return l, err
		}
		if text != "info" && text != "warning" && text != "critical" {
			return l, n.Errorf(`%q is no severity: use "info", "warning" or "critical"`, text)
		}
		l.Severity = text
	}
	var err error
	if l.When, err = condition(node, fields); err != nil {
		return l, err
	}
	for _, e := range []struct {
		name string
		to   *func(V) (bool, error)
	}{{"if", &l.If}, {"until", &l.Until}} {
		n, ok := fields[e.name]
		if !ok {
			continue
		}
		compiled, err := r.model.compile(n, reflect.Bool)
		if err != nil {
			return l, err
		}
		*e.to = compiled.test
	}
	if n, ok := fields["until"]; ok && fields["clear"] != nil {
		return l, n.Errorf(`"clear" and "until" both say when it is over: keep one`)
	}
	return l, nil
}

// condition reads above or below, and clear.
func condition(node *document.Node, fields map[string]*document.Node) (alerting.Condition, error) {
	above, below, clear := fields["above"], fields["below"], fields["clear"]
	threshold, make := above, alerting.Above
	switch {
	case above != nil && below != nil:
		return alerting.Condition{}, below.Errorf(`the rule has both "above" and "below": make it two rules`)
	case below != nil:
		threshold, make = below, alerting.Below
	case above == nil && fields["if"] == nil:
		return alerting.Condition{}, node.Errorf(`the rule has no threshold: give "above" or "below"`)
	case above == nil && clear != nil:
		return alerting.Condition{}, clear.Errorf(`there is no threshold to clear: use "until" with "if"`)
	case above == nil:
		return alerting.Condition{}, nil
	}
	limit, err := threshold.AsNumber()
	if err != nil || clear == nil {
		return make(limit), err
	}
	over, err := clear.AsNumber()
	switch {
	case err != nil:
		return alerting.Condition{}, err
	case above != nil && over > limit:
		return alerting.Condition{}, clear.Errorf(`%v must not be above the threshold: "above" is %v`, over, limit)
	case below != nil && over < limit:
		return alerting.Condition{}, clear.Errorf(`%v must not be below the threshold: "below" is %v`, over, limit)
	}
	return make(limit).ClearAt(over), nil
}

// absence reads a rule that watches for samples that do not come.
func (r *reading[V]) absence(n *document.Node) error {
	for _, name := range []string{"above", "below", "clear", "if", "until", "over", "per", "lookback"} {
		if other, ok := r.fields[name]; ok {
			return other.Errorf(`a rule with "absent_for" has nothing else to judge: make it two rules`)
		}
	}
	silence, err := n.AsDuration()
	if err != nil {
		return err
	}
	if silence == 0 {
		return n.Errorf("a silence must last for more than 0s")
	}
	r.rule.Value, r.rule.Lookback, r.rule.OnNoData, r.rule.Severity = nil, silence, alerting.AsBreach, defaultSeverity
	if n, ok := r.fields["severity"]; ok {
		r.rule.Severity, err = document.OneOf(n, map[string]string{"info": "info", "warning": "warning", "critical": "critical"})
	}
	return err
}

func (r *reading[V]) times() error {
	for _, d := range []struct {
		name string
		to   *time.Duration
	}{
		{"for", &r.rule.For}, {"keep_firing_for", &r.rule.KeepFiringFor}, {"max_duration", &r.rule.MaxDuration}, {"every", &r.rule.Every},
		{"lookback", &r.rule.Lookback},
	} {
		n, ok := r.fields[d.name]
		if !ok {
			continue
		}
		var err error
		if *d.to, err = n.AsDuration(); err != nil {
			return err
		}
		if d.name == "max_duration" && *d.to > 0 && *d.to <= r.rule.For {
			return n.Errorf(`it ends the alarm before it fires: make it more than "for", which is %v`, r.rule.For)
		}
	}
	return nil
}

// policyNames are the policies as files have them.
var policyNames = map[string]alerting.Policy{
	"keep": alerting.KeepLast, "ok": alerting.AsOK, "alert": alerting.AsBreach, "own": alerting.OwnAlarm,
}

func (r *reading[V]) policies() error {
	for name, to := range map[string]*alerting.Policy{"no_data": &r.rule.OnNoData, "on_error": &r.rule.OnError} {
		n, ok := r.fields[name]
		if !ok {
			continue
		}
		var err error
		if *to, err = document.OneOf(n, policyNames); err != nil {
			return err
		}
	}
	if n, ok := r.fields["no_data"]; ok && r.fields["absent_for"] != nil && r.rule.OnNoData < alerting.AsBreach {
		return n.Errorf(`a rule with "absent_for" is about no data: use "alert" or "own"`)
	}
	n, ok := r.fields["flap"]
	if !ok {
		return nil
	}
	fields, err := n.Fields("high", "low")
	if err != nil {
		return err
	}
	r.rule.Flap = alerting.Flap{High: 30, Low: 20}
	for name, to := range map[string]*float64{"high": &r.rule.Flap.High, "low": &r.rule.Flap.Low} {
		if f, ok := fields[name]; ok {
			if *to, err = f.AsNumber(); err != nil {
				return err
			}
		}
	}
	if err := r.rule.Flap.Validate(); err != nil {
		return n.Errorf("%v", err)
	}
	return nil
}

// ratio reads the metric that the one of the rule is divided by.
func (r *reading[V]) ratio() error {
	n, ok := r.fields["per"]
	if !ok {
		return nil
	}
	per, err := n.AsString()
	if err != nil {
		return err
	}
	if len(r.series) == 0 || per == "" || per == r.series[0] {
		return n.Errorf(`a ratio is that of two metrics: give one in "metric" and another one in "per"`)
	}
	of, series := r.series[0], r.model.Series
	r.series = append(r.series, per)
	r.rule.Series, r.rule.Combine = series, alerting.Ratio(of, per)
	r.rule.Select = func(v V) bool {
		name := series(v)
		return name == of || name == per
	}
	if r.rule.Every == 0 {
		r.rule.Every = defaultEvery
	}
	return nil
}

// texts reads labels and annotations.
func (r *reading[V]) texts() error {
	for name, to := range map[string]*map[string]string{"labels": &r.rule.Labels, "annotations": &r.rule.Annotations} {
		n, ok := r.fields[name]
		if !ok {
			continue
		}
		texts, err := n.AsStrings()
		if err != nil {
			return err
		}
		if len(texts) > maxTexts {
			return n.Errorf("there are %d: at most %d are taken", len(texts), maxTexts)
		}
		*to = texts
	}
	n, ok := r.fields["annotations"]
	if !ok {
		return nil
	}
	for i, name := range n.Names {
		if err := r.rule.CheckAnnotation(name, n.Items[i].Text); err != nil {
			return n.Items[i].Errorf("%v", unquoted(err))
		}
	}
	return nil
}

// unquoted leaves out the name of the annotation, which the place tells.
func unquoted(err error) error {
	var t *alerting.TemplateError
	if errors.As(err, &t) {
		return t.Err
	}
	return err
}

// lines reads what the alarm carries.
func (r *reading[V]) lines() error {
	r.context = Context{Within: defaultWithin, MaxLines: defaultMaxLines}
	if n, ok := r.fields["context"]; ok {
		fields, err := n.Fields("within", "max_lines")
		if err != nil {
			return err
		}
		if f, ok := fields["within"]; ok {
			if r.context.Within, err = f.AsDuration(); err != nil {
				return err
			}
		}
		if f, ok := fields["max_lines"]; ok {
			if r.context.MaxLines, err = f.AsInt(); err != nil {
				return err
			}
			if lines := r.context.MaxLines; lines < 0 || lines > maxMaxLines {
				return f.Errorf("%d is out of range: an alarm shows 0 to %d lines", lines, maxMaxLines)
			}
		}
	}
	if make, context := r.model.Context, r.context; make != nil {
		r.rule.Context = func(v V) any { return make(v, context) }
	}
	return nil
}

// measure reads what is made of several samples.
func (r *reading[V]) measure() error {
	n, ok := r.fields["over"]
	if !ok {
		return nil
	}
	m, err := measure(n)
	if err != nil {
		return err
	}
	if err := m.Validate(); err != nil {
		return n.Errorf("%v", err)
	}
	r.rule.Over = m
	return nil
}
