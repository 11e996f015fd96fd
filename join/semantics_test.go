package join_test

import (
	"strings"
	"testing"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest/scenario"
)

// TestSemantics runs the scenario files of joins: see package scenario.
func TestSemantics(t *testing.T) {
	operators := scenario.Operators() // they may stand around a join, or in it
	operators["stream-stream-join"] = bindStreamStream
	operators["stream-table-join"] = bindStreamTable
	operators["stream-globaltable-join"] = bindGlobal
	operators["table-table-join"] = bindTables
	operators["windowed-table-join"] = bindTables
	operators["fk-join"] = bindForeignKey
	scenario.Run(t, scenario.Suite{Folder: "testdata/semantics", Operators: operators, Owns: scenario.Operator.Joins})
}

// bindStreamStream makes {"join": "inner", "left" or "outer", "left", "right", "before_ms", "after_ms", "grace_ms", "joiner", "unmatched"}, the
// last one "on-close" (the default) or "eager". Left and right may be one topic.
func bindStreamStream(t *scenario.Topology, op scenario.Operator) (scenario.Result, error) {
	var spec struct {
		Kind      string          `json:"kind"`
		Join      string          `json:"join"`
		Left      scenario.Source `json:"left"`
		Right     scenario.Source `json:"right"`
		Before    int64           `json:"before_ms"`
		After     int64           `json:"after_ms"`
		Grace     int64           `json:"grace_ms"`
		Joiner    string          `json:"joiner"`
		Unmatched string          `json:"unmatched"`
	}
	if err := op.Decode(&spec); err != nil {
		return scenario.Result{}, err
	}
	joiner, err := scenario.Joiner(spec.Joiner)
	if err != nil {
		return scenario.Result{}, err
	}
	left, err := t.Values(spec.Left)
	if err != nil {
		return scenario.Result{}, err
	}
	right, err := t.Values(spec.Right)
	if err != nil {
		return scenario.Result{}, err
	}
	w := join.Window{
		Name: t.Name(), Before: scenario.Millis(spec.Before), After: scenario.Millis(spec.After), Grace: scenario.Millis(spec.Grace),
	}
	if w.Emit, err = emit(spec.Join, spec.Unmatched); err != nil {
		return scenario.Result{}, err
	}
	l, r := scenario.WithKeys(t, left), scenario.WithKeys(t, right)
	var out join.Result[scenario.Keyed, scenario.Keyed, string]
	switch spec.Join {
	case "inner":
		out = join.Inner(l, r, w, func(l, r scenario.Keyed) string { return joinedText(joiner, &l, &r) })
	case "left":
		out = join.Left(l, r, w, func(l scenario.Keyed, r *scenario.Keyed) string { return joinedText(joiner, &l, r) })
	case "outer":
		out = join.Outer(l, r, w, func(l, r *scenario.Keyed) string { return joinedText(joiner, l, r) })
	default:
		return scenario.Result{}, scenario.NotApplicable("there is no %s join of streams", spec.Join)
	}
	lateLeft, lateRight := out.Late()
	t.Late(scenario.WithoutKeys(lateLeft))
	t.Late(scenario.WithoutKeys(lateRight))
	return scenario.Pointers(out), nil
}

// emit says when a join speaks of records without a partner.
func emit(verb, unmatched string) (join.Emit, error) {
	switch {
	case unmatched == "" || unmatched == "on-close":
		return join.OnClose, nil
	case unmatched == "eager" && verb == "inner":
		return join.OnClose, nil // it has none to speak of
	case unmatched == "eager":
		return join.OnUpdate, nil
	}
	return join.OnClose, scenario.NotApplicable("unmatched %q is not known", unmatched)
}

// joinedText joins what there is of a pair. What the joiner has no value for is a failed record: a joiner of this package fails by a panic.
func joinedText(joiner func(key string, left, right *string) (string, error), l, r *scenario.Keyed) string {
	var key string
	var left, right *string
	if l != nil {
		key, left = l.Key, &l.Value
	}
	if r != nil {
		key, right = r.Key, &r.Value
	}
	value, err := joiner(key, left, right)
	if err != nil {
		panic(err)
	}
	return value
}

