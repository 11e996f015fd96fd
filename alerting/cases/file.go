package cases

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/internal/document"
)

// Case is one test.
type Case struct {
	Name string
	// Start is the time that all others count from. Default: 2026-01-01T00:00:00Z.
	Start  time.Time
	Series []Series
	Logs   []Log
	Expect []Expectation
}

// Series are the samples of one metric of one key.
type Series struct {
	Metric, Key string
	Labels      map[string]string
	// Interval is the time between the values. Default: that of the case, or else 1m.
	Interval time.Duration
	Values   []Value
}

// Log are log lines of one key, all alike.
type Log struct {
	Key string
	// At is when the first one is written; Times is how many there are, Every the time between them. Default: one; 1s.
	At, Every time.Duration
	Times     int
	// Severity, App and Message are what the line says. Default: info, nobody, nothing.
	Severity, App, Message string
}

// Expectation are the alarms at one time.
type Expectation struct {
	At     time.Duration
	Alarms []Alarm
	// Line is where it stands in the file.
	Line int
}

// Alarm is what is expected of one alarm. What is left out may be anything.
type Alarm struct {
	Rule, Key           string
	State               alerting.State
	Severity            *string
	Value               *float64
	Since               *time.Duration
	Labels, Annotations map[string]string
	// Context are fields of the context as JSON has them.
	Context map[string]any
}

// Input is one record of a case.
type Input struct {
	At  time.Time
	Key string
	// Metric, Labels and Value are a sample; Log is a line. One of the two.
	Metric string
	Labels map[string]string
	Value  Value
	Log    *Log
}

const (
	maxCases  = 1000
	maxInputs = 1_000_000
)

// Parse reads the text of a file. The error is an *Error.
func Parse(data []byte) ([]Case, error) {
	root, err := document.Parse(data, `{"cases":[...]}`)
	if err != nil {
		return nil, asError(err)
	}
	list, err := caseList(root)
	if err != nil {
		return nil, asError(err)
	}
	return list, nil
}

