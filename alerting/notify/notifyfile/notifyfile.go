// Package notifyfile reads who is told of what from a file, YAML or JSON, with the names that Alertmanager's configuration has:
//
//	route:
//	  receiver: ops
//	  group_by: [alertname]
//	  routes:
//	    - receiver: pager
//	      matchers: ['severity="critical"']
//	      repeat_interval: 1h
//	    - receiver: chat
//	      active_time_intervals: [office]
//	receivers:
//	  - name: ops
//	  - {name: pager, send_resolved: true}
//	  - name: chat
//	inhibit_rules:
//	  - {source_matchers: ['alertname="HostDown"'], target_matchers: ['severity="warning"'], equal: [key]}
//	time_intervals:
//	  - name: office
//	    time_intervals:
//	      - {weekdays: ['monday:friday'], times: [{start_time: '08:00', end_time: '18:00'}], location: Europe/Berlin}
//
// Routes have receiver, matchers, match, match_re, continue, group_by, group_wait, group_interval, repeat_interval, mute_time_intervals,
// active_time_intervals and routes; rules of inhibition source_matchers, target_matchers, their older forms source_match, source_match_re,
// target_match, target_match_re, and equal; time intervals times, weekdays, days_of_month, months, years and location, which is UTC if it is
// left out. tell_silence_ends: true makes alerts of silences that end. The older list mute_time_intervals beside route is read as time_intervals is. send_resolved
// is true if it is left out. How receivers are reached is the program's, so what Alertmanager says of that in a receiver is refused, as
// is everything else that is not known. An error is one line: line, column, field, what is wrong and what to do.
package notifyfile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rossby-streams/rossby/alerting/internal/document"
	"github.com/rossby-streams/rossby/alerting/notify"
)

// ErrFile is wrapped by every error about a file.
var ErrFile = errors.New("notifyfile: the file is not valid")

// Error says what is wrong with a file, and where. It is one line.
type Error struct {
	// Line and Column are where, both from 1.
	Line, Column int
	// Field is the JSON pointer of the field; empty for the file as a whole.
	Field string
	// Reason says what is wrong and what to do.
	Reason string
}

// Error implements error.
func (e *Error) Error() string {
	return (&document.Error{Line: e.Line, Column: e.Column, Field: e.Field, Reason: e.Reason}).Error()
}

// Unwrap returns ErrFile.
func (e *Error) Unwrap() error { return ErrFile }

// Parse reads a file, completely or not at all. The error is an *Error.
func Parse(data []byte) (notify.Config, error) {
	cfg, err := parse(data)
	var at *document.Error
	if errors.As(err, &at) {
		return notify.Config{}, &Error{Line: at.Line, Column: at.Column, Field: at.Field, Reason: at.Reason}
	}
	return cfg, err
}

func parse(data []byte) (cfg notify.Config, err error) {
	root, err := document.Parse(data, `{"route":{...},"receivers":[...]}`)
	if err != nil {
		return cfg, err
	}
	fields, err := root.Fields("route", "receivers", "inhibit_rules", "time_intervals", "mute_time_intervals", "key_label",
		"tell_silence_ends")
	if err != nil {
		return cfg, err
	}
	if fields["route"] == nil || fields["receivers"] == nil {
		return cfg, root.Errorf(`"route" and "receivers" must be there: who is told, and who there is`)
	}
	for _, step := range []struct {
		name string
		read func(*document.Node) error
	}{
		{"receivers", func(n *document.Node) error { return each(n, &cfg.Receivers, receiver) }},
		{"route", func(n *document.Node) (err error) {
			cfg.Route, err = route(n)
			return err
		}},
		{"inhibit_rules", func(n *document.Node) error { return each(n, &cfg.Inhibit, inhibition) }},
		{"time_intervals", func(n *document.Node) error { return readIntervals(n, &cfg) }},
		{"mute_time_intervals", func(n *document.Node) error { return readIntervals(n, &cfg) }},
		{"key_label", func(n *document.Node) (err error) {
			cfg.KeyLabel, err = n.AsString()
			return err
		}},
		{"tell_silence_ends", func(n *document.Node) (err error) {
			cfg.TellSilenceEnds, err = boolean(n, false)
			return err
		}},
	} {
		if n, ok := fields[step.name]; ok {
			if err := step.read(n); err != nil {
				return cfg, err
			}
		}
	}
	if _, err := notify.New(cfg); err != nil { // what only the whole can tell
		return cfg, fields["route"].Errorf("%v", err)
	}
	return cfg, nil
}

