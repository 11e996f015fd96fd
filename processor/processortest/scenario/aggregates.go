package scenario

import (
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/rossby-streams/rossby/processor"
)

// Operators are the kinds that package processor has: every package can run them, by themselves or inside of its own. Spans are in
// milliseconds of event time. Where a topic stands, an operator may stand.
//
//   - "aggregate": "input" and "aggregate"; or "inputs", topics each with an aggregate of its own (a co-group).
//   - "windowed-aggregate": also "size_ms", "advance_ms" (tumbling without it), "grace_ms", and "emit": "on-update" (the default)
//     or "on-close". "sliding-aggregate" has "diff_ms" in place of the size, "session-aggregate" has "gap_ms",
//     and may have "max_length_ms". "calendar-aggregate" has "calendar": "day", "week" (from Monday) or "month", and "zone", such as
//     "Europe/Berlin" (UTC without it).
//   - "suppress": an aggregate, in any member, and "until": "window-close", which is "emit": "on-close".
//
// An aggregate is {"init", "add", "merge"}, templates of {agg} and {value}, and of {one} and {two} for sessions; or {"fn": "count"},
// "sum", "sorted-concat", or "reduce" with "add".
func Operators() map[string]Bind {
	return map[string]Bind{
		"aggregate":          bindAggregate,
		"windowed-aggregate": bindAggregate,
		"sliding-aggregate":  bindAggregate,
		"session-aggregate":  bindAggregate,
		"calendar-aggregate": bindAggregate,
		"suppress":           bindSuppress,
	}
}

// aggregateSpec is an operator that aggregates, with windows or without.
type aggregateSpec struct {
	Kind      string                     `json:"kind"`
	Input     *Source                    `json:"input"`
	Inputs    map[string]aggregationSpec `json:"inputs"`
	Aggregate *aggregationSpec           `json:"aggregate"`
	Size      *int64                     `json:"size_ms"`
	Advance   *int64                     `json:"advance_ms"`
	Diff      *int64                     `json:"diff_ms"`
	Gap       *int64                     `json:"gap_ms"`
	MaxLength int64                      `json:"max_length_ms"`
	Calendar  string                     `json:"calendar"`
	Zone      string                     `json:"zone"`
	Grace     int64                      `json:"grace_ms"`
	Emit      string                     `json:"emit"`
}

// Millis is a span of a case.
func Millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// windows returns the windows that the kind of the operator asks for.
func (s *aggregateSpec) windows() (processor.Windows, error) {
	switch s.Kind {
	case "windowed-aggregate":
		if s.Advance == nil {
			s.Advance = s.Size
		}
		return spanned(s.Kind, "size_ms", s.Size, func(size time.Duration) processor.Windows {
			return processor.Hopping(size, Millis(*s.Advance))
		})
	case "sliding-aggregate":
		return spanned(s.Kind, "diff_ms", s.Diff, processor.Sliding)
	case "session-aggregate":
		return spanned(s.Kind, "gap_ms", s.Gap, func(gap time.Duration) processor.Windows {
			return processor.Session(gap).MaxLength(Millis(s.MaxLength))
		})
	case "calendar-aggregate":
		return s.calendar()
	}
	return processor.Windows{}, nil
}

// spanned makes windows of the one span that they must have.
func spanned(kind, name string, n *int64, windows func(time.Duration) processor.Windows) (processor.Windows, error) {
	if n == nil {
		return processor.Windows{}, malformed("operator %s has no %s", kind, name)
	}
	return windows(Millis(*n)), nil
}

func (s *aggregateSpec) calendar() (processor.Windows, error) {
	loc, err := time.LoadLocation(s.Zone)
	if err != nil {
		return processor.Windows{}, malformed("operator %s: zone %q: %v", s.Kind, s.Zone, err)
	}
	switch s.Calendar {
	case "day":
		return processor.Daily(loc), nil
	case "week":
		return processor.Weekly(loc, time.Monday), nil
	case "month":
		return processor.Monthly(loc), nil
	}
	return processor.Windows{}, NotApplicable("calendar %q is not known", s.Calendar)
}

// bindAggregate makes an aggregate of any kind.
func bindAggregate(t *Topology, op Operator) (Result, error) {
	var spec aggregateSpec
	if err := op.Decode(&spec); err != nil {
		return Result{}, err
	}
	return makeAggregate(t, &spec)
}

