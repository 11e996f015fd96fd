package alerting

import "time"

// State is where an alarm is in its life.
type State string

// The states that an alarm can be in or change to. Inactive is the zero value: there is no alarm.
const (
	Inactive State = ""
	// Pending is a breach that has not lasted for For yet.
	Pending State = "pending"
	Firing  State = "firing"
	// Recovering is a firing alarm whose breach is over and that keeps firing for KeepFiringFor. To the outside it fires.
	Recovering State = "recovering"
	// Resolved is what an alarm changes to at its end; it is in no state then.
	Resolved State = "resolved"
	// NoData and Failed are alarms of their own, where a Policy asks for them: nothing came to judge; what came cannot be judged.
	NoData State = "nodata"
	Failed State = "error"
	// Flapping is an alarm that comes and goes too often: nothing more is heard of it until that is over.
	Flapping State = "flapping"
	// Expired is an alarm that has lasted for MaxDuration: resolved, and silent until its breach is over.
	Expired State = "expired"
)

// Machine is the life of one alarm as a pure state machine: it has no clock and no memory but its fields. What changes can be
// stored as JSON; what the rule says is given to it. Its timing is that of Prometheus' alerting rules.
type Machine struct {
	// For is how long a breach must last before the alarm fires, KeepFiringFor how long a firing alarm keeps firing when the breach
	// is over: one that comes back meanwhile is the same alarm. MaxDuration ends an alarm that has lasted so long; zero: never.
	For           time.Duration `json:"-"`
	KeepFiringFor time.Duration `json:"-"`
	MaxDuration   time.Duration `json:"-"`
	// OnNoData and OnError say what an evaluation without data or with an error means.
	OnNoData Policy `json:"-"`
	OnError  Policy `json:"-"`
	// Flap says when an alarm is flapping. The zero Flap: never.
	Flap Flap `json:"-"`

	// State is where the alarm is: never Resolved or Flapping. Level is that of the breach, from 1; Since is the time of the first
	// breach, Calm when the breach was over of an alarm that keeps firing. Their zero values are a machine at rest.
	State State     `json:"state,omitzero"`
	Level int       `json:"level,omitzero"`
	Since time.Time `json:"since,omitzero"`
	Calm  time.Time `json:"calm,omitzero"`
	// Served says that the alarm has fired: one that comes back from NoData or Failed does not wait again.
	Served bool `json:"served,omitzero"`
	// Flaps is what flap detection remembers.
	Flaps Flaps `json:"flaps,omitzero"`
}

// Outcome is what one evaluation has found.
type Outcome struct {
	// Kind says whether there was anything to judge.
	Kind Kind
	// Level is the level of the breach, from 1, or 0 for none. Of NoData and Errored it is the level of a breach that a Policy makes of them.
	Level int
	// Held says that Level stands by hysteresis only: everything stays as it is, and time goes on.
	Held bool
}

// Kind is what an evaluation came to.
type Kind int

// The kinds of outcomes: a value was judged, there was none, or it could not be judged.
const (
	Judged Kind = iota
	Missing
	Errored
)

// Policy says what an evaluation means that found no value, or an error.
type Policy int

// The policies are those of Grafana. The zero Policy is KeepLast.
const (
	// KeepLast leaves everything as it is.
	KeepLast Policy = iota
	// AsOK takes it for an evaluation without a breach. It is what Prometheus does when a series has ended.
	AsOK
	// AsBreach takes it for a breach.
	AsBreach
	// OwnAlarm makes it an alarm at once, with the state NoData or Failed, under the same identity.
	OwnAlarm
)

// Judge takes the outcome of one evaluation. It returns the state that the alarm has changed to: Pending, Firing, Resolved, NoData,
// Failed or Flapping; or Inactive for no change that anybody need hear of. A firing alarm whose level has changed is Firing again.
// Outcomes are to be given in the order of their time.
func (m *Machine) Judge(now time.Time, o Outcome) State {
	since := m.Since
	change := m.step(now, o)
	if m.Flap == (Flap{}) {
		return change
	}
	return m.Flaps.watch(m, since, change)
}

