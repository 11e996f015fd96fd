package notify

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Acknowledgement says that somebody takes care of alerts for a time: those that had begun when it was given. Meanwhile receivers are not
// reminded of a group in which nothing else fires (RepeatElapsed). They are told of everything new all the same: of other alerts, of one that
// goes to another severity, and of the end. An alert that begins anew is not acknowledged. When an acknowledgement ends and its alerts
// still fire, the reminder that is overdue comes with the next look at the group.
type Acknowledgement struct {
	ID string `json:"id"`
	// Matchers must all hold, as those of a Silence.
	Matchers Matchers `json:"matchers"`
	// Owner is who takes care, Comment what is being done.
	Owner   string `json:"owner"`
	Comment string `json:"comment,omitzero"`
	// At is when it was given, EndsAt when it ends.
	At     time.Time `json:"at"`
	EndsAt time.Time `json:"endsAt"`
}

// Validate returns what is wrong with the acknowledgement.
func (a *Acknowledgement) Validate() error {
	switch {
	case a.Owner == "":
		return errors.New("the acknowledgement has no owner: say who takes care")
	case len(a.Matchers) == 0:
		return errors.New("the acknowledgement has no matcher: give one at least")
	case len(a.Matchers) > maxMatchers:
		return fmt.Errorf("the acknowledgement has %d matchers: at most %d are taken", len(a.Matchers), maxMatchers)
	case a.Matchers.Match(nil):
		return fmt.Errorf("the acknowledgement %s is one of everything: one matcher must not match a label that is missing", a.Matchers)
	case a.At.IsZero() || !a.EndsAt.After(a.At):
		return fmt.Errorf("the acknowledgement ends at %s, which is not after %s, when it was given", a.EndsAt.Format(time.RFC3339), a.At.Format(time.RFC3339))
	}
	return nil
}

// covers reports whether an alert is acknowledged at that time.
func (a *Acknowledgement) covers(alert *Alert, now time.Time) bool {
	return !now.Before(a.At) && now.Before(a.EndsAt) && !alert.StartsAt.After(a.At) && a.Matchers.Match(alert.Labels)
}

// Acknowledge sets an acknowledgement; an earlier one of its ID is replaced.
func (d *Dispatcher) Acknowledge(a Acknowledgement) { d.acks[a.ID] = a }

// Unacknowledge removes an acknowledgement.
func (d *Dispatcher) Unacknowledge(id string) { delete(d.acks, id) }

// acknowledged are the acknowledgements of an alert at that time, by their IDs.
func (d *Dispatcher) acknowledged(alert *Alert, now time.Time) []Acknowledgement {
	var all []Acknowledgement
	for _, a := range d.acks {
		if a.covers(alert, now) {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b Acknowledgement) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// takenCareOf reports whether all that fires is acknowledged.
func (d *Dispatcher) takenCareOf(alerts []Alert, now time.Time) bool {
	return len(d.acks) > 0 && !slices.ContainsFunc(alerts, func(a Alert) bool {
		return a.EndsAt.IsZero() && len(d.acknowledged(&a, now)) == 0
	})
}

// remember keeps what a receiver was told from being forgotten while it is not reminded.
func (d *Dispatcher) remember(key string, n *node, now time.Time) {
	e := *d.log[key]
	if e.Expires.After(now.Add(n.RepeatInterval)) {
		return
	}
	e.Expires = now.Add(2 * n.RepeatInterval)
	d.log[key] = &e
	d.changed.log[key] = true
}