func caseList(root *document.Node) ([]Case, error) {
	fields, err := root.Fields("cases")
	if err != nil {
		return nil, err
	}
	nodes, err := elements(fields["cases"], "cases")
	switch {
	case err != nil:
		return nil, err
	case len(nodes) == 0 || len(nodes) > maxCases:
		return nil, root.Errorf(`the file must hold 1 to %d cases in "cases"`, maxCases)
	}
	list := make([]Case, 0, len(nodes))
	for _, n := range nodes {
		c, err := caseOf(n)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// elements are those of an array that may be left out.
func elements(n *document.Node, what string) ([]*document.Node, error) {
	if n == nil {
		return nil, nil
	}
	return n.AsList(what)
}

func caseOf(n *document.Node) (Case, error) {
	c := Case{Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	interval := time.Minute
	fields, err := n.Fields("name", "start", "interval", "input", "logs", "expect")
	if err != nil {
		return c, err
	}
	if err := read(n, fields, "name",
		set("name", &c.Name, (*document.Node).AsString), set("start", &c.Start, (*document.Node).AsTime), set("interval", &interval, duration),
	); err != nil {
		return c, err
	}
	inputs := 0
	for _, part := range []struct {
		name string
		take func(*document.Node) error
	}{
		{"input", func(n *document.Node) error {
			s, err := seriesOf(n, interval)
			c.Series, inputs = append(c.Series, s), inputs+len(s.Values)
			return err
		}},
		{"logs", func(n *document.Node) error {
			l, err := logOf(n)
			c.Logs, inputs = append(c.Logs, l), inputs+l.Times
			return err
		}},
		{"expect", func(n *document.Node) error {
			e, err := expectationOf(n)
			c.Expect = append(c.Expect, e)
			return err
		}},
	} {
		list, err := elements(fields[part.name], part.name)
		if err != nil {
			return c, err
		}
		for _, item := range list {
			if err := part.take(item); err != nil {
				return c, err
			}
			if inputs > maxInputs {
				return c, item.Errorf("the case has more than %d records", maxInputs)
			}
		}
	}
	if len(c.Expect) == 0 {
		return c, n.Errorf(`the case expects nothing: give "expect"`)
	}
	return c, nil
}

// setter reads one field.
type setter struct {
	name string
	set  func(*document.Node) error
}

// set is a setter that reads a field with one of Node's methods.
func set[T any](name string, to *T, as func(*document.Node) (T, error)) setter {
	return setter{name, func(n *document.Node) (err error) {
		*to, err = as(n)
		return err
	}}
}

// setNew is set for a field whose absence means something.
func setNew[T any](name string, to **T, as func(*document.Node) (T, error)) setter {
	return setter{name, func(n *document.Node) error {
		v, err := as(n)
		*to = &v
		return err
	}}
}

// read reads the fields of a node; required is the one that must be there.
func read(n *document.Node, fields map[string]*document.Node, required string, setters ...setter) error {
	if fields[required] == nil {
		return n.Errorf("there is no %q", required)
	}
	for _, s := range setters {
		if f, ok := fields[s.name]; ok {
			if err := s.set(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// duration is one that is more than zero.
func duration(n *document.Node) (time.Duration, error) {
	d, err := n.AsDuration()
	if err == nil && d == 0 {
		return 0, n.Errorf("must be more than 0s")
	}
	return d, err
}

func seriesOf(n *document.Node, interval time.Duration) (Series, error) {
	s := Series{Interval: interval}
	fields, err := n.Fields("metric", "key", "labels", "interval", "values")
	if err != nil {
		return s, err
	}
	if fields["key"] == nil || fields["values"] == nil {
		return s, n.Errorf(`a series needs "metric", "key" and "values"`)
	}
	return s, read(n, fields, "metric",
		set("metric", &s.Metric, (*document.Node).AsString), set("key", &s.Key, (*document.Node).AsString),
		set("labels", &s.Labels, (*document.Node).AsStrings), set("interval", &s.Interval, duration),
		set("values", &s.Values, func(n *document.Node) ([]Value, error) {
			if n.Kind == document.Number { // YAML takes a single one for it
				return ParseValues(n.Text)
			}
			text, err := n.AsString()
			if err != nil {
				return nil, err
			}
			values, err := ParseValues(text)
			if err != nil {
				return nil, n.Errorf("%v", err)
			}
			return values, nil
		}))
}

func logOf(n *document.Node) (Log, error) {
	l := Log{Times: 1, Every: time.Second, Severity: "info"}
	fields, err := n.Fields("at", "key", "severity", "app", "message", "times", "every")
	if err != nil {
		return l, err
	}
	if fields["key"] == nil {
		return l, n.Errorf(`a log line needs "at" and "key"`)
	}
	return l, read(n, fields, "at",
		set("at", &l.At, (*document.Node).AsDuration), set("key", &l.Key, (*document.Node).AsString),
		set("severity", &l.Severity, (*document.Node).AsString), set("app", &l.App, (*document.Node).AsString),
		set("message", &l.Message, (*document.Node).AsString), set("every", &l.Every, duration),
		set("times", &l.Times, func(n *document.Node) (int, error) {
			times, err := n.AsInt()
			if err == nil && (times < 1 || times > maxValues) {
				return 0, n.Errorf("must be from 1 to %d", maxValues)
			}
			return times, err
		}))
}

// states are those that an alarm can be expected in.
var states = map[string]alerting.State{
	"pending": alerting.Pending, "firing": alerting.Firing, "nodata": alerting.NoData, "error": alerting.Failed, "flapping": alerting.Flapping,
}

func expectationOf(n *document.Node) (Expectation, error) {
	e := Expectation{Line: n.Line}
	fields, err := n.Fields("at", "alarms")
	if err != nil {
		return e, err
	}
	if err := read(n, fields, "at", set("at", &e.At, (*document.Node).AsDuration)); err != nil {
		return e, err
	}
	nodes, err := elements(fields["alarms"], "alarms")
	if err != nil {
		return e, err
	}
	for _, node := range nodes {
		a := Alarm{State: alerting.Firing}
		fields, err := node.Fields("rule", "key", "state", "severity", "value", "since", "labels", "annotations", "context")
		if err != nil {
			return e, err
		}
		if fields["key"] == nil {
			return e, node.Errorf(`an alarm needs "rule" and "key"`)
		}
		if err := read(node, fields, "rule",
			set("rule", &a.Rule, (*document.Node).AsString), set("key", &a.Key, (*document.Node).AsString),
			set("state", &a.State, func(n *document.Node) (alerting.State, error) { return document.OneOf(n, states) }),
			setNew("severity", &a.Severity, (*document.Node).AsString), setNew("value", &a.Value, (*document.Node).AsNumber),
			setNew("since", &a.Since, (*document.Node).AsDuration), set("labels", &a.Labels, (*document.Node).AsStrings),
			set("annotations", &a.Annotations, (*document.Node).AsStrings),
			set("context", &a.Context, func(n *document.Node) (map[string]any, error) {
				fields, ok := n.Plain().(map[string]any)
				if !ok {
					return nil, n.Errorf("must be an object, not %s", n.Kind)
				}
				return fields, nil
			}),
		); err != nil {
			return e, err
		}
		e.Alarms = append(e.Alarms, a)
	}
	return e, nil
}

// Inputs returns the records of the case in the order of their times; those of one time in the order of the file, lines first.
func (c *Case) Inputs() []Input {
	var list []Input
	for _, l := range c.Logs {
		for i := range l.Times {
			list = append(list, Input{At: c.Start.Add(l.At + time.Duration(i)*l.Every), Key: l.Key, Log: &l})
		}
	}
	for _, s := range c.Series {
		for i, v := range s.Values {
			if !v.Missing {
				list = append(list, Input{At: c.Start.Add(time.Duration(i) * s.Interval), Key: s.Key, Metric: s.Metric, Labels: s.Labels, Value: v})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Input) int { return a.At.Compare(b.At) })
	return list
}

// End is the time of the last expectation: how far event time must be moved after the last input.
func (c *Case) End() time.Time {
	end := time.Duration(0)
	for _, e := range c.Expect {
		end = max(end, e.At)
	}
	return c.Start.Add(end)
}

// Error says what is wrong with a file, and where.
type Error struct {
	Line, Column int
	// Field is the JSON pointer of the field, Reason what is wrong and what to do.
	Field, Reason string
}

// Error implements error.
func (e *Error) Error() string {
	return (&document.Error{Line: e.Line, Column: e.Column, Field: e.Field, Reason: e.Reason}).Error()
}

func asError(err error) error {
	var at *document.Error
	if errors.As(err, &at) {
		return &Error{Line: at.Line, Column: at.Column, Field: at.Field, Reason: at.Reason}
	}
	return fmt.Errorf("cases: %w", err)
}
