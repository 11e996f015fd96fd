package notify

import (
	"slices"
	"time"
)

// Flush looks at a group and returns what receivers are to be told. What is returned counts as told.
func (d *Dispatcher) Flush(id string, now time.Time) []Notification {
	g, ok := d.groups[id]
	if !ok || g.Next.After(now) {
		return nil
	}
	n, ok := d.nodes[g.Route]
	if !ok { // a route that the configuration no longer has
		d.drop(id, g, func(string) bool { return true })
		return nil
	}
	all := d.members(id, g, now)
	heard := d.heard(id, all, now)
	var told []Notification
	if len(heard) > 0 {
		told = d.tell(id, g, n, heard, now)
	}
	over := make(map[string]bool)
	for _, a := range all {
		over[a.Fingerprint] = !a.EndsAt.IsZero()
	}
	next := &Group{Route: g.Route, Labels: g.Labels, Next: now.Add(n.GroupInterval), Flushed: true, members: g.members}
	d.groups[id] = next
	d.drop(id, next, func(fingerprint string) bool { return over[fingerprint] })
	d.changed.groups[id] = true
	return told
}

// heard are the alerts of a group that nothing mutes.
func (d *Dispatcher) heard(id string, all []Alert, now time.Time) []Alert {
	if d.MutedByIntervals(id, now) != nil {
		return nil
	}
	var heard []Alert
	for _, a := range all {
		k := d.alerts[a.Fingerprint]
		if len(d.silencedBy(k, now)) == 0 && d.inhibitedBy(k, now) == "" {
			heard = append(heard, a)
		}
	}
	return heard
}

// members are the alerts of a group as they are at that time, in order: one that has left is resolved.
func (d *Dispatcher) members(id string, g *Group, now time.Time) []Alert {
	all := make([]Alert, 0, len(g.members))
	for fingerprint := range g.members {
		k := d.alerts[fingerprint]
		a := k.Alert
		if left := k.In[id]; !left.IsZero() {
			a.EndsAt = left
		} else if !a.ResolvedAt(now) {
			a.EndsAt = time.Time{}
		}
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b Alert) int { return compare(&a, &b) })
	return all
}

// drop removes alerts from a group, and the group if none is left.
func (d *Dispatcher) drop(id string, g *Group, is func(fingerprint string) bool) {
	for fingerprint := range g.members {
		if !is(fingerprint) {
			continue
		}
		delete(g.members, fingerprint)
		d.leave(id, fingerprint)
	}
	if len(g.members) == 0 {
		delete(d.groups, id)
		d.changed.groups[id] = true
	}
}

// leave takes an alert out of a group; one that no group has is forgotten.
func (d *Dispatcher) leave(id, fingerprint string) {
	k := *d.alerts[fingerprint]
	in := make(map[string]time.Time, len(k.In))
	for other, left := range k.In {
		if other != id {
			in[other] = left
		}
	}
	k.In = in
	d.changed.alerts[fingerprint] = true
	if len(in) > 0 {
		d.alerts[fingerprint] = &k
		return
	}
	d.unlink(&k)
	delete(d.alerts, fingerprint)
}

// tell decides for each receiver.
func (d *Dispatcher) tell(id string, g *Group, n *node, alerts []Alert, now time.Time) []Notification {
	var firing, resolved []string
	for i := range alerts {
		if alerts[i].EndsAt.IsZero() {
			firing = append(firing, alerts[i].heardAs())
		} else {
			resolved = append(resolved, alerts[i].heardAs())
		}
	}
	slices.Sort(firing)
	slices.Sort(resolved)
	var told []Notification
	integration := -1
	for _, r := range d.cfg.Receivers {
		if r.Name != n.Receiver {
			continue
		}
		integration++
		key := logKey(id, r.Name, integration)
		last := d.log[key]
		if last != nil && !now.Before(last.Expires) {
			last = nil
		}
		reason := last.reason(firing, resolved, Due{SendResolved: r.SendResolved, Repeat: n.RepeatInterval, Now: now})
		if reason == RepeatElapsed && d.acknowledged(alerts, now) {
			d.holdBack(key, last, n, now)
			reason = ""
		}
		if reason == "" {
			continue
		}
		d.log[key] = &Entry{Firing: firing, Resolved: resolved, At: now, Expires: now.Add(n.remember())}
		d.changed.log[key] = true
		if t := notification(r, integration, n, g, reason, alerts, last, now); len(t.Alerts) > 0 { // else it wants to hear of none that is resolved
			told = append(told, t)
		}
	}
	return told
}

// heardAs is what an alert is remembered as: going to another severity is news.
func (a *Alert) heardAs() string { return a.Fingerprint + "/" + a.Labels[LabelSeverity] }

func notification(r Receiver, integration int, n *node, g *Group, reason Reason, alerts []Alert, last *Entry, now time.Time) Notification {
	told := Notification{
		Receiver: r.Name, Integration: integration, GroupKey: n.key + ":" + labelsText(g.Labels), GroupLabels: g.Labels, Reason: reason, At: now,
	}
	if last == nil {
		last = &Entry{}
	}
	for _, a := range alerts {
		switch {
		case a.EndsAt.IsZero():
			if !subset([]string{a.heardAs()}, last.Firing) {
				told.Added = append(told.Added, a.Fingerprint)
			}
		case !r.SendResolved:
			continue
		case !subset([]string{a.heardAs()}, last.Resolved):
			told.Resolved = append(told.Resolved, a.Fingerprint)
		}
		told.Alerts = append(told.Alerts, a)
	}
	return told
}

// Due is what decides whether a receiver is told, beside the alerts.
type Due struct {
	SendResolved bool
	Repeat       time.Duration
	Now          time.Time
}

// reason says why a receiver is told, if it is; e is what it was told last, or nil. firing and resolved are sorted. The order of the
// questions is Alertmanager's.
func (e *Entry) reason(firing, resolved []string, due Due) Reason {
	switch {
	case e == nil && len(firing) > 0:
		return FirstNotification
	case e == nil:
		return ""
	case !subset(firing, e.Firing) && len(e.Firing) == 0:
		return FirstNotification
	case !subset(firing, e.Firing):
		return NewAlerts
	case len(firing) == 0 && len(e.Firing) > 0:
		return AllResolved
	case len(firing) == 0:
		return ""
	case due.SendResolved && !subset(resolved, e.Resolved):
		return SomeResolved
	case e.At.Before(due.Now.Add(-due.Repeat)):
		return RepeatElapsed
	}
	return ""
}

// subset reports whether all of a are in b; both are sorted.
func subset(a, b []string) bool {
	for _, s := range a {
		if _, ok := slices.BinarySearch(b, s); !ok {
			return false
		}
	}
	return true
}
