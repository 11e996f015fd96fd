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

// Machine is the life of one alarm as a pure state machine: it has no clock and no memory but its fields, which can be stored.
// The zero value is inactive.
type Machine struct {
	State State     `json:"state,omitzero"` // Inactive, Pending or Firing
	Since time.Time `json:"since,omitzero"` // the first breach
}

// Step judges one sample. It returns the state that the alarm has changed to: Pending, Firing, Resolved, or Inactive for no
// change that anybody need hear of. Samples are to be given in the order of their time; hold is how long a breach must last
// before the alarm fires.
func (m *Machine) Step(now time.Time, value float64, when Condition, hold time.Duration) State {
	switch {
	case m.State == Inactive && when.Breached(value):
		m.State, m.Since = Pending, now
		if hold <= 0 {
			m.State = Firing
		}
		return m.State
	case m.State == Inactive:
		return Inactive
	case when.Cleared(value):
		was := m.State
		*m = Machine{}
		if was == Firing {
			return Resolved
		}
		return Inactive
	case m.State == Pending && now.Sub(m.Since) >= hold:
		m.State = Firing
		return Firing
	}
	return Inactive
}
