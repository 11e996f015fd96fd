package notify

import (
	"fmt"
	"strings"
	"time"
)

// Explanation says what becomes of an alert, and why. Its String is for people.
type Explanation struct {
	// At is the moment that it is about.
	At time.Time
	// Known says that the dispatcher has the alert. Otherwise it says what would become of one with these labels.
	Known bool
	Listed
	// Silences and Acknowledgements are those that Status names, Inhibitors the alerts.
	Silences         []Silence
	Acknowledgements []Acknowledgement
	Inhibitors       []Alert
	// Routes are those that the alert belongs to.
	Routes []RouteExplained
}

// RouteExplained is a route that an alert belongs to, and its group there.
type RouteExplained struct {
	// Route is its key, Receiver who is told.
	Route    string
	Receiver string
	// Group is the key of the group, GroupLabels its labels.
	Group       string
	GroupLabels map[string]string
	// Next is when the group is looked at next; zero: there is no group yet. Others is how many other alerts it has.
	Next   time.Time
	Others int
	// MutedBy are the names of the time intervals that keep the route quiet now.
	MutedBy []string
	Told    []Told
}

// Explain says what becomes of an alert.
func (d *Dispatcher) Explain(fingerprint string, now time.Time) Explanation {
	k, ok := d.alerts[fingerprint]
	if !ok {
		return Explanation{At: now, Listed: Listed{Alert: Alert{Fingerprint: fingerprint}}}
	}
	return d.explain(k, now, true)
}

// ExplainLabels says what would become of an alert with these labels that began now.
func (d *Dispatcher) ExplainLabels(labels map[string]string, now time.Time) Explanation {
	k := &known{Alert: Alert{Labels: labels, StartsAt: now}, Begun: now}
	for i := range d.cfg.Inhibit {
		r := &d.cfg.Inhibit[i]
		if r.Target.Match(labels) {
			k.targets = append(k.targets, i)
		}
		if r.Source.Match(labels) {
			k.sources = append(k.sources, i)
		}
	}
	return d.explain(k, now, false)
}

func (d *Dispatcher) explain(k *known, now time.Time, isKnown bool) Explanation {
	e := Explanation{At: now, Known: isKnown, Listed: d.listed(k, now)}
	for _, id := range e.SilencedBy {
		e.Silences = append(e.Silences, d.silences[id])
	}
	for _, id := range e.AcknowledgedBy {
		e.Acknowledgements = append(e.Acknowledgements, d.acks.all[id])
	}
	for _, fingerprint := range e.InhibitedBy {
		e.Inhibitors = append(e.Inhibitors, d.alerts[fingerprint].Alert)
	}
	for _, n := range d.root.match(k.Alert.Labels) {
		labels := n.groupLabels(k.Alert.Labels)
		id := n.id + ":" + labelsText(labels)
		r := RouteExplained{Route: n.key, Receiver: n.Receiver, Group: n.key + ":" + labelsText(labels), GroupLabels: labels, MutedBy: d.mutedBy(n, now)}
		if g, ok := d.groups[id]; ok {
			r.Next, r.Others = g.Next, len(g.members)
			if g.members[k.Alert.Fingerprint] {
				r.Others--
			}
		}
		r.Told = d.told(id, n, &k.Alert, now)
		e.Routes = append(e.Routes, r)
	}
	return e
}

// String says it in lines of text.
func (e Explanation) String() string {
	var b strings.Builder
	if len(e.Labels) == 0 {
		fmt.Fprintf(&b, "alert %s: nobody has heard of it, or it was resolved and that was told\n", e.Fingerprint)
		return b.String()
	}
	switch {
	case !e.Known:
		fmt.Fprintf(&b, "an alert %s is not there; if it came now:\n", labelsText(e.Labels))
	case e.ResolvedAt(e.At):
		fmt.Fprintf(&b, "alert %s %s: resolved at %s\n", e.Fingerprint, labelsText(e.Labels), e.EndsAt.UTC().Format(time.RFC3339))
	default:
		fmt.Fprintf(&b, "alert %s %s: firing since %s, last heard of at %s\n", e.Fingerprint, labelsText(e.Labels), stamp(e.StartsAt), stamp(e.Updated))
	}
	for _, s := range e.Silences {
		fmt.Fprintf(&b, "  silenced by %s %s of %s until %s: %s\n", s.ID, s.Matchers, s.CreatedBy, stamp(s.EndsAt), s.Comment)
	}
	for _, a := range e.Inhibitors {
		fmt.Fprintf(&b, "  inhibited by %s %s\n", a.Fingerprint, labelsText(a.Labels))
	}
	for _, name := range e.MutedBy {
		fmt.Fprintf(&b, "  muted by the time interval %s\n", name)
	}
	for _, a := range e.Acknowledgements {
		fmt.Fprintf(&b, "  not repeated: acknowledged by %s until %s (%s): %s\n", a.Owner, stamp(a.ExpiresAt), a.ID, a.Comment)
	}
	if !e.Suppressed() {
		b.WriteString("  nothing mutes it\n")
	}
	for i := range e.Routes {
		e.Routes[i].write(&b)
	}
	return b.String()
}

func (r *RouteExplained) write(b *strings.Builder) {
	fmt.Fprintf(b, "  route %s to %s, group %s", r.Route, r.Receiver, labelsText(r.GroupLabels))
	if r.Next.IsZero() {
		b.WriteString(": not there yet\n")
	} else {
		fmt.Fprintf(b, ", %d others: looked at next at %s\n", r.Others, stamp(r.Next))
	}
	if len(r.MutedBy) > 0 {
		fmt.Fprintf(b, "    quiet now: %s\n", strings.Join(r.MutedBy, ", "))
	}
	for _, t := range r.Told {
		fmt.Fprintf(b, "    %s/%d ", t.Receiver, t.Integration)
		switch {
		case t.At.IsZero():
			b.WriteString("was not told of the group\n")
		case t.AsFiring:
			fmt.Fprintf(b, "was told at %s that it fires; again after %s\n", stamp(t.At), stamp(t.Repeat))
		case t.AsResolved:
			fmt.Fprintf(b, "was told at %s that it is resolved\n", stamp(t.At))
		default:
			fmt.Fprintf(b, "was told of the group at %s, not of this alert\n", stamp(t.At))
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
