package alerting

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/processor"
)

// Live says how rules that change while the app runs are read.
type Live[V any] struct {
	// Name is the name of the operator, unique in the topology; state is kept under it. Required.
	Name string
	// Changes are the changes of the rules, a topic made with RuleChanges. Required.
	Changes processor.Stream[RuleChange]
	// Read reads the text of a rule, as rulesfile.ParseRule does. Required.
	Read func(name, text string) (Loaded[V], error)
	// Series names what a value is a sample of, for rules that look at some series only. Required if there are any.
	Series func(V) string
	// MaxWindow is how much of the past a rule's measure may look at. A rule that asks for more is refused. Zero: 24 hours.
	MaxWindow time.Duration
}

const defaultMaxWindow = 24 * time.Hour

// ThresholdLive raises alarms by rules that are added, changed and removed while the app runs. They come as records, one for each
// partition, and a task keeps those in force among its state: a crash, a restart, a move to another instance and a replay find the
// rules that belong to the position.
//
// A change touches its own rule only. Where it leaves alone what the alarms are about (Loaded.Basis), as one of a threshold or of For
// does, alarms that fire go on and are judged anew by the next sample, and what is pending begins anew. Else, and when the rule is
// removed, alarms that fire are resolved, with a reason, and the rule begins with nothing.
//
// A change that cannot be read is a failed record and changes nothing. A rule in force that a later version of the program cannot read
// any more is an alarm of its own, with the state Failed and no key; its alarms stay as they are until it is changed.
// A record that fails one rule is judged by the others all the same.
func ThresholdLive[V any](in processor.Upstream[V], l Live[V]) processor.Stream[Alarm] {
	switch {
	case l.Read == nil:
		processor.Mistake(in, "ThresholdLive %s: there is no Read", l.Name)
	case l.Changes == (processor.Stream[RuleChange]{}):
		processor.Mistake(in, "ThresholdLive %s: Changes is a zero Stream: start it with processor.From and a topic of alerting.RuleChanges", l.Name)
	case l.MaxWindow < 0:
		processor.Mistake(in, "ThresholdLive %s: MaxWindow must be zero or more, got %v", l.Name, l.MaxWindow)
	}
	if l.MaxWindow <= 0 {
		l.MaxWindow = defaultMaxWindow
	}
	samples := processor.Map(in, func(v V) subject[V] { return subject[V]{value: v} })
	changes := processor.Map(l.Changes, func(c RuleChange) subject[V] { return subject[V]{change: &c} })
	return processor.Process(samples.Merge(changes), l.Name, func(c *processor.Context[Alarm]) processor.Handler[subject[V]] {
		t := &liveTask[V]{
			c: c, live: l,
			rows: processor.KeyValueStore[ruleRow](c, "rules"), generations: processor.KeyValueStore[uint64](c, "generation"),
			states: processor.KeyValueStore[keyState](c, "alarms"), latest: processor.KeyValueStore[latest[V]](c, "latest"),
			history: history{
				points: processor.WindowStore[point](c, "samples", l.MaxWindow), bases: processor.KeyValueStore[baseline](c, "baselines"),
				slots: processor.KeyValueStore[seasonSlot](c, "slots"),
			},
		}
		return processor.Handler[subject[V]]{Record: t.record, Timer: t.timer}
	})
}

// subject is what such an operator takes: a sample or a change.
type subject[V any] struct {
	value  V
	change *RuleChange
}

// ruleRow is what a task keeps of a rule; one that was removed leaves its version.
type ruleRow struct {
	// Seen is the newest version that has come.
	Seen Version `json:"seen"`
	// Text is that of the rule in force, Since the version since which its alarms and samples are the same ones.
	Text  string  `json:"text,omitzero"`
	Since Version `json:"since,omitzero"`
	// Broken is why the program cannot read Text any more.
	Broken string `json:"broken,omitzero"`
	// Waiting are changes that hold from a later time on, the earliest first.
	Waiting []RuleChange `json:"waiting,omitempty"`
}

// liveTask are changing rules in one task.
type liveTask[V any] struct {
	c           *processor.Context[Alarm]
	live        Live[V]
	rows        *processor.KeyValue[ruleRow]
	generations *processor.KeyValue[uint64]
	states      *processor.KeyValue[keyState]
	latest      *processor.KeyValue[latest[V]]
	history     history

	// What follows is made of rows, and belongs to a generation of them: a record that fails takes back what it did to the store.
	generation uint64
	rules      map[string]*running[V]
	bySeries   map[string][]*running[V]
	everything []*running[V] // those that look at all records
}

