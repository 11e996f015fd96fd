package alerting

import "time"

// State is where an alarm is in its life.
type State string

// The states that an alarm can be in or change to. Inactive is the zero value: there is no alarm.
const (
	Inactive State = ""
	Pending  State = "pending"
	Firing   State = "firing"
	Resolved State = "resolved"
)

// Machine is the life of one alarm as a pure state machine: it has no clock and no memory but its fields. What changes can be
// stored as JSON; what the rule says is given to it.
type Machine struct {
	// When is the condition, For how long a breach must last before the alarm fires.
	When Condition     `json:"-"`
	For  time.Duration `json:"-"`
	// State is Inactive, Pending or Firing, Since the time of the first breach. Their zero values are a machine at rest.
	State State     `json:"state,omitzero"`
	Since time.Time `json:"since,omitzero"`
}

// Step judges one sample. It returns the state that the alarm has changed to: Pending, Firing, Resolved, or Inactive for no
// change that anybody need hear of. Samples are to be given in the order of their time.
func (m *Machine) Step(now time.Time, value float64) State {
	switch {
	case m.State == Inactive && m.When.Breached(value):
		m.State, m.Since = Pending, now
		if m.For <= 0 {
			m.State = Firing
		}
		return m.State
	case m.State == Inactive:
		return Inactive
	case m.When.Cleared(value):
		was := m.State
		m.State, m.Since = Inactive, time.Time{}
		if was == Firing {
			return Resolved
		}
		return Inactive
	case m.State == Pending && now.Sub(m.Since) >= m.For:
		m.State = Firing
		return Firing
	}
	return Inactive
}
