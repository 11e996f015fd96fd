package notify

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Due are the groups whose flush is due, in order.
func (d *Dispatcher) Due(now time.Time) []string {
	var due []string
	for id, g := range d.groups {
		if !g.Next.After(now) {
			due = append(due, id)
		}
	}
	slices.Sort(due)
	return due
}

// Routes are the receivers and group keys of an alert with these labels.
func (d *Dispatcher) Routes(labels map[string]string) []string {
	var all []string
	for _, n := range d.root.match(labels) {
		all = append(all, n.Receiver+" "+n.key+":"+labelsText(n.groupLabels(labels)))
	}
	return all
}

// Alerts is how many it has.
func (d *Dispatcher) Alerts() int { return len(d.alerts) + len(d.groups) }

// Reason is why a receiver is told.
func (e *Entry) Reason(firing, resolved []string, due Due) Reason {
	return e.reason(firing, resolved, due)
}

// Groups are the fingerprints of the alerts of each group.
func (d *Dispatcher) Groups() map[string][]string {
	all := make(map[string][]string)
	for id, g := range d.groups {
		all[id] = slices.Collect(maps.Keys(g.members))
	}
	return all
}

// Turns returns a function that waits for its turn.
func (r Rate) Turns() func(context.Context) error { return r.turns().wait }
