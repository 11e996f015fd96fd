// Package rulesfile reads alarm rules from files, JSON or YAML, with the meaning of alerting.Rule.
//
//	rules:
//	  - name: HighCPU
//	    metric: cpu_percent
//	    above: 80
//	    clear: 70            # hysteresis
//	    for: 2m
//	    severity: critical
//	  - name: DiskErrors
//	    metric: disk_percent
//	    if: metric.value > 50 and count(logs, .severity in ["err", "crit"]) > 3
//	    annotations: {summary: "{{.Key}}: {{.Context.total}} lines"}
//
// A program says with a Model what rules are about, and hands each Rule to alerting.Threshold.
//
// # What a rule says
//
//	what is looked at   metric, or any record if there is "value" or "if"; value: an expression in place of the sample's value;
//	                    over: {fn, window}, of several samples: avg, min, max, sum, count, quantile, change, rate, deviation, or
//	                    seasonal with season and step; per: another metric, to divide by; absent_for: samples that do not come
//	when it is bad      above or below, clear; if and until: expressions; levels: several severities, the worst last
//	for how long        for, keep_firing_for, max_duration, flap; every, lookback; no_data and on_error: keep, ok, alert, own
//	what it tells       severity, labels, annotations, context
//
// # Expressions
//
// The language is that of github.com/expr-lang/expr. Names are those that the fields of the value have in JSON; a field that is called
// like a function hides the function. An expression is typed when the file is read, by the schemas of the model: a name that there is not,
// or a comparison of a text with a number, is an error with its place in the file.
//
// # Guarantees
//
//   - A file is read completely or not at all. An error is one line: line, column, field, what is wrong and what to do.
//   - An expression cannot spin, read files, learn the time or take memory without bounds: it has at most 200 nodes and 8 predicates
//     over lists, none within another, no let, no ranges, no calls but of functions that are listed, regular expressions of bounded
//     size that are known when the file is read. What it costs is bounded by its lists and texts.
//   - An expression that fails for a value is an outcome, not false: see Rule.OnError.
//
// # Caveats
//
//   - Fields that a record leaves out have the zero value of their Go type.
package rulesfile
