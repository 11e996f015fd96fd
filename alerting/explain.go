package alerting

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// Explanation says where an alarm is in its life, and why. Its String is for people.
type Explanation struct {
	Rule   string            `json:"rule"`
	Key    string            `json:"key"`
	Labels map[string]string `json:"labels,omitempty"`
	// Fingerprint is that of the alarm.
	Fingerprint string `json:"fingerprint"`
	// State is where it is; Inactive: there is no alarm. Flapping says that nothing is heard of it, because it changes too often.
	State    State  `json:"state"`
	Flapping bool   `json:"flapping,omitzero"`
	Severity string `json:"severity,omitzero"`
	// Since is the time of the first breach; zero: there is none.
	Since time.Time `json:"since,omitzero"`
	// Measured says that Value is known: the rule's measure of what has come. Without a breach in hand, rules that judge single samples do not keep it.
	Measured bool    `json:"measured"`
	Value    float64 `json:"value"`
	// ValueAt is the time that Value is of; zero: of the last breach.
	ValueAt time.Time `json:"valueAt,omitzero"`
	Peak    float64   `json:"peak,omitzero"`
	// Threshold is that of the severity, or of the least one.
	Threshold float64 `json:"threshold"`
	// StreamTime is the event time that the app has come to, in the task that judges the key.
	StreamTime time.Time `json:"streamTime,omitzero"`
	// Why says what makes it fire, or what keeps it from firing.
	Why string `json:"why"`
}

// String says it in a line.
func (e Explanation) String() string {
	var b strings.Builder
	state := string(e.State)
	if e.State == Inactive {
		state = "ok"
	}
	fmt.Fprintf(&b, "rule %s, key %q", e.Rule, e.Key)
	for _, name := range slices.Sorted(maps.Keys(e.Labels)) {
		fmt.Fprintf(&b, ", %s=%q", name, e.Labels[name])
	}
	fmt.Fprintf(&b, ": %s", state)
	if e.Severity != "" && e.State != Inactive {
		fmt.Fprintf(&b, " (%s)", e.Severity)
	}
	if !e.Since.IsZero() {
		fmt.Fprintf(&b, " since %s", e.Since.UTC().Format(time.RFC3339))
	}
	if e.Measured {
		fmt.Fprintf(&b, ", value %v", e.Value)
		if !e.ValueAt.IsZero() {
			fmt.Fprintf(&b, " at %s", e.ValueAt.UTC().Format(time.RFC3339))
		}
	}
	fmt.Fprintf(&b, ": %s", e.Why)
	return b.String()
}

// Explain asks a running app where the alarms of the rule for a key are: one for each set of labels, or one that is Inactive. The app answers if
// it runs with processor.Config.Queries. The rule is as Threshold was given it. The error wraps processor.ErrNoStore if the topology does not
// have it.
func (r Rule[V]) Explain(ctx context.Context, client *stream.Client, t *processor.Topology, key string) ([]Explanation, error) {
	a := asker[V]{client: client, topology: t, operator: r.Name, th: &threshold[V]{rule: r, levels: r.levels()}}
	list, err := a.explain(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("explain rule %s: %w", r.Name, err)
	}
	return list, nil
}

// Explain is Rule.Explain for a rule that changes while the app runs. There is none if the app does not have the rule.
func (l Live[V]) Explain(ctx context.Context, client *stream.Client, t *processor.Topology, rule, key string) ([]Explanation, error) {
	if l.MaxWindow <= 0 {
		l.MaxWindow = defaultMaxWindow
	}
	list, err := l.explain(ctx, &asker[V]{client: client, topology: t, operator: l.Name}, rule, key)
	if err != nil {
		return nil, fmt.Errorf("explain rule %s: %w", rule, err)
	}
	return list, nil
}

