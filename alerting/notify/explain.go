package notify

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Explanation says what becomes of an alert: who is told of it and when, and what keeps it quiet.
type Explanation struct {
	Alert Alert     `json:"alert"`
	At    time.Time `json:"at"`
	// SilencedBy are the silences that mute it now, InhibitedBy is a firing alert that does, AcknowledgedBy who takes care of it.
	SilencedBy     []Silence        `json:"silencedBy,omitempty"`
	InhibitedBy    *Alert           `json:"inhibitedBy,omitempty"`
	AcknowledgedBy *Acknowledgement `json:"acknowledgedBy,omitempty"`
	// Groups are those that it is in.
	Groups []Membership `json:"groups"`
}

// Membership is what an alert has of being in a group.
type Membership struct {
	// Key and Labels are those of the group, Route the matchers of the routes that led there, Receiver who is told.
	Key      string            `json:"key"`
	Labels   map[string]string `json:"labels"`
	Route    string            `json:"route"`
	Receiver string            `json:"receiver"`
	// Next is when the group is looked at.
	Next time.Time `json:"next"`
	// Left is when the alert went to another group, its labels having changed; zero: it is here.
	Left time.Time `json:"left,omitzero"`
	// QuietBy are the time intervals that keep the route quiet now.
	QuietBy []string `json:"quietBy,omitempty"`
	// Told is what each receiver of that name has heard.
	Told []Told `json:"told"`
}

// Told is what a receiver has heard of an alert.
type Told struct {
	// Integration is which of several receivers of that name, from 0.
	Integration int `json:"integration"`
	// As is "firing" or "resolved", as it was told last; empty: nothing yet. At is when the group was told of last, Repeats when it is
	// again if nothing happens.
	As      string    `json:"as,omitzero"`
	At      time.Time `json:"at,omitzero"`
	Repeats time.Time `json:"repeats,omitzero"`
}

// Explain says what becomes of the alert with that fingerprint; false: nothing is known of it, it does not fire.
func (d *Dispatcher) Explain(fingerprint string, now time.Time) (Explanation, bool) {
	k, ok := d.alerts[fingerprint]
	if !ok {
		return Explanation{}, false
	}
	e := Explanation{Alert: k.Alert, At: now, AcknowledgedBy: d.acks.of(k, now)}
	for _, id := range d.silencedBy(k, now) {
		e.SilencedBy = append(e.SilencedBy, d.silences[id])
	}
	if by := d.inhibitedBy(k, now); by != "" {
		alert := d.alerts[by].Alert
		e.InhibitedBy = &alert
	}
	for _, id := range slices.Sorted(maps.Keys(k.In)) {
		g := d.groups[id]
		n := d.nodes[g.Route]
		if n == nil {
			continue // of a configuration that was; the next look forgets it
		}
		e.Groups = append(e.Groups, Membership{
			Key: n.key + ":" + labelsText(g.Labels), Labels: g.Labels, Route: n.key, Receiver: n.Receiver, Next: g.Next, Left: k.In[id],
			QuietBy: d.cfg.TimeIntervals.quiet(&n.Route, now), Told: d.toldOf(&k.Alert, id, n),
		})
	}
	return e, true
}

// toldOf is what the receivers of a route have heard of an alert in a group.
func (d *Dispatcher) toldOf(alert *Alert, group string, n *node) []Told {
	var all []Told
	for _, r := range d.cfg.Receivers {
		if r.Name != n.Receiver {
			continue
		}
		t := Told{Integration: len(all)}
		if last := d.log[logKey(group, r.Name, t.Integration)]; last != nil {
			t.At, t.Repeats = last.At, last.At.Add(n.RepeatInterval)
			switch as := []string{alert.heardAs()}; {
			case subset(as, last.Firing):
				t.As = "firing"
			case subset(as, last.Resolved):
				t.As = "resolved"
			}
		}
		all = append(all, t)
	}
	return all
}

// logKey names what a receiver was told of a group.
func logKey(group, receiver string, integration int) string {
	return group + "\x00" + receiver + "\x00" + strconv.Itoa(integration)
}

// String tells it to people, a fact to a line.
func (e Explanation) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	when := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	state := "fires since " + when(e.Alert.StartsAt)
	if e.Alert.ResolvedAt(e.At) {
		state = "was resolved at " + when(e.Alert.EndsAt)
	}
	line("%s %s", labelsText(e.Alert.Labels), state)
	for _, s := range e.SilencedBy {
		line("  silenced until %s by %s: %s (silence %s, %s)", when(s.EndsAt), s.CreatedBy, s.Comment, s.ID, s.Matchers)
	}
	if e.InhibitedBy != nil {
		line("  inhibited by %s, which fires since %s", labelsText(e.InhibitedBy.Labels), when(e.InhibitedBy.StartsAt))
	}
	if a := e.AcknowledgedBy; a != nil {
		line("  acknowledged until %s by %s: %s (acknowledgement %s)", when(a.ExpiresAt), a.Owner, a.Comment, a.ID)
	}
	for _, g := range e.Groups {
		line("  %s is told, by the route %s, of the group %s, which is looked at %s", g.Receiver, g.Route, labelsText(g.Labels), when(g.Next))
		if !g.Left.IsZero() {
			line("    the alert left for another group at %s: its labels have changed", when(g.Left))
		}
		if len(g.QuietBy) > 0 {
			line("    the route is quiet now: %s", strings.Join(g.QuietBy, ", "))
		}
		for _, t := range g.Told {
			switch {
			case t.At.IsZero():
				line("    receiver %d has heard nothing yet", t.Integration)
			case t.As == "":
				line("    receiver %d has not heard of the alert; of the group, at %s", t.Integration, when(t.At))
			default:
				line("    receiver %d has heard that it is %s, at %s; again from %s on if nothing changes", t.Integration, t.As, when(t.At), when(t.Repeats))
			}
		}
	}
	return b.String()
}
