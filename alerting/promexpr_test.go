package alerting_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/rossby-streams/rossby/alerting"
)

// promExpr is what the runner understands of PromQL: a comparison, absent of a selector, or two comparisons with and or unless.
type promExpr struct {
	absent      bool
	left, right comparison
	join        string // "", "and" or "unless"
}

type comparison struct {
	metric   string
	matchers []matcher
	op       string // "" for a bare selector
	number   float64
}

type matcher struct {
	label, op, value string
	re               *regexp.Regexp
}

var (
	selectorText = `([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^}]*)\})?`
	comparing    = regexp.MustCompile(`^` + selectorText + `\s*(?:(==|!=|>=|<=|>|<)\s*([-+0-9.eE]+))?$`)
	absenting    = regexp.MustCompile(`^absent\s*\(\s*` + selectorText + `\s*\)(?:\s*==\s*1)?$`)
	joining      = regexp.MustCompile(`\s+(and|unless)\s+`)
	matching     = regexp.MustCompile(`^\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|'[^']*')\s*(?:,|$)`)
)

func parseExpr(text string) (promExpr, error) {
	text = strings.TrimSpace(text)
	if m := absenting.FindStringSubmatch(text); m != nil {
		matchers, err := parseMatchers(m[2])
		return promExpr{absent: true, left: comparison{metric: m[1], matchers: matchers}}, err
	}
	var e promExpr
	at := joining.FindStringSubmatchIndex(text)
	if at != nil {
		e.join = text[at[2]:at[3]]
		right, err := parseComparison(text[at[1]:])
		if err != nil {
			return e, err
		}
		e.right, text = right, text[:at[0]]
	}
	var err error
	e.left, err = parseComparison(text)
	return e, err
}

func parseComparison(text string) (comparison, error) {
	text = strings.TrimSpace(text)
	for strings.HasPrefix(text, "(") && strings.HasSuffix(text, ")") {
		text = strings.TrimSpace(text[1 : len(text)-1])
	}
	m := comparing.FindStringSubmatch(text)
	if m == nil || m[1] == "absent" {
		return comparison{}, fmt.Errorf("%w: expression %q", errNotApplicable, text)
	}
	c := comparison{metric: m[1], op: m[3]}
	var err error
	if c.matchers, err = parseMatchers(m[2]); err != nil {
		return c, err
	}
	if c.op != "" {
		if c.number, err = strconv.ParseFloat(m[4], 64); err != nil {
			return c, fmt.Errorf("%w: number %q", errNotApplicable, m[4])
		}
	}
	return c, nil
}

func parseMatchers(text string) ([]matcher, error) {
	var list []matcher
	for strings.TrimSpace(text) != "" {
		m := matching.FindStringSubmatch(text)
		if m == nil {
			return nil, fmt.Errorf("%w: matchers %q", errNotApplicable, text)
		}
		value := strings.Trim(m[3], "'")
		if strings.HasPrefix(m[3], `"`) {
			var err error
			if value, err = strconv.Unquote(m[3]); err != nil {
				return nil, fmt.Errorf("%w: matcher %q", errNotApplicable, m[3])
			}
		}
		one := matcher{label: m[1], op: m[2], value: value}
		if strings.HasSuffix(one.op, "~") {
			re, err := regexp.Compile("^(?s:" + value + ")$")
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errNotApplicable, err)
			}
			one.re = re
		}
		list, text = append(list, one), text[len(m[0]):]
	}
	return list, nil
}

func (c comparison) matches(s promSample) bool {
	if s.Metric != c.metric {
		return false
	}
	for _, m := range c.matchers {
		value, ok := s.Labels[m.label], true
		switch m.op {
		case "=":
			ok = value == m.value
		case "!=":
			ok = value != m.value
		case "=~":
			ok = m.re.MatchString(value)
		case "!~":
			ok = !m.re.MatchString(value)
		}
		if !ok {
			return false
		}
	}
	return true
}

// equal are the labels that absent takes from its selector.
func (c comparison) equal() map[string]string {
	labels, count := make(map[string]string), make(map[string]int)
	for _, m := range c.matchers {
		count[m.label]++
		if m.op == "=" && m.value != "" {
			labels[m.label] = m.value
		}
	}
	for name, n := range count {
		if n > 1 {
			delete(labels, name)
		}
	}
	return labels
}

func (c comparison) holds(v float64) bool {
	switch c.op {
	case ">":
		return v > c.number
	case "<":
		return v < c.number
	case ">=":
		return v >= c.number
	case "<=":
		return v <= c.number
	case "==":
		return v == c.number
	case "!=":
		return v != c.number
	}
	return true
}

func (e promExpr) selects(s promSample) bool {
	return e.left.matches(s) || e.join != "" && e.right.matches(s) || e.absent && strings.HasPrefix(s.Metric, seriesMark)
}

// seriesMark begins the metric of a sample that has been given the labels of absent: what follows are the labels that it had.
const seriesMark = "series:"

// fill gives the rule its condition; series are those that absent looks for.
func (e promExpr) fill(rule *alerting.Rule[promSample], series []string) {
	switch {
	case e.absent:
		rule.OnNoData = alerting.AsBreach
		rule.Series = func(s promSample) string { return s.Metric }
		rule.Combine = func(l alerting.Latest) (float64, bool) {
			for _, name := range series {
				if _, ok := l.Get(name); ok {
					return 0, true
				}
			}
			return 0, false
		}
		rule.If = func(promSample) (bool, error) { return false, nil } // it is there
	case e.join != "":
		e.fillJoined(rule)
	case e.left.op == ">":
		rule.When = alerting.Above(e.left.number)
	case e.left.op == "<":
		rule.When = alerting.Below(e.left.number)
	default:
		rule.If = func(s promSample) (bool, error) { return e.left.holds(s.Value), nil }
	}
}

// fillJoined judges two series with the same labels together.
func (e promExpr) fillJoined(rule *alerting.Rule[promSample]) {
	const left, right, both = "left", "right", "both"
	rule.Series = func(s promSample) string {
		switch {
		case e.left.matches(s) && e.right.matches(s):
			return both
		case e.left.matches(s):
			return left
		}
		return right
	}
	side := func(l alerting.Latest, name string) (float64, bool) {
		if v, ok := l.Get(both); ok {
			return v, true
		}
		return l.Get(name)
	}
	rule.Combine = func(l alerting.Latest) (float64, bool) {
		a, ok := side(l, left)
		if !ok || !e.left.holds(a) {
			return 0, false
		}
		b, ok := side(l, right)
		return a, (ok && e.right.holds(b)) == (e.join == "and")
	}
	// What comes out of Combine breaches: it has been compared.
	rule.If = func(promSample) (bool, error) { return true, nil }
}
