package alerting

import (
	"errors"
	"time"
)

// Flap says when an alarm is flapping: its state changes so often that hearing of each change helps nobody. The measure is that of
// Nagios: of the last 21 evaluations, how many of the 20 pairs of neighbours differ, in percent, recent ones weighing more (1.25)
// than old ones (0.75). Alarms that are pending do not count. The zero Flap detects nothing.
type Flap struct {
	// High is the percentage from which on an alarm is flapping, Low the one down to which it has stopped. Nagios and Icinga come
	// with 30 and 20 or 25.
	High, Low float64
}

// Validate returns what is wrong.
func (f Flap) Validate() error {
	if f != (Flap{}) && !(f.Low >= 0 && f.Low <= f.High && f.High > 0 && f.High <= 100) {
		return errors.New("flapping starts at High and stops at Low: give percentages with 0 <= Low <= High <= 100 and High above 0")
	}
	return nil
}

const flapPairs = 20

// Flaps is what flap detection remembers of one alarm.
type Flaps struct {
	// Changes has a bit for each of the last 20 evaluations, the newest in bit 0: it differed from the one before.
	Changes uint32 `json:"changes,omitzero"`
	// Last is the level of the last evaluation; that of NoData and Failed is -1 and -2.
	Last int `json:"last,omitzero"`
	// Flapping says that the alarm flaps, Since of when the alarm is that people were told of.
	Flapping bool      `json:"flapping,omitzero"`
	Since    time.Time `json:"since,omitzero"`
}

// Percent is the measure: the weighted share of changes among the last 20 pairs of evaluations.
func (f *Flaps) Percent() float64 {
	sum := 0.0
	for i := range flapPairs { // from the oldest to the newest
		if f.Changes&(1<<(flapPairs-1-i)) != 0 {
			sum += 0.75 + float64(i)*0.5/(flapPairs-1)
		}
	}
	return sum * 100 / flapPairs
}

// watch notes the state that a machine has come to, and says what people hear: change, or what flapping makes of it.
func (f *Flaps) watch(m *Machine, since time.Time, change State) State {
	if m.State == Pending { // soft: it may come to nothing
		if f.Flapping {
			return Inactive
		}
		return change
	}
	now := m.Level
	switch m.State {
	case NoData:
		now = -1
	case Failed:
		now = -2
	}
	f.Changes = f.Changes << 1 & (1<<flapPairs - 1)
	if now != f.Last {
		f.Changes |= 1
	}
	f.Last = now
	percent, was := f.Percent(), f.Flapping
	switch {
	case percent >= m.Flap.High:
		f.Flapping = true
	case percent <= m.Flap.Low:
		f.Flapping = false
	}
	switch {
	case !was && f.Flapping:
		f.Since = m.Since
		if f.Since.IsZero() {
			f.Since = since
		}
		return Flapping
	case was && f.Flapping:
		return Inactive
	case was && m.State == Inactive, was && m.State == Expired:
		return Resolved
	case was && m.State == Recovering:
		return Firing
	case was:
		return m.State
	}
	return change
}