// running is a rule in force.
type running[V any] struct {
	loaded    Loaded[V]
	threshold *threshold[V]
}

// ofRule is what timers of changes begin with; those of alarms begin with a digit.
const ofRule = "rule:"

func (t *liveTask[V]) record(r processor.Record[subject[V]]) error {
	if err := t.refresh(); err != nil {
		return err
	}
	if r.Value.change != nil {
		return t.change(*r.Value.change)
	}
	if r.Key == "" {
		return errNoKey
	}
	rec := processor.Record[V]{Key: r.Key, Value: r.Value.value, Time: r.Time, Headers: r.Headers, Window: r.Window}
	errs := t.judge(t.everything, rec, nil)
	if len(t.bySeries) > 0 && t.live.Series != nil {
		errs = t.judge(t.bySeries[t.live.Series(rec.Value)], rec, errs)
	}
	return processor.Partial(errors.Join(errs...))
}

func (t *liveTask[V]) judge(rules []*running[V], rec processor.Record[V], errs []error) []error {
	for _, r := range rules {
		var err error
		if r.threshold.rule.timed() {
			err = r.threshold.take(rec)
		} else {
			err = r.threshold.record(rec)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func (t *liveTask[V]) timer(tm processor.Timer) error {
	if err := t.refresh(); err != nil {
		return err
	}
	if name, ok := strings.CutPrefix(tm.Key, ofRule); ok {
		return t.due(name, tm.At)
	}
	name, _ := readText(tm.Key)
	r, ok := t.rules[name]
	if !ok || !strings.HasPrefix(tm.Key, r.threshold.prefix) {
		return nil // of a rule that is no more
	}
	return r.threshold.timer(tm)
}

// refresh makes the rules of what the store has, unless they are.
func (t *liveTask[V]) refresh() error {
	generation, _ := t.generations.Get("")
	if t.rules != nil && generation == t.generation {
		return nil
	}
	t.generation, t.rules = generation, make(map[string]*running[V])
	for _, name := range withPrefix(t.rows, "") {
		row, _ := t.rows.Get(name)
		if row.Text == "" {
			continue
		}
		r, err := t.run(name, row.Text, row.Since)
		if err == nil {
			t.rules[name] = r
		}
		if (err != nil) != (row.Broken != "") {
			t.breaks(name, row, err)
		}
	}
	t.index()
	return nil
}

// breaks tells that a rule in force cannot be read any more, or can be again.
func (t *liveTask[V]) breaks(name string, row ruleRow, err error) {
	now := t.c.StreamTime()
	a := Alarm{Rule: name, State: Resolved, Since: now, At: now, Reason: "the rule can be read again", Context: []byte("null")}
	row.Broken = ""
	if err != nil {
		row.Broken = err.Error()
		a.State, a.Reason = Failed, "the rule cannot be read any more: "+row.Broken
	}
	t.put(name, row)
	t.c.Forward(processor.Record[Alarm]{Value: a, Time: now})
}

// put changes a row, and the generation with it: memory that is ahead of the store, or behind, shows.
func (t *liveTask[V]) put(name string, row ruleRow) {
	t.rows.Put(name, row)
	t.generation++
	t.generations.Put("", t.generation)
}

// run makes a rule ready.
func (t *liveTask[V]) run(name, text string, since Version) (*running[V], error) {
	loaded, err := t.live.read(name, text)
	if err != nil {
		return nil, err
	}
	texts, err := loaded.Rule.annotations()
	if err != nil {
		return nil, err
	}
	rule := loaded.Rule
	th := &threshold[V]{c: t.c, rule: rule, levels: rule.levels(), texts: texts, states: t.states, history: t.history, prefix: prefixOf(name, since)}
	th.history.measure, th.history.forget = rule.Over, rule.Over.window+rule.Every
	if rule.timed() {
		th.latest = t.latest
	}
	return &running[V]{loaded, th}, nil
}

func (l *Live[V]) read(name, text string) (loaded Loaded[V], err error) {
	_, err = attempt(func() ([]byte, error) {
		loaded, err = l.Read(name, text)
		return nil, err
	})
	if err == nil {
		err = l.check(name, &loaded)
	}
	return loaded, err
}

func (l *Live[V]) check(name string, loaded *Loaded[V]) error {
	rule := &loaded.Rule
	switch looksBack := rule.Over.window + rule.Every; {
	case rule.Name != name:
		return fmt.Errorf("the rule says that its name is %q, not %q: call it by one name", rule.Name, name)
	case rule.Over.windowed() && looksBack > l.MaxWindow:
		return fmt.Errorf("the rule looks back at %v: at most %v is kept here", looksBack, l.MaxWindow)
	case len(loaded.Series) > 0 && l.Series == nil:
		return fmt.Errorf("the rule looks at %s, and there are no series here", strings.Join(loaded.Series, ", "))
	}
	return rule.Validate()
}

// prefixOf is what the keys of a rule's state begin with.
func prefixOf(name string, since Version) string {
	var b strings.Builder
	writeText(&b, name)
	writeText(&b, fmt.Sprintf("%d.%d", since.Epoch, since.Revision))
	return b.String()
}

// change takes a change: at once, or when its time comes.
func (t *liveTask[V]) change(c RuleChange) error {
	row, known := t.rows.Get(c.Name)
	if known && !row.Seen.Before(c.Version) {
		return nil
	}
	if c.Text != "" {
		if _, err := t.run(c.Name, c.Text, c.Version); err != nil {
			return fmt.Errorf("rule %s, revision %d, is refused and the one before stays in force: %w", c.Name, c.Version.Revision, err)
		}
	}
	row.Seen, row.Waiting = c.Version, waiting(row.Waiting, c)
	if c.From.After(t.c.StreamTime()) {
		t.put(c.Name, row)
		return t.c.Schedule(ofRule+c.Name, c.From)
	}
	row.Waiting = nil
	return t.adopt(row, c)
}

// due adopts the change whose time has come.
func (t *liveTask[V]) due(name string, now time.Time) error {
	row, _ := t.rows.Get(name)
	for len(row.Waiting) > 0 && !row.Waiting[0].From.After(now) {
		c := row.Waiting[0]
		row.Waiting = row.Waiting[1:]
		if err := t.adopt(row, c); err != nil {
			return err
		}
		row, _ = t.rows.Get(name)
	}
	return nil
}

// adopt puts a change in force.
func (t *liveTask[V]) adopt(row ruleRow, c RuleChange) error {
	old := t.rules[c.Name]
	if old == nil && row.Text != "" {
		old = t.orphan(c.Name, row.Since)
	}
	now := t.c.StreamTime()
	since, next, err := c.Version, (*running[V])(nil), error(nil)
	if c.Text != "" {
		if next, err = t.run(c.Name, c.Text, since); err != nil {
			return err
		}
	}
	same := old != nil && next != nil && old.loaded.Basis == next.loaded.Basis && old.loaded.Rule.Name != ""
	switch {
	case same:
		since = row.Since
		next.threshold.prefix = prefixOf(c.Name, since)
		err = next.threshold.carryOn()
	case old != nil && next != nil:
		t.end(old, now, "the rule was changed")
	case old != nil:
		t.end(old, now, "the rule was removed")
	}
	if row.Broken != "" {
		t.breaks(c.Name, row, nil)
	}
	row.Text, row.Since, row.Broken = c.Text, since, ""
	t.put(c.Name, row)
	delete(t.rules, c.Name)
	if next != nil {
		t.rules[c.Name] = next
	}
	t.index()
	return err
}

// orphan stands for a rule that cannot be read any more.
func (t *liveTask[V]) orphan(name string, since Version) *running[V] {
	return &running[V]{threshold: &threshold[V]{
		c: t.c, rule: Rule[V]{Name: name}, levels: make(levels[V], 1), states: t.states, history: t.history, prefix: prefixOf(name, since),
	}}
}

// end resolves the alarms of a rule and forgets what it knows. Its samples go when their time has come.
func (t *liveTask[V]) end(r *running[V], now time.Time, reason string) {
	r.threshold.end(now, reason)
	prefix := r.threshold.prefix
	forget(t.latest, prefix)
	forget(t.history.bases, prefix)
	forget(t.history.slots, prefix)
}

func forget[V any](s *processor.KeyValue[V], prefix string) {
	for _, key := range withPrefix(s, prefix) {
		s.Delete(key)
	}
}

// index sorts the rules by the series that they look at, each list by name: the order of alarms is always the same.
func (t *liveTask[V]) index() {
	names := make([]string, 0, len(t.rules))
	for name := range t.rules {
		names = append(names, name)
	}
	slices.Sort(names)
	t.everything, t.bySeries = nil, make(map[string][]*running[V])
	for _, name := range names {
		r := t.rules[name]
		for _, s := range r.loaded.Series {
			t.bySeries[s] = append(t.bySeries[s], r)
		}
		if len(r.loaded.Series) == 0 {
			t.everything = append(t.everything, r)
		}
	}
}
