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
// stored as JSON; what the rule says is given to it. Its timing is that of Prometheus' alerting rules.
type Machine struct {
	// When is the condition, For how long a breach must last before the alarm fires, KeepFiringFor how long a firing alarm keeps
	// firing when the breach is over: one that comes back meanwhile is the same alarm.
	When          Condition     `json:"-"`
	For           time.Duration `json:"-"`
	KeepFiringFor time.Duration `json:"-"`
	// State is Inactive, Pending or Firing, Since the time of the first breach, Calm when the breach was over of an alarm that keeps
	// firing. Their zero values are a machine at rest.
	State State     `json:"state,omitzero"`
	Since time.Time `json:"since,omitzero"`
	Calm  time.Time `json:"calm,omitzero"`
}

// Step judges one sample. It returns the state that the alarm has changed to: Pending, Firing, Resolved, or Inactive for no
// change that anybody need hear of. Samples are to be given in the order of their time.
func (m *Machine) Step(now time.Time, value float64) State {
	return m.Judge(now, m.When.Breached(value), m.When.Cleared(value))
}

// Judge is Step for a condition that is no comparison of one value: breached says that it holds, cleared that what it began is over.
// Neither is hysteresis: everything stays as it is, and time goes on.
func (m *Machine) Judge(now time.Time, breached, cleared bool) State {
	switch {
	case m.State == Inactive && breached:
		m.State, m.Since = Pending, now
		if m.For <= 0 {
			m.State = Firing
		}
		return m.State
	case m.State == Inactive:
		return Inactive
	case cleared:
		return m.over(now)
	case m.State == Pending && now.Sub(m.Since) >= m.For:
		m.State = Firing
		return Firing
	case breached:
		m.Calm = time.Time{}
	}
	return Inactive
}

// over is called while the condition is over. A firing alarm keeps firing while less than KeepFiringFor has passed since it was over
// for the first time.
func (m *Machine) over(now time.Time) State {
	if m.State == Firing && m.KeepFiringFor > 0 {
		if m.Calm.IsZero() {
			m.Calm = now
		}
		if now.Sub(m.Calm) < m.KeepFiringFor {
			return Inactive
		}
	}
	was := m.State
	m.State, m.Since, m.Calm = Inactive, time.Time{}, time.Time{}
	if was == Firing {
		return Resolved
	}
	return Inactive
}
