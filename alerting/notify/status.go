package notify

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Status is what keeps an alert from being told.
type Status struct {
	// SilencedBy are the IDs of silences, InhibitedBy the fingerprint of an alert, MutedBy the names of
	// time intervals, if all of its routes are quiet.
	SilencedBy  []string
	InhibitedBy []string
	MutedBy     []string
	// AcknowledgedBy is the ID of an acknowledgement. It holds back repeats only.
	AcknowledgedBy []string
}

// Suppressed reports whether nothing is told of the alert.
func (s *Status) Suppressed() bool { return len(s.SilencedBy)+len(s.InhibitedBy)+len(s.MutedBy) > 0 }

// Listed is an alert that the dispatcher has.
type Listed struct {
	Alert
	Status
	// Receivers are the names of those whose routes it belongs to, in the order of the tree.
	Receivers []string
	// Begun is when it was first heard of, Updated when it was heard of last.
	Begun, Updated time.Time
}

// List returns the alerts that fire, by fingerprint.
func (d *Dispatcher) List(now time.Time) []Listed {
	list := make([]Listed, 0, len(d.alerts))
	for _, fingerprint := range slices.Sorted(maps.Keys(d.alerts)) {
		if k := d.alerts[fingerprint]; !k.Alert.ResolvedAt(now) {
			list = append(list, d.listed(k, now))
		}
	}
	return list
}

func (d *Dispatcher) listed(k *known, now time.Time) Listed {
	l := Listed{Alert: k.Alert, Status: d.status(k, now), Begun: k.Begun, Updated: k.Updated}
	for _, n := range d.root.match(k.Alert.Labels) {
		l.Receivers = append(l.Receivers, n.Receiver)
	}
	return l
}

// status is made of what Flush asks.
func (d *Dispatcher) status(k *known, now time.Time) Status {
	s := Status{SilencedBy: d.silencedBy(k, now), MutedBy: d.mutedEverywhere(k, now)}
	slices.Sort(s.SilencedBy)
	if by := d.inhibitedBy(k, now); by != "" {
		s.InhibitedBy = []string{by}
	}
	if a := d.acks.of(k, now); a != nil {
		s.AcknowledgedBy = []string{a.ID}
	}
	return s
}

// ListedGroup is a group that the dispatcher has.
type ListedGroup struct {
	// Key names the group, and Receiver who is told of it.
	Key      string
	Receiver string
	Labels   map[string]string
	// Next is when it is looked at next.
	Next time.Time
	// Alerts are those that fire, by fingerprint.
	Alerts []Listed
}

// ListGroups returns the groups with alerts that fire, by labels and receiver.
func (d *Dispatcher) ListGroups(now time.Time) []ListedGroup {
	var list []ListedGroup
	for id, g := range d.groups {
		n, ok := d.nodes[g.Route]
		if !ok {
			continue // of a route that is no more
		}
		lg := ListedGroup{Key: n.key + ":" + labelsText(g.Labels), Receiver: n.Receiver, Labels: g.Labels, Next: g.Next}
		for _, fingerprint := range slices.Sorted(maps.Keys(g.members)) {
			if k := d.alerts[fingerprint]; k.In[id].IsZero() && !k.Alert.ResolvedAt(now) {
				lg.Alerts = append(lg.Alerts, d.listed(k, now))
			}
		}
		if len(lg.Alerts) > 0 {
			list = append(list, lg)
		}
	}
	slices.SortFunc(list, func(a, b ListedGroup) int {
		return strings.Compare(labelsText(a.Labels)+a.Receiver+a.Key, labelsText(b.Labels)+b.Receiver+b.Key)
	})
	return list
}

// Receivers are the names of all receivers, each once.
func (d *Dispatcher) Receivers() []string {
	var names []string
	for _, r := range d.cfg.Receivers {
		if !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	return names
}

// Told is what a receiver was told last of an alert's group.
type Told struct {
	Receiver    string
	Integration int
	// At is when; zero: never, or longer ago than is remembered.
	At time.Time
	// AsFiring and AsResolved say whether the alert was in it, and as what.
	AsFiring, AsResolved bool
	// Repeat is when it is told again if nothing changes: at the first look at the group after that.
	Repeat time.Time
}

// told says what the receivers of a group were told of an alert.
func (d *Dispatcher) told(id string, n *node, a *Alert, now time.Time) (list []Told) {
	integration := -1
	for _, r := range d.cfg.Receivers {
		if r.Name != n.Receiver {
			continue
		}
		integration++
		t := Told{Receiver: r.Name, Integration: integration}
		if e := d.log[logKey(id, r.Name, integration)]; e != nil && now.Before(e.Expires) {
			t.At, t.Repeat = e.At, e.At.Add(n.RepeatInterval)
			t.AsFiring, t.AsResolved = subset([]string{a.heardAs()}, e.Firing), subset([]string{a.heardAs()}, e.Resolved)
		}
		list = append(list, t)
	}
	return list
}

// logKey is what is told to a receiver about a group is kept under.
func logKey(id, receiver string, integration int) string {
	return id + "\x00" + receiver + "\x00" + strconv.Itoa(integration)
}
