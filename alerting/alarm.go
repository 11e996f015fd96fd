package alerting

import (
	"encoding/json"
	"time"
)

// Alarm is a change in the life of an alarm.
type Alarm struct {
	// Rule and Key are its identity.
	Rule string `json:"rule"`
	Key  string `json:"key"`
	// State is what it has changed to: Pending, Firing or Resolved.
	State    State  `json:"state"`
	Severity string `json:"severity,omitzero"`
	// Value is that of the sample that made the change; the one that cleared it, of a resolved alarm.
	Value     float64 `json:"value"`
	Threshold float64 `json:"threshold"`
	// Since is the time of the first breach, At the time of the sample that made the change.
	Since  time.Time         `json:"since"`
	At     time.Time         `json:"at"`
	Labels map[string]string `json:"labels,omitempty"`
	// Context is what the joined value of the first breach brings, as JSON.
	Context json.RawMessage `json:"context"`
}
