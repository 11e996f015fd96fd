package notify

import (
	"fmt"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// SilenceChange is what a silence is from now on.
type SilenceChange struct {
	ID string `json:"id"`
	// Version orders the changes of the silence: one that is not newer than what has come is passed over.
	Version alerting.Version `json:"version"`
	// Silence is nil for one that was removed.
	Silence *Silence `json:"silence,omitzero"`
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

// Notify makes of alarms what receivers are told. silences may be a zero Stream. There is one of it in a topology.
func Notify(alarms processor.Upstream[alerting.Alarm], silences processor.Stream[SilenceChange], cfg Config) processor.Stream[Notification] {
	if _, err := New(cfg); err != nil {
		processor.Mistake(alarms, "Notify: %v", err)
		cfg = Config{Route: Route{Receiver: "none"}, Receivers: []Receiver{{Name: "none"}}}
	}
	in := processor.Map(processor.KeyBy(alarms, operator+"-alarms", func(alerting.Alarm) string { return everything }),
		func(a alerting.Alarm) word { return word{alarm: &a} })
	if silences != (processor.Stream[SilenceChange]{}) {
		in = in.Merge(processor.Map(processor.KeyBy(silences, operator+"-silences", func(SilenceChange) string { return everything }),
			func(s SilenceChange) word { return word{silence: &s} }))
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
	silence *SilenceChange
}

// silenceRow is what is kept of a silence; of one that is over or was removed, its version.
type silenceRow struct {
	Version alerting.Version `json:"version"`
	Silence *Silence         `json:"silence,omitzero"`
	// Used is when one that ends unused was last known to be in use, Next when it is to be looked at.
	Used time.Time `json:"used,omitzero"`
	Next time.Time `json:"next,omitzero"`
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
	if s.Silence != nil {
		if err := s.Silence.Validate(); err != nil {
			return fmt.Errorf("silence %s is refused and the one before stays: %w", s.ID, err)
		}
	}
	row = silenceRow{Version: s.Version, Silence: s.Silence}
	if s.Silence == nil || !s.Silence.EndsAt.After(now) {
		row.Silence = nil
		d.Unsilence(s.ID)
		delete(d.used, s.ID)
	} else {
		own := *s.Silence
		own.ID = s.ID
		row.Silence = &own
		if err := t.begin(d, &row, now); err != nil {
			return err
		}
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
			for _, n := range d.Flush(id, now) {
				t.c.Forward(processor.Record[Notification]{Key: n.Receiver, Value: n, Time: n.At})
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
	for id, g := range t.groups.All() {
		g.members = make(map[string]bool)
		d.groups[id] = &g
	}
	for fingerprint, k := range t.alerts.All() {
		d.restore(fingerprint, k)
	}
	for key, e := range t.log.All() {
		d.log[key] = &e
	}
	for id, row := range t.silences.All() {
		if row.Silence == nil {
			continue
		}
		d.Silence(*row.Silence)
		if row.Silence.UnusedFor > 0 {
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
			t.alerts.Put(fingerprint, known{Alert: k.Alert, In: k.In})
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

// restore takes an alert from a store.
func (d *Dispatcher) restore(fingerprint string, row known) {
	k := &known{Alert: row.Alert, In: row.In}
	d.alerts[fingerprint] = k
	d.link(k)
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