func (l *Live[V]) explain(ctx context.Context, a *asker[V], name, key string) ([]Explanation, error) {
	rows, err := ask[ruleRow](a, "rules")
	if err != nil {
		return nil, err
	}
	at, err := rows.Get(ctx, key) // for the partition of the key: rules are in all of them
	if err != nil {
		return nil, err
	}
	answer, err := rows.At(at.Partition).Get(ctx, name)
	if err != nil || len(answer.Rows) == 0 || answer.Rows[0].Value.Text == "" {
		return nil, err
	}
	row := answer.Rows[0].Value
	loaded, err := l.read(name, row.Text)
	if err != nil {
		return []Explanation{{Rule: name, Key: key, State: Failed, StreamTime: answer.StreamTime, Why: "the rule in force cannot be read: " + err.Error()}}, nil
	}
	a.th = &threshold[V]{rule: loaded.Rule, levels: loaded.Rule.levels(), prefix: prefixOf(name, row.Since)}
	return a.explain(ctx, key)
}

// asker asks the stores of a rule.
type asker[V any] struct {
	client   *stream.Client
	topology *processor.Topology
	operator string
	th       *threshold[V]
}

// judged is what the stores have of one alarm.
type judged[V any] struct {
	state  keyState
	latest latest[V]
	points []point
	now    time.Time
}

func ask[T, V any](a *asker[V], store string) (*processor.Query[T], error) {
	return processor.NewQuery[T](a.client, a.topology, processor.QueryConfig{Operator: a.operator, Store: store})
}

func (a *asker[V]) explain(ctx context.Context, key string) ([]Explanation, error) {
	states, err := ask[keyState](a, "alarms")
	if err != nil {
		return nil, err
	}
	where, err := states.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*judged[V])
	err = rowsFor(ctx, a, states.At(where.Partition), key, func(store string, s keyState) { a.of(found, store).state = s })
	if err == nil && a.th.rule.timed() {
		var newest *processor.Query[latest[V]]
		if newest, err = ask[latest[V]](a, "latest"); err == nil {
			err = rowsFor(ctx, a, newest.At(where.Partition), key, func(store string, l latest[V]) { a.of(found, store).latest = l })
		}
	}
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		a.of(found, a.storeKey(key))
	}
	var list []Explanation
	for _, store := range slices.Sorted(maps.Keys(found)) {
		j := found[store]
		j.now = where.StreamTime
		if a.th.rule.Over.windowed() {
			if j.points, err = a.points(ctx, where.Partition, store, j.now); err != nil {
				return nil, err
			}
		}
		list = append(list, a.say(store, j))
	}
	return list, nil
}

func (a *asker[V]) of(found map[string]*judged[V], store string) *judged[V] {
	if found[store] == nil {
		found[store] = &judged[V]{}
	}
	return found[store]
}

// storeKey is what the state of a key is kept under, or what that begins with if records have labels.
func (a *asker[V]) storeKey(key string) string {
	if a.th.rule.By == nil {
		return a.th.prefix + key
	}
	var b strings.Builder
	b.WriteString(a.th.prefix)
	writeText(&b, key)
	return b.String()
}

// rowsFor asks for what a store has of a key.
func rowsFor[T, V any](ctx context.Context, a *asker[V], q *processor.Query[T], key string, each func(string, T)) error {
	store := a.storeKey(key)
	if a.th.rule.By == nil {
		answer, err := q.Get(ctx, store)
		for _, row := range answer.Rows {
			each(row.Key, row.Value)
		}
		return err
	}
	for answer, err := range q.Range(ctx, store, store+":") { // what follows begins with a digit
		if err != nil {
			return err
		}
		for _, row := range answer.Rows {
			each(row.Key, row.Value)
		}
	}
	return nil
}

// points are the samples in the window that ends now.
func (a *asker[V]) points(ctx context.Context, partition int, store string, now time.Time) (points []point, err error) {
	q, err := ask[point](a, "samples")
	if err != nil {
		return nil, err
	}
	for answer, err := range q.At(partition).Windows(ctx, store, now.Add(1-a.th.rule.Over.window), now) {
		if err != nil {
			return nil, err
		}
		for _, row := range answer.Rows {
			points = append(points, row.Value)
		}
	}
	return points, nil
}

