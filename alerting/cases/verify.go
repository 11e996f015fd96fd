package cases

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/alerting"
)

// Verify compares all that a topology has said with what the case expects: one line for each difference.
func (c *Case) Verify(said []alerting.Alarm) error {
	var errs []error
	for _, e := range c.Expect {
		standing := c.standing(said, c.Start.Add(e.At))
		for _, want := range e.Alarms {
			if err := c.find(standing, want); err != nil {
				errs = append(errs, fmt.Errorf("%s: at %v (line %d): %w", c.Name, e.At, e.Line, err))
			}
		}
		for _, id := range slices.Sorted(maps.Keys(standing)) {
			if a := standing[id]; a.State != alerting.Pending {
				errs = append(errs, fmt.Errorf("%s: at %v (line %d): not expected: %s", c.Name, e.At, e.Line, c.describe(a)))
			}
		}
	}
	return errors.Join(errs...)
}

// standing are the alarms at a time, by what identifies them.
func (c *Case) standing(said []alerting.Alarm, at time.Time) map[string]alerting.Alarm {
	said = slices.Clone(said)
	slices.SortStableFunc(said, func(a, b alerting.Alarm) int { return a.At.Compare(b.At) })
	alarms := make(map[string]alerting.Alarm)
	for _, a := range said {
		switch {
		case a.At.After(at):
		case a.State == alerting.Resolved:
			delete(alarms, a.Fingerprint())
		default:
			alarms[a.Fingerprint()] = a
		}
	}
	return alarms
}

// find takes the alarm that is expected out of those that there are.
func (c *Case) find(standing map[string]alerting.Alarm, want Alarm) error {
	var near []string
	for _, id := range slices.Sorted(maps.Keys(standing)) {
		a := standing[id]
		if a.Rule != want.Rule || a.Key != want.Key || !includes(a.Labels, want.Labels) {
			continue
		}
		differences := c.compare(a, want)
		if len(differences) == 0 {
			delete(standing, id)
			return nil
		}
		near = append(near, strings.Join(differences, ", "))
		delete(standing, id)
		break
	}
	if near == nil {
		return fmt.Errorf("no alarm %s of %s", want.Rule, want.Key)
	}
	return fmt.Errorf("alarm %s of %s: %s", want.Rule, want.Key, near[0])
}

func includes(all, some map[string]string) bool {
	for name, value := range some {
		if got, ok := all[name]; !ok || got != value {
			return false
		}
	}
	return true
}

// compare returns how an alarm differs from what is expected.
func (c *Case) compare(a alerting.Alarm, want Alarm) []string {
	var list []string
	differ := func(what string, want, got any) {
		list = append(list, fmt.Sprintf("%s: want %v, got %v", what, want, got))
	}
	if a.State != want.State {
		differ("state", want.State, a.State)
	}
	if want.Severity != nil && *want.Severity != a.Severity {
		differ("severity", *want.Severity, a.Severity)
	}
	if want.Value != nil && *want.Value != a.Value {
		differ("value", *want.Value, a.Value)
	}
	if since := a.Since.Sub(c.Start); want.Since != nil && *want.Since != since {
		differ("since", *want.Since, since)
	}
	for _, name := range slices.Sorted(maps.Keys(want.Annotations)) {
		if got := a.Annotations[name]; got != want.Annotations[name] {
			differ("annotation "+name, want.Annotations[name], got)
		}
	}
	if want.Context != nil {
		var got map[string]any
		if err := json.Unmarshal(a.Context, &got); err != nil {
			differ("context", want.Context, string(a.Context))
		}
		for _, name := range slices.Sorted(maps.Keys(want.Context)) {
			if !reflect.DeepEqual(got[name], want.Context[name]) {
				differ("context "+name, want.Context[name], got[name])
			}
		}
	}
	return list
}

func (c *Case) describe(a alerting.Alarm) string {
	return fmt.Sprintf("alarm %s of %s, %s, value %v, since %v", a.Rule, a.Key, a.State, a.Value, a.Since.Sub(c.Start))
}
