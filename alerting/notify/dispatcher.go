package notify

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rossby-streams/rossby/stream"
)

// Receiver is somebody who is told.
type Receiver struct {
	// Name is what routes call it; several receivers of one name are told the same, each of its own accord.
	Name string
	// SendResolved says that it is told of alerts that are resolved.
	SendResolved bool
}

// Config says who is told of what, and when.
type Config struct {
	// Route is the root of the routing tree, Receivers those that it names.
	Route     Route
	Receivers []Receiver
	// Inhibit are the rules of inhibition.
	Inhibit []InhibitRule
	// TimeIntervals are those that routes name. A moment is in one that is in any of its ranges.
	TimeIntervals map[string][]TimeInterval
	// TellSilenceEnds makes an alert SilenceEnded of a silence that has expired or ended unused, not of one that was removed. It has the labels
	// that the silence asks for with =, the label silence with its ID, and severity="info"; it goes the way of other alerts and fires for an hour.
	TellSilenceEnds bool
	// KeyLabel is the label that has the key of an alarm. Empty: LabelKey.
	KeyLabel string
}

// Reason is why a receiver is told, in Alertmanager's words.
type Reason string

// The reasons. The zero Reason: it is not told.
const (
	FirstNotification Reason = "first notification"
	NewAlerts         Reason = "new alerts added"
	SomeResolved      Reason = "some alerts resolved"
	AllResolved       Reason = "all alerts resolved"
	RepeatElapsed     Reason = "repeat interval elapsed"
)

// Notification is what a receiver is told of a group.
type Notification struct {
	// Receiver and Integration say who: the name, and which of several of that name, from 0.
	Receiver    string `json:"receiver"`
	Integration int    `json:"integration"`
	// GroupKey and GroupLabels name the group.
	GroupKey    string            `json:"groupKey"`
	GroupLabels map[string]string `json:"groupLabels"`
	Reason      Reason            `json:"reason"`
	// Alerts are all of the group that are not muted; those that are resolved only where the receiver wants them, or if none fires.
	Alerts []Alert   `json:"alerts"`
	At     time.Time `json:"at"`
	// Added and Resolved are the fingerprints of the alerts that the receiver has not heard of as such.
	Added    []string `json:"added,omitempty"`
	Resolved []string `json:"resolved,omitempty"`
}

// Firing reports whether any alert fires.
func (n *Notification) Firing() bool {
	return slices.ContainsFunc(n.Alerts, func(a Alert) bool { return a.EndsAt.IsZero() })
}

// Dispatcher is the whole of it as a pure state machine: it has no clock and does nothing. It is not safe for concurrent use.
type Dispatcher struct {
	cfg      Config
	root     *node
	nodes    map[string]*node // by id
	alerts   map[string]*known
	groups   map[string]*Group
	log      map[string]*Entry
	silences map[string]Silence
	acks     acknowledgements
	edits    []string             // the IDs of silences in the order of their changes: an alert has judged some of them, and not the rest
	used     map[string]time.Time // of silences that end unused, by ID: when they were last known to be in use
	sources  []map[string]map[string]bool
	changed  changed
	trace    stream.Headers // of what is taken
}

// known is an alert that some group has.
type known struct {
	Alert Alert `json:"alert"`
	// In are the groups that have it. The time is when it left for another one, its labels having changed; zero while it belongs there.
	In map[string]time.Time `json:"in"`
	// Begun is when it was first heard of, or again after it was resolved; Updated when it was heard of last.
	Begun   time.Time `json:"begun,omitzero"`
	Updated time.Time `json:"updated,omitzero"`
	// Trace is the trace context of what was heard last.
	Trace stream.Headers `json:"trace,omitempty"`

	targets, sources []int // rules of inhibition, by what they match
	silencedBy       []string
	judged           int // how many edits silencedBy knows of
}

// Group are the alerts of one route with the same values of the labels that it groups by.
type Group struct {
	Route  string            `json:"route"`
	Labels map[string]string `json:"labels"`
	// Next is the time of the next flush. Flushed says that there was one.
	Next    time.Time `json:"next"`
	Flushed bool      `json:"flushed"`

	members map[string]bool
}

