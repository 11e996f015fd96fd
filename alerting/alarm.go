package alerting

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"
)

// Alarm is a change in the life of an alarm.
type Alarm struct {
	// Rule, Key and Labels are its identity; the severity is not part of it.
	Rule string `json:"rule"`
	Key  string `json:"key"`
	// State is what it has changed to: Pending, Firing, Resolved, NoData, Failed or Flapping.
	State    State  `json:"state"`
	Severity string `json:"severity,omitzero"`
	// Value is that of the evaluation that made the change; the one that cleared it, of a resolved alarm. Of a rule that watches for
	// absence it is the silence in seconds.
	Value     float64 `json:"value"`
	Threshold float64 `json:"threshold"`
	// Sample is the newest sample, where Value is made of several.
	Sample float64 `json:"sample,omitzero"`
	// Peak is the value farthest beyond the threshold so far.
	Peak float64 `json:"peak,omitzero"`
	// Since is the time of the first breach, At the time of the evaluation that made the change.
	Since  time.Time         `json:"since"`
	At     time.Time         `json:"at"`
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations are the rule's templates, filled in.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Reason says why, where the value does not: no data, an error, flapping, MaxDuration.
	Reason string `json:"reason,omitzero"`
	// Context is what the joined value of the first breach brings, as JSON.
	Context json.RawMessage `json:"context"`
}

// Fingerprint identifies the alarm: it is the same for every change, and differs for alarms of another rule, key or set of labels. It
// is computed as Alertmanager does, of the labels and alertname and key.
func (a *Alarm) Fingerprint() string {
	labels := maps.Clone(a.Labels)
	if labels == nil {
		labels = make(map[string]string, 2)
	}
	labels["alertname"], labels["key"] = a.Rule, a.Key
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		h.Write(append(append([]byte(name), 0xff), append([]byte(labels[name]), 0xff)...))
	}
	return fmt.Sprintf("%016x", h.Sum64())
}