// bindStreamTable makes {"join": "inner" or "left", "left", "table", "joiner", "grace_ms", "versioned": {"history_retention_ms"}}.
func bindStreamTable(t *scenario.Topology, op scenario.Operator) (scenario.Result, error) {
	var spec struct {
		Kind      string              `json:"kind"`
		Join      string              `json:"join"`
		Left      scenario.Source     `json:"left"`
		Table     scenario.Source     `json:"table"`
		Grace     int64               `json:"grace_ms"`
		Versioned *scenario.Versioned `json:"versioned"`
		Joiner    string              `json:"joiner"`
	}
	if err := op.Decode(&spec); err != nil {
		return scenario.Result{}, err
	}
	joiner, err := scenario.Joiner(spec.Joiner)
	if err != nil {
		return scenario.Result{}, err
	}
	left, err := t.Values(spec.Left)
	if err != nil {
		return scenario.Result{}, err
	}
	table, err := t.Table(spec.Table)
	if err != nil {
		return scenario.Result{}, err
	}
	how := join.Lookup{Name: t.Name(), Grace: scenario.Millis(spec.Grace)}
	if spec.Versioned != nil {
		how.History = scenario.Millis(spec.Versioned.History)
	}
	l := scenario.WithKeys(t, left)
	switch spec.Join {
	case "inner":
		return scenario.Pointers(join.Table(l, table, how, func(l scenario.Keyed, r string) string { return withRow(joiner, l, &r) })), nil
	case "left":
		return scenario.Pointers(join.TableLeft(l, table, how, func(l scenario.Keyed, r *string) string { return withRow(joiner, l, r) })), nil
	}
	return scenario.Result{}, scenario.NotApplicable("there is no %s join of a stream and a table", spec.Join)
}

// bindGlobal makes {"join": "inner" or "left", "left", "table", "joiner", "key_mapper": "key", "value", "null" or "value-second-csv-field"}.
func bindGlobal(t *scenario.Topology, op scenario.Operator) (scenario.Result, error) {
	var spec struct {
		Kind   string          `json:"kind"`
		Join   string          `json:"join"`
		Left   scenario.Source `json:"left"`
		Table  string          `json:"table"`
		Mapper *string         `json:"key_mapper"`
		Joiner string          `json:"joiner"`
	}
	if err := op.Decode(&spec); err != nil {
		return scenario.Result{}, err
	}
	joiner, err := scenario.Joiner(spec.Joiner)
	if err != nil {
		return scenario.Result{}, err
	}
	left, err := t.Values(spec.Left)
	if err != nil {
		return scenario.Result{}, err
	}
	by := join.By[scenario.Keyed]{Name: t.Name()}
	if by.Key, err = mapper(spec.Mapper); err != nil {
		return scenario.Result{}, err
	}
	l, rows := scenario.WithKeys(t, left), t.Global(spec.Table)
	switch spec.Join {
	case "inner":
		return scenario.Pointers(join.Global(l, rows, by, func(l scenario.Keyed, r string) string { return withRow(joiner, l, &r) })), nil
	case "left":
		return scenario.Pointers(join.GlobalLeft(l, rows, by, func(l scenario.Keyed, r *string) string { return withRow(joiner, l, r) })), nil
	}
	return scenario.Result{}, scenario.NotApplicable("there is no %s join of a stream and a global table", spec.Join)
}

// mapper returns the key of the row that a record looks up.
func mapper(name *string) (func(processor.Record[scenario.Keyed]) string, error) {
	if name == nil {
		return nil, nil
	}
	switch *name {
	case "key":
		return func(r processor.Record[scenario.Keyed]) string { return r.Key }, nil
	case "value":
		return func(r processor.Record[scenario.Keyed]) string { return r.Value.Value }, nil
	case "null":
		return func(processor.Record[scenario.Keyed]) string { return "" }, nil
	case "value-second-csv-field":
		return func(r processor.Record[scenario.Keyed]) string {
			if fields := strings.Split(r.Value.Value, ","); len(fields) > 1 {
				return fields[1]
			}
			return ""
		}, nil
	}
	return nil, scenario.NotApplicable("key_mapper %q is not known", *name)
}

