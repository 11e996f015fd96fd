package notify

import (
	"errors"
	"fmt"
	"time"
)

// Acknowledgement says that somebody takes care of alerts, for a time. Until it expires they are not repeated. What is news is told as ever:
// that one of them is resolved, has gone to another severity, or that another alert has come to its group. It is about alerts that there
// were when it was made; what begins later is nobody's yet. A group is not repeated if all its alerts that fire are acknowledged.
type Acknowledgement struct {
	ID string `json:"id"`
	// Fingerprint is that of the alert, or Matchers are those of several: one of them is given.
	Fingerprint string   `json:"fingerprint,omitzero"`
	Matchers    Matchers `json:"matchers,omitempty"`
	// Owner is who takes care, Comment what of.
	Owner   string `json:"owner"`
	Comment string `json:"comment,omitzero"`
	// CreatedAt is when it was made, ExpiresAt when it ends.
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// Validate returns what is wrong with the acknowledgement.
func (a *Acknowledgement) Validate() error {
	switch {
	case a.Owner == "":
		return errors.New("the acknowledgement has no owner: say who takes care")
	case (a.Fingerprint == "") == (len(a.Matchers) == 0):
		return errors.New("the acknowledgement needs the fingerprint of an alert or matchers, one of them")
	case len(a.Matchers) > maxMatchers:
		return fmt.Errorf("the acknowledgement has %d matchers: at most %d are taken", len(a.Matchers), maxMatchers)
	case len(a.Matchers) > 0 && a.Matchers.Match(nil):
		return fmt.Errorf("the acknowledgement %s is one of everything: one matcher must not match a label that is missing", a.Matchers)
	case a.CreatedAt.IsZero() || !a.ExpiresAt.After(a.CreatedAt):
		return fmt.Errorf("the acknowledgement expires at %s, which is not after its time %s", a.ExpiresAt.Format(time.RFC3339), a.CreatedAt.Format(time.RFC3339))
	}
	return nil
}

// covers reports whether an alert that was there since begun is acknowledged at that time.
func (a *Acknowledgement) covers(k *known, now time.Time) bool {
	if !now.Before(a.ExpiresAt) || k.Begun.After(a.CreatedAt) {
		return false
	}
	return a.Fingerprint == k.Alert.Fingerprint || len(a.Matchers) > 0 && a.Matchers.Match(k.Alert.Labels)
}

// acknowledgements are those in force, found by the fingerprint that they name, or one after the other.
type acknowledgements struct {
	all      map[string]Acknowledgement
	byPrint  map[string]map[string]bool // the IDs of those of a fingerprint
	matching map[string]bool            // the IDs of those with matchers
}

func newAcknowledgements() acknowledgements {
	return acknowledgements{make(map[string]Acknowledgement), make(map[string]map[string]bool), make(map[string]bool)}
}

func (as *acknowledgements) set(a Acknowledgement) {
	as.remove(a.ID)
	as.all[a.ID] = a
	if a.Fingerprint == "" {
		as.matching[a.ID] = true
		return
	}
	if as.byPrint[a.Fingerprint] == nil {
		as.byPrint[a.Fingerprint] = make(map[string]bool, 1)
	}
	as.byPrint[a.Fingerprint][a.ID] = true
}

func (as *acknowledgements) remove(id string) {
	fingerprint := as.all[id].Fingerprint
	delete(as.all, id)
	delete(as.matching, id)
	delete(as.byPrint[fingerprint], id)
	if len(as.byPrint[fingerprint]) == 0 {
		delete(as.byPrint, fingerprint)
	}
}

// of returns the acknowledgement of an alert with the least ID, or nil.
func (as *acknowledgements) of(k *known, now time.Time) *Acknowledgement {
	var found *Acknowledgement
	for _, ids := range []map[string]bool{as.byPrint[k.Alert.Fingerprint], as.matching} {
		for id := range ids {
			if a := as.all[id]; (found == nil || id < found.ID) && a.covers(k, now) {
				found = &a
			}
		}
	}
	return found
}

// Acknowledge sets an acknowledgement; an earlier one of its ID is replaced.
func (d *Dispatcher) Acknowledge(a Acknowledgement) { d.acks.set(a) }

// Unacknowledge removes an acknowledgement.
func (d *Dispatcher) Unacknowledge(id string) { d.acks.remove(id) }

// acknowledged reports whether somebody takes care of all alerts that fire.
func (d *Dispatcher) acknowledged(alerts []Alert, now time.Time) bool {
	for i := range alerts {
		if alerts[i].EndsAt.IsZero() && d.acks.of(d.alerts[alerts[i].Fingerprint], now) == nil {
			return false
		}
	}
	return true
}

// holdBack remembers what was told for as long as it is not repeated: else it would be told as if for the first time.
func (d *Dispatcher) holdBack(key string, last *Entry, n *node, now time.Time) {
	if last.Expires.Sub(now) >= n.remember()/2 {
		return
	}
	later := *last
	later.Expires = now.Add(n.remember())
	d.log[key] = &later
	d.changed.log[key] = true
}

// remember is how long what was told is remembered. It is twice the repeat interval, as Alertmanager has it, but not less than it takes to look at
// the group again.
func (n *node) remember() time.Duration { return 2 * max(n.RepeatInterval, n.GroupInterval) }
