package notify

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rossby-streams/rossby/alerting"
)

// Alert is an alarm as receivers see it.
type Alert struct {
	// Fingerprint is its identity.
	Fingerprint string            `json:"fingerprint"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// StartsAt is when it began to fire, EndsAt when it was resolved; zero: it fires.
	StartsAt time.Time `json:"startsAt"`
	EndsAt   time.Time `json:"endsAt,omitzero"`
	// GeneratorURL leads to where it comes from.
	GeneratorURL string `json:"generatorURL,omitzero"`
	// Context is that of the alarm.
	Context json.RawMessage `json:"context,omitempty"`
}

// ResolvedAt reports whether the alert is resolved at that time.
func (a *Alert) ResolvedAt(now time.Time) bool { return !a.EndsAt.IsZero() && !a.EndsAt.After(now) }

// Fingerprint is what identifies an alert that is none of our alarms: it is computed of all its labels, as Alertmanager does.
func Fingerprint(labels map[string]string) string {
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		h.Write(append(append([]byte(name), 0xff), append([]byte(labels[name]), 0xff)...))
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// Bounds of an alert that comes from elsewhere: the number of its labels, of its annotations, and the bytes of all of them.
const (
	maxAlertTexts = 1000
	maxAlertBytes = 64 << 10
)

// Validate returns what is wrong with an alert that comes from elsewhere. The rules are Alertmanager's, and bounds.
func (a *Alert) Validate() error {
	size := 0
	for what, texts := range map[string]map[string]string{"label": a.Labels, "annotation": a.Annotations} {
		if len(texts) > maxAlertTexts {
			return fmt.Errorf("the alert has %d %ss: at most %d are taken", len(texts), what, maxAlertTexts)
		}
		for name, value := range texts {
			size += len(name) + len(value)
			switch {
			case name == "":
				return fmt.Errorf("a %s of the alert has no name", what)
			case !utf8.ValidString(name) || !utf8.ValidString(value):
				return fmt.Errorf("the %s %q of the alert is not UTF-8", what, name)
			}
		}
	}
	switch {
	case len(a.Labels) == 0:
		return errors.New("the alert has no label: give it one at least")
	case size > maxAlertBytes:
		return fmt.Errorf("labels and annotations of the alert have %d bytes: at most %d are taken", size, maxAlertBytes)
	case a.StartsAt.IsZero():
		return errors.New("the alert has no startsAt")
	case !a.EndsAt.IsZero() && a.EndsAt.Before(a.StartsAt):
		return fmt.Errorf("the alert ends at %s, before it starts at %s", a.EndsAt.Format(time.RFC3339), a.StartsAt.Format(time.RFC3339))
	}
	return nil
}

// Labels that an alert has of its alarm, beside those of the rule and the record.
const (
	LabelName     = "alertname"
	LabelKey      = "key"
	LabelSeverity = "severity"
)

// Annotations that an alert has of its alarm, beside those of the rule.
const (
	AnnotationReason = "reason"
	AnnotationState  = "state"
)

// fromAlarm makes the alert of a change in the life of an alarm; false for one that nobody is told of.
func fromAlarm(a *alerting.Alarm, keyLabel string, now time.Time) (Alert, bool) {
	if a.State == alerting.Pending {
		return Alert{}, false
	}
	labels := make(map[string]string, len(a.Labels)+3)
	labels[LabelName], labels[keyLabel], labels[LabelSeverity] = a.Rule, a.Key, a.Severity
	maps.Copy(labels, a.Labels)
	maps.DeleteFunc(labels, func(_, value string) bool { return value == "" }) // as Alertmanager has it
	alert := Alert{Fingerprint: a.Fingerprint(), Labels: labels, Annotations: maps.Clone(a.Annotations), StartsAt: a.At, Context: a.Context}
	note := func(name, text string) {
		if alert.Annotations == nil {
			alert.Annotations = make(map[string]string, 2)
		}
		if _, ok := alert.Annotations[name]; !ok && text != "" {
			alert.Annotations[name] = text
		}
	}
	note(AnnotationReason, a.Reason)
	if a.State != alerting.Firing && a.State != alerting.Resolved {
		note(AnnotationState, string(a.State))
	}
	if a.State == alerting.Resolved {
		alert.StartsAt, alert.EndsAt = a.Since, a.At
		if alert.EndsAt.After(now) {
			alert.EndsAt = now // the clock of the source is ahead
		}
	}
	return alert, true
}

// merge is what a later word about an alert makes of it. Annotations and labels are those of the later one. One that has not ended goes
// on, from its earliest beginning; one that has begins anew.
func (a *Alert) merge(later Alert) Alert {
	if !a.overBefore(&later) && (a.StartsAt.Before(later.StartsAt) || !later.EndsAt.IsZero() && a.EndsAt.IsZero()) {
		later.StartsAt = a.StartsAt
	}
	return later
}

// overBefore reports whether the alert had ended before a later one of its identity began.
func (a *Alert) overBefore(later *Alert) bool {
	return !a.EndsAt.IsZero() && later.StartsAt.After(a.EndsAt)
}

// compare orders alerts as people read them.
func compare(a, b *Alert) int {
	return cmp.Or(strings.Compare(a.Labels[LabelName], b.Labels[LabelName]), strings.Compare(a.Fingerprint, b.Fingerprint))
}
