package notify

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// SilenceChange is what a silence, or an acknowledgement, is from now on.
type SilenceChange struct {
	ID string `json:"id"`
	// Version orders the changes of the silence: one that is not newer than what has come is passed over.
	Version alerting.Version `json:"version"`
	// Silence or Acknowledgement is what it is; both are nil for one that was removed.
	Silence         *Silence         `json:"silence,omitzero"`
	Acknowledgement *Acknowledgement `json:"acknowledgement,omitzero"`
}

// Removed reports whether there is nothing any more.
func (c *SilenceChange) Removed() bool { return c.Silence == nil && c.Acknowledgement == nil }

// Validate returns what is wrong with what there is.
func (c *SilenceChange) Validate() error {
	switch {
	case c.Silence != nil && c.Acknowledgement != nil:
		return errors.New("it is a silence or an acknowledgement, not both")
	case c.Silence != nil:
		return c.Silence.Validate()
	case c.Acknowledgement != nil:
		return c.Acknowledgement.Validate()
	}
	return nil
}

// ends is when what there is ends.
func (c *SilenceChange) ends() time.Time {
	if c.Silence != nil {
		return c.Silence.EndsAt
	}
	return c.Acknowledgement.ExpiresAt
}

// SilenceChanges returns a topic for changes of silences. It has as many partitions as the topic of the alarms.
func SilenceChanges(name string, partitions int) stream.Topic[SilenceChange] {
	return stream.Topic[SilenceChange]{Name: name, Partitions: partitions, Time: func(SilenceChange) time.Time { return time.Unix(0, 0) }}
}

// operator is the name of the operator, and of its stores; everything is what all records are keyed by, so that one task has them all.
const (
	operator   = "notify"
	everything = "all"
)

// Alerts returns a topic for alerts that come from elsewhere, such as those that are posted to package api.
func Alerts(name string, partitions int) stream.Topic[Alert] {
	return stream.Topic[Alert]{Name: name, Partitions: partitions, Time: func(Alert) time.Time { return time.Unix(0, 0) }}
}

// Inputs are what a dispatcher takes. Each of them may be left out.
type Inputs struct {
	Alarms processor.Upstream[alerting.Alarm]
	// Alerts are those that come from elsewhere: from a topic made with Alerts. One that fires is over at its EndsAt, unless it comes again.
	Alerts processor.Stream[Alert]
	// Silences are changes of silences and acknowledgements: from a topic made with SilenceChanges.
	Silences processor.Stream[SilenceChange]
}

// Notify makes of alarms what receivers are told. silences may be a zero Stream. There is one of it in a topology.
func Notify(alarms processor.Upstream[alerting.Alarm], silences processor.Stream[SilenceChange], cfg Config) processor.Stream[Notification] {
	return NotifyAll(Inputs{Alarms: alarms, Silences: silences}, cfg)
}

// NotifyAll is Notify with all that it may take. One of Alarms and Alerts must be there.
func NotifyAll(inputs Inputs, cfg Config) processor.Stream[Notification] {
	in := inputs.words()
	if _, err := New(cfg); err != nil {
		processor.Mistake(in, "Notify: %v", err)
		cfg = Config{Route: Route{Receiver: "none"}, Receivers: []Receiver{{Name: "none"}}}
	}
	return processor.Process(in, operator, func(c *processor.Context[Notification]) processor.Handler[word] {
		t := &task{
			c: c, cfg: cfg,
			alerts: processor.KeyValueStore[known](c, "alerts"), groups: processor.KeyValueStore[Group](c, "groups"),
			log: processor.KeyValueStore[Entry](c, "log"), silences: processor.KeyValueStore[silenceRow](c, "silences"),
			generations: processor.KeyValueStore[uint64](c, "generation"),
		}
		return processor.Handler[word]{Record: t.record, WallTimer: t.timer}
	})
}

// word is what the operator takes.
type word struct {
	alarm   *alerting.Alarm
	alert   *Alert
	silence *SilenceChange
}