// Entry is what a receiver was told last of a group.
type Entry struct {
	Firing   []string  `json:"firing,omitempty"`
	Resolved []string  `json:"resolved,omitempty"`
	At       time.Time `json:"at"`
	Expires  time.Time `json:"expires"`
}

// changed are the keys of what differs from what was stored.
type changed struct {
	alerts, groups, log, used map[string]bool
}

func newChanged() changed {
	return changed{make(map[string]bool), make(map[string]bool), make(map[string]bool), make(map[string]bool)}
}

// New makes a dispatcher with nothing in it.
func New(cfg Config) (*Dispatcher, error) {
	if cfg.KeyLabel == "" {
		cfg.KeyLabel = LabelKey
	}
	names := make(map[string]bool)
	for _, r := range cfg.Receivers {
		if r.Name == "" {
			return nil, errors.New("notify: a receiver has no name")
		}
		names[r.Name] = true
	}
	root, err := tree(cfg.Route, names)
	if err == nil {
		err = checkIntervals(cfg.TimeIntervals, root)
	}
	if err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	d := &Dispatcher{
		cfg: cfg, root: root, nodes: make(map[string]*node), alerts: make(map[string]*known), groups: make(map[string]*Group), log: make(map[string]*Entry),
		silences: make(map[string]Silence), acks: newAcknowledgements(), used: make(map[string]time.Time), changed: newChanged(),
	}
	root.walk(func(n *node) { d.nodes[n.id] = n })
	for i, r := range cfg.Inhibit {
		if len(r.Source) == 0 || len(r.Target) == 0 {
			return nil, fmt.Errorf("notify: inhibition rule %d needs matchers for its source and its target", i)
		}
		d.sources = append(d.sources, make(map[string]map[string]bool))
	}
	return d, nil
}

// Take takes an alert, or a later word about it.
func (d *Dispatcher) Take(a Alert, now time.Time) {
	k, ok := d.alerts[a.Fingerprint]
	switch {
	case !ok && a.ResolvedAt(now):
		return // nobody has heard of it
	case !ok:
		k = &known{In: make(map[string]time.Time), Begun: now}
	default:
		d.unlink(k)
		d.noteUse(&k.Alert, now)
		again := *k
		if k.Alert.overBefore(&a) {
			again.Begun = now
		}
		a, k = k.Alert.merge(a), &again
	}
	k = &known{Alert: a, In: maps.Clone(k.In), Begun: k.Begun, Updated: now, Trace: d.trace}
	d.alerts[a.Fingerprint] = k
	d.link(k)
	belongs := make(map[string]bool)
	for _, n := range d.root.match(a.Labels) {
		labels := n.groupLabels(a.Labels)
		id := n.id + ":" + labelsText(labels)
		belongs[id] = true
		d.join(id, n, labels, k, now)
	}
	for id, left := range k.In {
		if !belongs[id] && left.IsZero() {
			k.In[id] = now
		}
	}
	d.changed.alerts[a.Fingerprint] = true
}

// traceOf is the trace context of the alert of a group that was heard of last.
func (d *Dispatcher) traceOf(id string) stream.Headers {
	var last *known
	if g := d.groups[id]; g != nil {
		for fingerprint := range g.members {
			k := d.alerts[fingerprint]
			if last == nil || k.Updated.After(last.Updated) || k.Updated.Equal(last.Updated) && k.Alert.Fingerprint < last.Alert.Fingerprint {
				last = k
			}
		}
	}
	if last == nil {
		return nil
	}
	return last.Trace
}