// each reads the elements of a list.
func each[T any](n *document.Node, to *[]T, read func(*document.Node) (T, error)) error {
	items, err := n.AsList("objects")
	if err != nil {
		return err
	}
	for _, item := range items {
		one, err := read(item)
		if err != nil {
			return err
		}
		*to = append(*to, one)
	}
	return nil
}

func receiver(n *document.Node) (r notify.Receiver, err error) {
	fields, err := n.Fields("name", "send_resolved")
	if err != nil {
		return r, err
	}
	name, ok := fields["name"]
	if !ok {
		return r, n.Errorf(`the receiver has no "name"`)
	}
	if r.Name, err = name.AsString(); err != nil {
		return r, err
	}
	r.SendResolved, err = boolean(fields["send_resolved"], true)
	return r, err
}

func boolean(n *document.Node, otherwise bool) (bool, error) {
	switch {
	case n == nil:
		return otherwise, nil
	case n.Kind != document.Bool:
		return false, n.Errorf("must be true or false, not %s", n.Kind)
	}
	return n.Text == "true", nil
}

func route(n *document.Node) (r notify.Route, err error) {
	fields, err := n.Fields("receiver", "matchers", "match", "match_re", "continue", "group_by", "group_wait", "group_interval", "repeat_interval",
		"mute_time_intervals", "active_time_intervals", "routes")
	if err != nil {
		return r, err
	}
	if f, ok := fields["receiver"]; ok {
		if r.Receiver, err = f.AsString(); err != nil {
			return r, err
		}
	}
	if r.Matchers, err = matchers(fields, "match"); err != nil {
		return r, err
	}
	if r.Continue, err = boolean(fields["continue"], false); err != nil {
		return r, err
	}
	if f, ok := fields["group_by"]; ok {
		r.GroupBy = []string{} // none is one group, whatever the parent says
		if err := each(f, &r.GroupBy, (*document.Node).AsString); err != nil {
			return r, err
		}
	}
	for name, to := range map[string]*time.Duration{"group_wait": &r.GroupWait, "group_interval": &r.GroupInterval, "repeat_interval": &r.RepeatInterval} {
		f, ok := fields[name]
		if !ok {
			continue
		}
		if *to, err = f.AsDuration(); err != nil {
			return r, err
		}
		if *to == 0 && name != "group_wait" {
			return r, f.Errorf("it must be more than 0s")
		}
		if *to == 0 {
			*to = 1 // a moment: zero would be as the parent has it
		}
	}
	if r.MuteTimeIntervals, err = names(fields["mute_time_intervals"]); err != nil {
		return r, err
	}
	if r.ActiveTimeIntervals, err = names(fields["active_time_intervals"]); err != nil {
		return r, err
	}
	if f, ok := fields["routes"]; ok {
		err = each(f, &r.Routes, route)
	}
	return r, err
}

func inhibition(n *document.Node) (r notify.InhibitRule, err error) {
	fields, err := n.Fields("source_matchers", "source_match", "source_match_re", "target_matchers", "target_match", "target_match_re", "equal")
	if err != nil {
		return r, err
	}
	if r.Source, err = matchers(fields, "source_match"); err != nil {
		return r, err
	}
	if r.Target, err = matchers(fields, "target_match"); err != nil {
		return r, err
	}
	if len(r.Source) == 0 || len(r.Target) == 0 {
		return r, n.Errorf(`the rule needs "source_matchers" and "target_matchers"`)
	}
	if f, ok := fields["equal"]; ok {
		err = each(f, &r.Equal, (*document.Node).AsString)
	}
	return r, err
}

// matchers reads those of a name: as texts, and in the two older forms.
func matchers(fields map[string]*document.Node, name string) (ms notify.Matchers, err error) {
	if n, ok := fields[name+"ers"]; ok {
		items, err := n.AsList("texts")
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			text, err := item.AsString()
			if err != nil {
				return nil, err
			}
			parsed, err := notify.Parse(text)
			if err != nil {
				return nil, item.Errorf("%v", err)
			}
			ms = append(ms, parsed...)
		}
	}
	for suffix, op := range map[string]notify.Op{"": notify.Equal, "_re": notify.Matches} {
		n, ok := fields[name+suffix]
		if !ok {
			continue
		}
		labels, err := n.AsStrings()
		if err != nil {
			return nil, err
		}
		for _, label := range slices.Sorted(maps.Keys(labels)) {
			m, err := notify.NewMatcher(label, op, labels[label])
			if err != nil {
				return nil, n.Errorf("%v", fmt.Errorf("%s: %w", label, err))
			}
			ms = append(ms, m)
		}
	}
	return ms, nil
}
