package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/processor"
)

// Versioned says that a table remembers what it was.
type Versioned struct {
	History int64 `json:"history_retention_ms"`
}

// Table returns the table of a source: a topic, whose null values delete, or an operator.
func (t *Topology) Table(s Source) (processor.Table[string], error) {
	if s.Operator == nil {
		return t.topicTable(s.Topic), nil
	}
	result, err := t.bind(*s.Operator)
	if err != nil {
		return processor.Table[string]{}, err
	}
	return processor.TableOfUpdates(result.Stream, t.Name()), nil
}

func (t *Topology) topicTable(topic string) processor.Table[string] {
	if table, ok := t.read[topic]; ok {
		return table
	}
	in := memoryTopic[string](t.input(topic))
	t.specs[topic], t.tables[topic] = in.Spec(), true
	t.read[topic] = processor.TableFrom(t.b, in)
	return t.read[topic]
}

// ByTime makes a table one in which the latest event time counts.
func (t *Topology) ByTime(table processor.Table[string], v *Versioned) processor.Table[string] {
	if v == nil {
		return table
	}
	return table.ByTime(t.Name(), Millis(v.History))
}

// KeyedTable gives every row its key, for joiners that need both.
func KeyedTable(t *Topology, table processor.Table[string]) processor.Table[Keyed] {
	keyed := processor.MapRecord(table.Updates(), func(r processor.Record[*string]) *Keyed {
		if r.Value == nil {
			return nil
		}
		return &Keyed{r.Key, *r.Value}
	})
	return processor.TableOfUpdates(keyed, t.Name())
}

// WindowedTable returns the table of an operator whose results have windows: a row for each key and window.
func (t *Topology) WindowedTable(s Source) (processor.Table[Keyed], error) {
	if s.Operator == nil {
		return processor.Table[Keyed]{}, NotApplicable("topic %q has no windows", s.Topic)
	}
	result, err := t.bind(*s.Operator)
	if err != nil {
		return processor.Table[Keyed]{}, err
	}
	rows := processor.Process(result.Stream, t.Name(), func(c *processor.Context[*Keyed]) processor.Handler[*string] {
		return processor.Handler[*string]{Record: func(r processor.Record[*string]) error {
			var row *Keyed
			if r.Value != nil {
				row = &Keyed{r.Key, *r.Value}
			}
			out := processor.With(r, row)
			out.Key = fmt.Sprintf("%d %d %s", r.Window.Start.UnixNano(), r.Window.End.UnixNano(), r.Key)
			c.Forward(out)
			return nil
		}}
	})
	return processor.TableOfUpdates(rows, t.Name()), nil
}

// OfWindowedTable is OfTable for a table made of WindowedTables.
func (t *Topology) OfWindowedTable(table processor.Table[string]) Result {
	updates := processor.Process(table.Updates(), t.Name(), func(c *processor.Context[*string]) processor.Handler[*string] {
		return processor.Handler[*string]{Record: func(r processor.Record[*string]) error {
			var end int64
			from, rest, _ := strings.Cut(r.Key, " ")
			to, key, _ := strings.Cut(rest, " ")
			start, err := strconv.ParseInt(from, 10, 64)
			if err == nil {
				end, err = strconv.ParseInt(to, 10, 64)
			}
			if err != nil {
				return fmt.Errorf("read the window of key %q: %w", r.Key, err)
			}
			r.Key, r.Window = key, processor.Window{Start: time.Unix(0, start).UTC(), End: time.Unix(0, end).UTC()}
			c.Forward(r)
			return nil
		}}
	})
	t.Rows(updates)
	return Result{updates}
}

// OfTable makes a result of a table, into which expect_table can look.
func (t *Topology) OfTable(table processor.Table[string]) Result {
	updates := table.Updates()
	t.Rows(updates)
	return Result{updates}
}

// Global returns the global table of a topic.
func (t *Topology) Global(topic string) processor.GlobalTable[string] {
	in := memoryTopic[string](t.input(topic))
	t.specs[topic], t.tables[topic], t.globals[topic] = in.Spec(), true, processor.GlobalTableFrom(t.b, in)
	return t.globals[topic]
}

// globalFence is the key of the row by which a real server's world knows that a global table has taken a record: it is written after
// it. No case has such a key.
const globalFence = "\x00fence"