// join puts an alert into a group.
func (d *Dispatcher) join(id string, n *node, labels map[string]string, k *known, now time.Time) {
	g, ok := d.groups[id]
	switch {
	case !ok:
		g = &Group{Route: n.id, Labels: labels, Next: now.Add(n.GroupWait), members: make(map[string]bool)}
	case g.Flushed || !k.Alert.StartsAt.Add(n.GroupWait).Before(now):
		g.members[k.Alert.Fingerprint] = true
		k.In[id] = time.Time{}
		return
	default:
		g = &Group{Route: g.Route, Labels: g.Labels, Next: g.Next, members: g.members}
	}
	if k.Alert.StartsAt.Add(n.GroupWait).Before(now) { // it has waited elsewhere
		g.Next = now
	}
	d.groups[id] = g
	d.changed.groups[id] = true
	g.members[k.Alert.Fingerprint] = true
	k.In[id] = time.Time{}
}

// link notes what an alert means for inhibition.
func (d *Dispatcher) link(k *known) {
	for i := range d.cfg.Inhibit {
		r := &d.cfg.Inhibit[i]
		if r.Target.Match(k.Alert.Labels) {
			k.targets = append(k.targets, i)
		}
		if r.Source.Match(k.Alert.Labels) {
			k.sources = append(k.sources, i)
			key := r.equalKey(k.Alert.Labels)
			if d.sources[i][key] == nil {
				d.sources[i][key] = make(map[string]bool)
			}
			d.sources[i][key][k.Alert.Fingerprint] = true
		}
	}
}

func (d *Dispatcher) unlink(k *known) {
	for _, i := range k.sources {
		key := d.cfg.Inhibit[i].equalKey(k.Alert.Labels)
		delete(d.sources[i][key], k.Alert.Fingerprint)
		if len(d.sources[i][key]) == 0 {
			delete(d.sources[i], key)
		}
	}
}

// Silence sets a silence; an earlier one of its ID is replaced.
func (d *Dispatcher) Silence(s Silence) {
	d.silences[s.ID] = s
	d.edit(s.ID)
}

// Unsilence removes a silence.
func (d *Dispatcher) Unsilence(id string) {
	if _, ok := d.silences[id]; !ok {
		return
	}
	delete(d.silences, id)
	d.edit(id)
}

// maxEdits is after how many edits alerts judge all silences anew.
const maxEdits = 10_000

func (d *Dispatcher) edit(id string) {
	d.edits = append(d.edits, id)
	if len(d.edits) <= max(maxEdits, 2*len(d.silences)) {
		return
	}
	d.edits = slices.Sorted(maps.Keys(d.silences))
	for _, k := range d.alerts {
		k.judged, k.silencedBy = 0, nil
	}
}

// Muted says what mutes an alert now: the IDs of silences, and the fingerprint of an inhibiting alert.
func (d *Dispatcher) Muted(fingerprint string, now time.Time) (silencedBy []string, inhibitedBy string) {
	k, ok := d.alerts[fingerprint]
	if !ok {
		return nil, ""
	}
	return d.silencedBy(k, now), d.inhibitedBy(k, now)
}

func (d *Dispatcher) silencedBy(k *known, now time.Time) []string {
	for ; k.judged < len(d.edits); k.judged++ {
		id := d.edits[k.judged]
		k.silencedBy = slices.DeleteFunc(k.silencedBy, func(had string) bool { return had == id })
		if s, ok := d.silences[id]; ok && s.Matchers.Match(k.Alert.Labels) {
			k.silencedBy = append(k.silencedBy, id)
		}
	}
	var active []string
	for _, id := range k.silencedBy {
		if s := d.silences[id]; s.ActiveAt(now) {
			active = append(active, id)
		}
	}
	slices.Sort(active)
	return active
}

func (d *Dispatcher) inhibitedBy(k *known, now time.Time) string {
	for _, i := range k.targets {
		bothSides := slices.Contains(k.sources, i)
		least := ""
		for fingerprint := range d.sources[i][d.cfg.Inhibit[i].equalKey(k.Alert.Labels)] {
			source := d.alerts[fingerprint]
			if source.Alert.ResolvedAt(now) || bothSides && slices.Contains(source.targets, i) {
				continue
			}
			if least == "" || fingerprint < least {
				least = fingerprint
			}
		}
		if least != "" {
			return least
		}
	}
	return ""
}