// bindTables makes joins of tables, and of tables whose rows have a window beside their key ("windowed-table-join"): {"join": "inner", "left" or "outer", "left", "right", "joiner", "versioned": {topic: {"history_retention_ms"}}}.
func bindTables(t *scenario.Topology, op scenario.Operator) (scenario.Result, error) {
	var spec struct {
		Kind      string                        `json:"kind"`
		Join      string                        `json:"join"`
		Left      scenario.Source               `json:"left"`
		Right     scenario.Source               `json:"right"`
		Versioned map[string]scenario.Versioned `json:"versioned"`
		Joiner    string                        `json:"joiner"`
	}
	if err := op.Decode(&spec); err != nil {
		return scenario.Result{}, err
	}
	joiner, err := scenario.Joiner(spec.Joiner)
	if err != nil {
		return scenario.Result{}, err
	}
	side := func(s scenario.Source) (processor.Table[scenario.Keyed], error) {
		table, err := t.Table(s)
		if err != nil {
			return processor.Table[scenario.Keyed]{}, err
		}
		if v, ok := spec.Versioned[s.Topic]; ok {
			table = t.ByTime(table, &v)
		}
		return scenario.KeyedTable(t, table), nil
	}
	result := t.OfTable
	if op.Kind == "windowed-table-join" {
		side = func(s scenario.Source) (processor.Table[scenario.Keyed], error) { return t.WindowedTable(s) }
		result = t.OfWindowedTable
	}
	l, err := side(spec.Left)
	if err != nil {
		return scenario.Result{}, err
	}
	r, err := side(spec.Right)
	if err != nil {
		return scenario.Result{}, err
	}
	switch name := t.Name(); spec.Join {
	case "inner":
		return result(join.Tables(l, r, join.Primary{Name: name}, func(l, r scenario.Keyed) string { return joinedText(joiner, &l, &r) })), nil
	case "left":
		return result(join.TablesLeft(l, r, join.Primary{Name: name}, func(l scenario.Keyed, r *scenario.Keyed) string { return joinedText(joiner, &l, r) })), nil
	case "outer":
		return result(join.TablesOuter(l, r, join.Primary{Name: name}, func(l, r *scenario.Keyed) string { return joinedText(joiner, l, r) })), nil
	}
	return scenario.Result{}, scenario.NotApplicable("there is no %s join of tables", spec.Join)
}

// withRow joins a record with the row that it has found, if any.
func withRow(joiner func(key string, left, right *string) (string, error), l scenario.Keyed, row *string) string {
	value, err := joiner(l.Key, &l.Value, row)
	if err != nil {
		panic(err)
	}
	return value
}

// bindForeignKey makes {"join": "inner" or "left", "left", "right", "joiner", "extract": a mapper as that of a global table}.
func bindForeignKey(t *scenario.Topology, op scenario.Operator) (scenario.Result, error) {
	var spec struct {
		Kind    string          `json:"kind"`
		Join    string          `json:"join"`
		Left    scenario.Source `json:"left"`
		Right   scenario.Source `json:"right"`
		Extract *string         `json:"extract"`
		Joiner  string          `json:"joiner"`
	}
	if err := op.Decode(&spec); err != nil {
		return scenario.Result{}, err
	}
	joiner, err := scenario.Joiner(spec.Joiner)
	if err != nil {
		return scenario.Result{}, err
	}
	extract, err := mapper(spec.Extract)
	if err != nil {
		return scenario.Result{}, err
	}
	if extract == nil {
		return scenario.Result{}, scenario.NotApplicable("fk-join without extract")
	}
	left, err := t.Table(spec.Left)
	if err != nil {
		return scenario.Result{}, err
	}
	right, err := t.Table(spec.Right)
	if err != nil {
		return scenario.Result{}, err
	}
	l := scenario.KeyedTable(t, left)
	f := join.Foreign[scenario.Keyed]{Name: t.Name(), Key: func(l scenario.Keyed) string {
		return extract(processor.Record[scenario.Keyed]{Key: l.Key, Value: l})
	}}
	var out processor.Table[string]
	switch spec.Join {
	case "inner":
		out = join.ForeignKey(l, right, f, func(l scenario.Keyed, r string) string { return withRow(joiner, l, &r) })
	case "left":
		out = join.ForeignKeyLeft(l, right, f, func(l scenario.Keyed, r *string) string { return withRow(joiner, l, r) })
	default:
		return scenario.Result{}, scenario.NotApplicable("there is no %s join by a foreign key", spec.Join)
	}
	t.Remote(right.Updates())
	return t.OfTable(out), nil
}
