package health

import (
	_ "embed"
	"fmt"
	"slices"
	"time"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/rulesfile"
	"github.com/rossby-streams/rossby/schemas"
)

// maxMaxLines is the most lines that a rule may ask for; Summarise cuts lines shorter when there are many.
const maxMaxLines = 1000

// Incident is what rules are about: a sample with the log lines of its host around it.
type Incident struct {
	Sample Metric   `json:"metric"`
	Lines  []Syslog `json:"logs"`
}

// Rule is a rule over incidents.
type Rule = alerting.Rule[Incident]

// Rules is a rules file.
type Rules = rulesfile.File[Incident]

//go:embed rules.json
var defaultRules []byte

// DefaultRules returns the built-in rules as the text of a rules file, a fresh copy: CPU, memory, swap, disk and load of
// the metrics that this machine is sampled for.
func DefaultRules() []byte { return append([]byte(nil), defaultRules...) }

// ParseRules reads the text of a rules file, JSON or YAML:
//
//	{"rules":[{"name":"HighCPU","metric":"cpu_percent","above":80,"clear":70,"for":"2m","severity":"critical",
//	  "labels":{"team":"ops"},"context":{"within":"60s","max_lines":20}}]}
//
// Package rulesfile tells what else it may hold. In expressions, metric is the sample and logs are the lines; metric and syslog are the
// schemas that say which fields they have. Left out, "severity" is "warning", and the context is 20 lines within "60s". The error is a
// *rulesfile.Error, one line.
func ParseRules(data []byte, metric, syslog *schemas.Schema) (*Rules, error) {
	return rulesfile.Parse(data, model(metric, syslog))
}

// RuleReader returns what reads one rule, for rules that change while the program runs: each is what ParseRules takes in a list. within is
// how far the log lines of an incident may be from its sample; taken are names that are not free.
func RuleReader(metric, syslog *schemas.Schema, within time.Duration, taken []Rule) func(name, text string) (alerting.Loaded[Incident], error) {
	m := model(metric, syslog)
	m.MaxWithin = within
	return func(name, text string) (alerting.Loaded[Incident], error) {
		if slices.ContainsFunc(taken, func(r Rule) bool { return r.Name == name }) {
			return alerting.Loaded[Incident]{}, fmt.Errorf("the rules file has a rule %q: choose another name", name)
		}
		return rulesfile.ParseRule(name, text, m)
	}
}

func model(metric, syslog *schemas.Schema) rulesfile.Model[Incident] {
	return rulesfile.Model[Incident]{
		Series:  func(i Incident) string { return i.Sample.Name },
		Value:   func(i Incident) float64 { return i.Sample.Value },
		Schemas: map[string]*schemas.Schema{"metric": metric, "logs": syslog},
		Context: func(i Incident, c rulesfile.Context) any {
			return Summarise(i.Lines, i.Sample.Time, c.Within, c.MaxLines)
		},
	}
}