// Expire ends the alarm if it has lasted for MaxDuration. It returns Resolved if it has, or else Inactive.
func (m *Machine) Expire(now time.Time) State {
	ends, ok := m.Expires()
	if !ok || now.Before(ends) {
		return Inactive
	}
	over := m.State == Recovering
	*m = m.rest()
	if !over {
		m.State = Expired
	}
	if m.Flaps.Flapping {
		return Inactive
	}
	return Resolved
}

// Expires returns when the alarm has lasted for MaxDuration, if it lasts and there is an end to it.
func (m *Machine) Expires() (time.Time, bool) {
	lasting := m.State == Firing || m.State == Recovering || m.State == NoData || m.State == Failed
	return m.Since.Add(m.MaxDuration), lasting && m.MaxDuration > 0
}

// rest is the machine with no alarm in hand.
func (m *Machine) rest() Machine {
	r := *m
	r.State, r.Level, r.Since, r.Calm, r.Served = Inactive, 0, time.Time{}, time.Time{}, false
	return r
}

// step is Judge without flap detection.
func (m *Machine) step(now time.Time, o Outcome) State {
	if change := m.Expire(now); change != Inactive {
		return change
	}
	switch o.Kind {
	case Missing:
		return m.without(now, o, m.OnNoData, NoData)
	case Errored:
		return m.without(now, o, m.OnError, Failed)
	}
	return m.judged(now, o)
}

// without takes an outcome that has nothing to judge. own is the state of its own alarm.
func (m *Machine) without(now time.Time, o Outcome, policy Policy, own State) State {
	switch {
	case policy == AsOK:
		return m.judged(now, Outcome{})
	case policy == AsBreach:
		if m.Level > 0 {
			o.Level = m.Level
		}
		return m.judged(now, Outcome{Level: o.Level})
	case policy == KeepLast, m.State == own, m.State == Expired:
		return Inactive
	}
	if m.Since.IsZero() {
		m.Since = now
	}
	m.State, m.Calm = own, time.Time{}
	return own
}

func (m *Machine) judged(now time.Time, o Outcome) State {
	switch {
	case m.State == Inactive && o.Level > 0 && !o.Held:
		m.Since = now
		return m.begin(o)
	case m.State == Inactive:
		return Inactive
	case o.Level == 0:
		return m.over(now)
	case m.State == Expired:
		return Inactive
	case m.State == NoData || m.State == Failed:
		if !m.Served {
			m.Since = now
		}
		return m.begin(o)
	case m.State == Pending:
		m.Level = o.Level
		if now.Sub(m.Since) < m.For {
			return Inactive
		}
		m.State, m.Served = Firing, true
		return Firing
	case o.Held && m.State == Recovering:
		return Inactive
	}
	was := m.Level
	m.State, m.Level, m.Calm = Firing, o.Level, time.Time{}
	if was != m.Level {
		return Firing
	}
	return Inactive
}

// begin is called with a breach that nothing was in hand for.
func (m *Machine) begin(o Outcome) State {
	m.Level, m.State = o.Level, Pending
	if m.For <= 0 || m.Served {
		m.State, m.Served = Firing, true
	}
	return m.State
}

// over is called while the breach is over. A firing alarm keeps firing while less than KeepFiringFor has passed since it was over
// for the first time.
func (m *Machine) over(now time.Time) State {
	if m.KeepFiringFor > 0 && (m.State == Firing || m.State == Recovering) {
		if m.State == Firing {
			m.State, m.Calm = Recovering, now
		}
		if now.Sub(m.Calm) < m.KeepFiringFor {
			return Inactive
		}
	}
	was := m.State
	*m = m.rest()
	if was == Pending || was == Expired {
		return Inactive
	}
	return Resolved
}