// words are all inputs in one stream, and in one task.
func (i *Inputs) words() (in processor.Stream[word]) {
	add := func(s processor.Stream[word]) {
		if in == (processor.Stream[word]{}) {
			in = s
		} else {
			in = in.Merge(s)
		}
	}
	if i.Alarms != nil {
		add(gather(i.Alarms, operator+"-alarms", func(a alerting.Alarm) word { return word{alarm: &a} }))
	}
	if i.Alerts != (processor.Stream[Alert]{}) {
		add(gather(i.Alerts, operator+"-alerts", func(a Alert) word { return word{alert: &a} }))
	}
	if i.Silences != (processor.Stream[SilenceChange]{}) {
		add(gather(i.Silences, operator+"-silences", func(s SilenceChange) word { return word{silence: &s} }))
	}
	return in
}

func gather[V any](in processor.Upstream[V], name string, of func(V) word) processor.Stream[word] {
	return processor.Map(processor.KeyBy(in, name, func(V) string { return everything }), of)
}

// silenceRow is what is kept of a silence; of one that is over or was removed, its version.
type silenceRow struct {
	Version         alerting.Version `json:"version"`
	Silence         *Silence         `json:"silence,omitzero"`
	Acknowledgement *Acknowledgement `json:"acknowledgement,omitzero"`
	// Used is when a silence that ends unused was last known to be in use, Next when the row is to be looked at.
	Used time.Time `json:"used,omitzero"`
	Next time.Time `json:"next,omitzero"`
}

// enforce makes a dispatcher have what the row has, and nothing else of that ID.
func (r *silenceRow) enforce(d *Dispatcher, id string) {
	if r.Silence != nil {
		d.Silence(*r.Silence)
	} else {
		d.Unsilence(id)
	}
	if r.Acknowledgement != nil {
		d.Acknowledge(*r.Acknowledgement)
	} else {
		d.Unacknowledge(id)
	}
}

// task is a dispatcher whose memory is the state of a task.
type task struct {
	c           *processor.Context[Notification]
	cfg         Config
	alerts      *processor.KeyValue[known]
	groups      *processor.KeyValue[Group]
	log         *processor.KeyValue[Entry]
	silences    *processor.KeyValue[silenceRow]
	generations *processor.KeyValue[uint64]

	// d is made of the stores and belongs to a generation of them: a record that fails takes back what it did to the stores.
	d          *Dispatcher
	generation uint64
}

// Timers, by what their keys begin with.
const (
	timerGroup   = "group:"
	timerLog     = "log:"
	timerSilence = "silence:"
)

func (t *task) record(r processor.Record[word]) error {
	return t.with(func(d *Dispatcher) error {
		now := t.c.Now()
		if s := r.Value.silence; s != nil {
			return t.silence(d, s, now)
		}
		if a := r.Value.alert; a != nil {
			if err := a.Validate(); err != nil {
				return fmt.Errorf("the alert is refused: %w", err)
			}
			a.Fingerprint = Fingerprint(a.Labels)
			d.Take(*a, now)
			return nil
		}
		if alert, ok := fromAlarm(r.Value.alarm, d.cfg.KeyLabel, now); ok {
			d.Take(alert, now)
		}
		return nil
	})
}

// with lets f change the dispatcher and stores what it has changed. A dispatcher that f leaves half-changed, by an error or a panic, is made
// anew.
func (t *task) with(f func(*Dispatcher) error) error {
	d, err := t.ready()
	t.d = nil
	if err == nil {
		d.trace = t.c.Trace()
		err = f(d)
	}
	if err == nil {
		err = t.save(d)
	}
	if err == nil {
		t.d = d
	}
	return err
}

func (t *task) silence(d *Dispatcher, s *SilenceChange, now time.Time) error {
	row, known := t.silences.Get(s.ID)
	if known && !row.Version.Before(s.Version) {
		return nil
	}
	if err := s.Validate(); err != nil {
		return fmt.Errorf("silence %s is refused and the one before stays: %w", s.ID, err)
	}
	row = silenceRow{Version: s.Version}
	if !s.Removed() && s.ends().After(now) {
		if s.Silence != nil {
			own := *s.Silence
			own.ID, row.Silence = s.ID, &own
		} else {
			own := *s.Acknowledgement
			own.ID, row.Acknowledgement = s.ID, &own
		}
	}
	row.enforce(d, s.ID)
	if err := t.begin(d, s.ID, &row, now); err != nil {
		return err
	}
	t.silences.Put(s.ID, row)
	return nil
}