func (a *asker[V]) say(store string, j *judged[V]) Explanation {
	id := a.th.identified(store)
	alarm := Alarm{Rule: a.th.rule.Name, Key: id.key, Labels: id.labels}
	e := Explanation{
		Rule: alarm.Rule, Key: alarm.Key, Labels: maps.Clone(id.labels), Fingerprint: alarm.Fingerprint(), StreamTime: j.now,
	}
	level := &a.th.levels[0]
	if hand := j.state.Alarm; hand != nil {
		e.State, e.Since, e.Flapping, e.Peak = hand.State, hand.Since, hand.Flaps.Flapping, hand.Peak
		if hand.Level > 0 && hand.Level <= len(a.th.levels) {
			level = &a.th.levels[hand.Level-1]
			e.Measured, e.Value = true, hand.Value
		}
	}
	e.Severity, e.Threshold = level.Severity, level.When.Threshold()
	a.measure(&e, j)
	e.Why = a.why(&e, level, j)
	return e
}

// measure finds the value that would be judged now, where that can be told.
func (a *asker[V]) measure(e *Explanation, j *judged[V]) {
	rule := &a.th.rule
	switch {
	case rule.Over.windowed():
		if value, ok := rule.Over.of(j.points); ok {
			e.Measured, e.Value, e.ValueAt = true, value, j.now
		}
	case rule.Combine != nil && j.latest.Series != nil:
		if value, ok := rule.Combine(Latest{j.latest.Series, j.now, rule.lookback()}); ok {
			e.Measured, e.Value, e.ValueAt = true, value, j.now
		}
	case rule.timed() && rule.Over.kind == measureNone && !j.latest.Time.IsZero() && !j.latest.Gone:
		e.Measured, e.Value, e.ValueAt = true, j.latest.Sample, j.latest.Time
	}
}

func (a *asker[V]) why(e *Explanation, level *Level[V], j *judged[V]) string {
	rule, hand := &a.th.rule, j.state.Alarm
	if hand == nil {
		hand = &episode{}
	}
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	why := ""
	switch e.State {
	case Pending:
		why = fmt.Sprintf("%s; it must last for %v: it fires at %s at the earliest", level.When.said(), rule.For, stamp(hand.Since.Add(rule.For)))
	case Firing:
		why = level.When.said()
		if ends, ok := (&Machine{State: hand.State, Since: hand.Since, MaxDuration: rule.MaxDuration}).Expires(); ok {
			why += "; it is ended at " + stamp(ends)
		}
	case Recovering:
		why = fmt.Sprintf("the breach is over since %s; it keeps firing for %v: it is resolved at %s at the earliest", stamp(hand.Calm), rule.KeepFiringFor,
			stamp(hand.Calm.Add(rule.KeepFiringFor)))
	case NoData:
		why = "nothing has come for it lately"
	case Failed:
		why = "what came last could not be judged"
	case Expired:
		why = fmt.Sprintf("it has lasted for %v and was ended: it is silent until the breach is over", rule.MaxDuration)
	default:
		why = a.whyNot(e, level, j)
	}
	if e.Flapping {
		why += "; it changes too often: nothing is told of it until that is over"
	}
	return why
}

// whyNot says what keeps an alarm from firing that is not there.
func (a *asker[V]) whyNot(e *Explanation, level *Level[V], j *judged[V]) string {
	switch {
	case j.latest.Error != "":
		return "what came last cannot be judged: " + j.latest.Error
	case !e.Measured && a.th.rule.Over.windowed():
		return fmt.Sprintf("there are %d samples within %v: too few, or none", len(j.points), a.th.rule.Over.window)
	case !e.Measured:
		return "there is no breach: what was judged last was none, or nothing has come; " + level.When.said() + " is one"
	case level.When.direction == 0 || level.When.Breached(e.Value):
		return "the value would be a breach, but another condition does not hold or it was not judged yet"
	}
	return "the value is no breach: " + level.When.said() + " is one"
}

// said says what a breach is.
func (c Condition) said() string {
	switch {
	case c.direction > 0:
		return fmt.Sprintf("a value above %v", c.threshold)
	case c.direction < 0:
		return fmt.Sprintf("a value below %v", c.threshold)
	}
	return "its condition"
}