// bindSuppress makes an aggregate that speaks only when a window closes, which is no operator of its own here. The aggregate is the
// one member that is an operator, whatever its name.
func bindSuppress(t *Topology, op Operator) (Result, error) {
	var members map[string]jsontext.Value
	if err := op.Decode(&members); err != nil {
		return Result{}, err
	}
	var inner *Operator
	until := ""
	for _, name := range slices.Sorted(maps.Keys(members)) {
		var nested Operator
		switch {
		case name == "kind":
		case name == "until":
			if err := json.Unmarshal(members[name], &until); err != nil {
				return Result{}, NotApplicable("suppress until %s", members[name])
			}
		case inner == nil && nested.UnmarshalJSON(members[name]) == nil:
			inner = &nested
		default:
			return Result{}, NotApplicable("operator suppress has the field %q, which is not known", name)
		}
	}
	if until != "window-close" {
		return Result{}, NotApplicable("suppress until %q", until)
	}
	if inner == nil {
		return Result{}, malformed("suppress has no aggregate in it")
	}
	var spec aggregateSpec
	if err := inner.Decode(&spec); err != nil {
		return Result{}, err
	}
	if windows, err := spec.windows(); err != nil || windows == (processor.Windows{}) {
		return Result{}, NotApplicable("suppress around operator %s, whose windows never close", spec.Kind)
	}
	spec.Emit = "on-close"
	return makeAggregate(t, &spec)
}

// makeAggregate makes the operator, of one input or of several.
func makeAggregate(t *Topology, spec *aggregateSpec) (Result, error) {
	windows, err := spec.windows()
	if err != nil {
		return Result{}, err
	}
	emit := processor.OnUpdate
	switch spec.Emit {
	case "", "on-update":
	case "on-close":
		emit = processor.OnClose
	default:
		return Result{}, NotApplicable("emit %q is not known", spec.Emit)
	}
	if spec.Inputs != nil {
		return coGroup(t, spec, windows, emit)
	}
	if spec.Input == nil || spec.Aggregate == nil {
		return Result{}, malformed("operator %s needs input and aggregate, or inputs", spec.Kind)
	}
	functions, err := spec.Aggregate.functions()
	if err != nil {
		return Result{}, err
	}
	in, err := t.Values(*spec.Input)
	if err != nil {
		return Result{}, err
	}
	out := processor.Aggregate(t.checked(in, functions), processor.Aggregation[string, sofar]{
		Name: t.Name(), Init: functions.init, Add: functions.add, Merge: functions.merge,
		Windows: windows, Grace: Millis(spec.Grace), Emit: emit,
	})
	t.Late(out.Late())
	return t.aggregated(out.Stream, out.Changes, emit), nil
}

// checked makes failed records of values that cannot be added.
func (t *Topology) checked(in processor.Stream[string], f *functions) processor.Stream[string] {
	if f.check == nil {
		return in
	}
	return processor.Process(in, t.Name(), func(c *processor.Context[string]) processor.Handler[string] {
		return processor.Handler[string]{Record: func(r processor.Record[string]) error {
			if err := f.check(r.Value); err != nil {
				return err
			}
			c.Forward(r)
			return nil
		}}
	})
}

// coGroup makes one aggregate of several topics, each with its own adder.
func coGroup(t *Topology, spec *aggregateSpec, windows processor.Windows, emit processor.Emit) (Result, error) {
	if spec.Input != nil || spec.Aggregate != nil || len(spec.Inputs) == 0 {
		return Result{}, malformed("operator %s needs input and aggregate, or inputs", spec.Kind)
	}
	var inputs []processor.Contribution[sofar]
	var first *functions
	for _, topic := range slices.Sorted(maps.Keys(spec.Inputs)) {
		aggregation := spec.Inputs[topic]
		each, err := aggregation.functions()
		if err != nil {
			return Result{}, err
		}
		if first == nil {
			first = each
		}
		inputs = append(inputs, processor.Adding(t.checked(t.Stream(topic), each), each.add))
	}
	out := processor.CoGroup(processor.CoGrouping[sofar]{
		Name: t.Name(), Init: first.init, Merge: first.merge, Windows: windows, Grace: Millis(spec.Grace), Emit: emit,
	}, inputs...)
	t.Late(processor.Map(out.Late(), func(v any) string { return v.(string) })) //nolint:forcetypeassert // all inputs are texts
	return t.aggregated(out.Stream, out.Changes, emit), nil
}

// aggregated gives the results of an aggregate: with every update what is taken back, too, and a table to look into; or what is final.
func (t *Topology) aggregated(results processor.Stream[sofar], changes func() processor.Stream[processor.Change[sofar]], emit processor.Emit) Result {
	if emit == processor.OnClose {
		return Result{processor.Map(results, func(a sofar) *string { return &a.Text })}
	}
	updates := processor.Map(changes(), func(c processor.Change[sofar]) *string {
		if c.New == nil {
			return nil
		}
		return &c.New.Text
	})
	t.Rows(updates)
	return Result{updates}
}