// longest is how far ahead timers are set: a silence that ends later is one for ever, until it is changed.
const longest = 100 * 365 * 24 * time.Hour

func (t *task) timer(tm processor.Timer) error {
	return t.with(func(d *Dispatcher) error {
		now := t.c.Now()
		if id, ok := strings.CutPrefix(tm.Key, timerGroup); ok {
			trace := d.traceOf(id) // those that are resolved go
			for _, n := range d.Flush(id, now) {
				t.c.Forward(processor.Record[Notification]{Key: n.Receiver, Value: n, Time: n.At, Headers: trace})
			}
		}
		if key, ok := strings.CutPrefix(tm.Key, timerLog); ok {
			d.expire(key, now)
		}
		if id, ok := strings.CutPrefix(tm.Key, timerSilence); ok {
			return t.look(d, id, now)
		}
		return nil
	})
}

// ready is the dispatcher, made of what the stores have unless it is.
func (t *task) ready() (*Dispatcher, error) {
	generation, _ := t.generations.Get("")
	if t.d != nil && generation == t.generation {
		return t.d, nil
	}
	d, err := New(t.cfg)
	if err != nil {
		return nil, err
	}
	d.add(stored{
		alerts: maps.Collect(t.alerts.All()), groups: maps.Collect(t.groups.All()), log: maps.Collect(t.log.All()),
	})
	for fingerprint, k := range d.alerts {
		d.enter(fingerprint, k)
	}
	for id, row := range t.silences.All() {
		row.enforce(d, id)
		if row.Silence != nil && row.Silence.UnusedFor > 0 {
			d.used[id] = row.Used
		}
	}
	t.generation = generation
	return d, nil
}

// save stores what has changed, and sets the timers of it.
func (t *task) save(d *Dispatcher) error {
	changed := d.changed
	d.changed = newChanged()
	t.generation++
	t.generations.Put("", t.generation)
	for fingerprint := range changed.alerts {
		if k, ok := d.alerts[fingerprint]; ok {
			t.alerts.Put(fingerprint, known{Alert: k.Alert, In: k.In, Begun: k.Begun, Updated: k.Updated, Trace: k.Trace})
		} else {
			t.alerts.Delete(fingerprint)
		}
	}
	for id := range changed.groups {
		g, ok := d.groups[id]
		if !ok {
			t.groups.Delete(id)
			continue
		}
		t.groups.Put(id, Group{Route: g.Route, Labels: g.Labels, Next: g.Next, Flushed: g.Flushed})
		if err := t.c.ScheduleWall(timerGroup+id, g.Next); err != nil {
			return err
		}
	}
	t.saveUse(d, changed.used)
	for key := range changed.log {
		e, ok := d.log[key]
		if !ok {
			t.log.Delete(key)
			continue
		}
		t.log.Put(key, *e)
		if err := t.c.ScheduleWall(timerLog+key, e.Expires); err != nil {
			return err
		}
	}
	return nil
}

// add takes alerts, groups and what was told from stores.
func (d *Dispatcher) add(s stored) {
	for id, g := range s.groups {
		g.members = make(map[string]bool)
		d.groups[id] = &g
	}
	for fingerprint, row := range s.alerts {
		k := &known{Alert: row.Alert, In: row.In, Begun: row.Begun, Updated: row.Updated, Trace: row.Trace}
		d.alerts[fingerprint] = k
		d.link(k)
	}
	clear(d.log)
	for key, e := range s.log {
		d.log[key] = &e
	}
}

// enter makes an alert a member of the groups that it is in.
func (d *Dispatcher) enter(fingerprint string, k *known) {
	for id := range k.In {
		if g, ok := d.groups[id]; ok {
			g.members[fingerprint] = true
		}
	}
}

// expire forgets what was told of a group long ago.
func (d *Dispatcher) expire(key string, now time.Time) {
	if e, ok := d.log[key]; ok && !now.Before(e.Expires) {
		delete(d.log, key)
		d.changed.log[key] = true
	}
}
