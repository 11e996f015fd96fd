package processor

import (
	"sync"
	"time"

	"github.com/rossby-streams/rossby/stream"
)

// Table is a flow of updates: of each key, the last value counts, and a key can be deleted. A Table is made of a topic (TableFrom), of a
// stream (ToTable) or of an aggregate (Aggregated.Table). Like a Stream it is a description, and its zero value is part of no topology.
//
// Updates count in the order of their offsets, not of their event times: a later record with an earlier time overwrites (as Kafka's
// unversioned tables do), unless ByTime says otherwise. What an update points to must not be changed.
type Table[V any] struct {
	// Both make their operators when they are first called: a table that nobody asks for what it replaces keeps no rows.
	updates func() Stream[*V]
	changes func() Stream[Change[V]]
}

// TableFrom reads a topic as a table: a record sets the value of its key, a tombstone (a record without data) deletes it. Give the topic
// Compact, so that it keeps the last record of each key and none is lost by age. A tombstone's event time is that of its time
// header, or of its storing. Records without a key are failed records.
//
// Where somebody needs to know what an update replaces, the rows are kept in the task's state, under an operator with the topic's
// name: no other operator may have that name. They are kept on that Medium, if one is given.
func TableFrom[V any](b *Builder, topic stream.Topic[V], on ...Medium) Table[V] {
	return tableOf(source(b, "TableFrom", topic, func(value V, deleted bool) (*V, error) {
		if deleted {
			return nil, nil
		}
		return &value, nil
	}), topic.Name, on)
}

// ToTable makes a table of a stream: of each key, the last value counts. Rows are kept under name, which is unique in the topology. Where
// a value can say that its key is to go, use Filter on the table. Records without a key are failed records. Rows are kept on that Medium,
// if one is given.
func ToTable[V any](in Upstream[V], name string, on ...Medium) Table[V] {
	return TableOfUpdates(Map(in, func(value V) *V { return &value }), name, on...)
}

// TableOfUpdates makes a table of a stream of which nil deletes the row of its key: the inverse of Updates. Otherwise it is ToTable.
func TableOfUpdates[V any](updates Upstream[*V], name string, on ...Medium) Table[V] {
	all := updates.AsStream()
	if all.n == nil {
		return Table[V]{}
	}
	return tableOf(all, name, on)
}

// tableOf makes a table of updates that do not say what they replace.
func tableOf[V any](updates Stream[*V], name string, on []Medium) Table[V] {
	return Table[V]{
		updates: func() Stream[*V] { return updates },
		changes: sync.OnceValue(func() Stream[Change[V]] { return keepRows(updates, name, on) }),
	}
}

// Table returns the table of the latest aggregate of each key. The aggregation must have no windows: the rows of a table have a key and
// nothing else.
func (a Aggregated[V, A]) Table() Table[A] {
	if a.windowed {
		Mistake(a, "Table: the aggregates have windows, and a table has one row for each key; use Changes, or put the window into the key")
	}
	return TableOf(a.Changes())
}

// TableOf makes a table of a stream of changes. It is for operators that give tables: each change must have in Old what the change
// before it of the same key had in New.
func TableOf[V any](changes Upstream[Change[V]]) Table[V] {
	all := changes.AsStream()
	return Table[V]{
		updates: sync.OnceValue(func() Stream[*V] { return Map(all, func(c Change[V]) *V { return c.New }) }),
		changes: func() Stream[Change[V]] { return all },
	}
}

// keepRows finds out what each update replaces.
func keepRows[V any](updates Stream[*V], name string, on []Medium) Stream[Change[V]] {
	return Process(updates, name, func(c *Context[Change[V]]) Handler[*V] {
		rows := KeyValueStore[*V](c, "rows", on...)
		return Handler[*V]{Record: func(r Record[*V]) error {
			if r.Key == "" {
				return errNoKey
			}
			old, _ := rows.Get(r.Key)
			switch {
			case r.Value != nil:
				rows.Put(r.Key, r.Value)
			case old != nil:
				rows.Delete(r.Key)
			default:
				return nil // there was nothing to delete
			}
			c.Forward(With(r, Change[V]{Old: old, New: r.Value}))
			return nil
		}}
	})
}

// Changes returns the updates, each with the value that it replaces, at the event time of the record that made it. Deletions of what is
// not there are left out.
func (t Table[V]) Changes() Stream[Change[V]] {
	if t.changes == nil {
		return Stream[Change[V]]{}
	}
	return t.changes()
}

// Updates returns the updates as they come: a value, or nil for a deletion, also for one of what is not there. It costs no state.
func (t Table[V]) Updates() Stream[*V] {
	if t.updates == nil {
		return Stream[*V]{}
	}
	return t.updates()
}

// Stream returns the values as they are set. Deletions are left out: see Changes and Updates.
func (t Table[V]) Stream() Stream[V] {
	return transform(t.Updates(), kindMap, "Stream", false, func(_ *operator, next func(*Record[V])) func(*Record[*V]) {
		var slot Record[V]
		return func(r *Record[*V]) {
			if r.Value != nil {
				slot = With(*r, *r.Value)
				next(&slot)
			}
		}
	})
}

// Filter keeps the rows whose value pleases keep. A row that does so no longer is deleted.
func (t Table[V]) Filter(keep func(V) bool) Table[V] {
	return derived(t, kindFilter, keep == nil, func(v *V) *V {
		if v == nil || !keep(*v) {
			return nil
		}
		return v
	})
}

// MapTable changes the value of every row.
func MapTable[V, O any](t Table[V], change func(V) O) Table[O] {
	return derived(t, kindMap, change == nil, func(v *V) *O {
		if v == nil {
			return nil
		}
		o := change(*v)
		return &o
	})
}

// derived makes a table of what becomes of each row by itself.
func derived[V, O any](t Table[V], k kind, missing bool, of func(*V) *O) Table[O] {
	if missing {
		Mistake(t.Updates(), "the %s of a table needs a function, got nil", k)
	}
	return Table[O]{
		updates: sync.OnceValue(func() Stream[*O] {
			return transform(t.Updates(), k, "", false, func(op *operator, next func(*Record[*O])) func(*Record[*V]) {
				call := infallible(of)
				var slot Record[*O]
				return func(r *Record[*V]) {
					if value, ok := guard(op, call, r.Value); ok {
						slot = With(*r, value)
						next(&slot)
					}
				}
			})
		}),
		changes: sync.OnceValue(func() Stream[Change[O]] {
			return transform(t.Changes(), k, "", false, func(op *operator, next func(*Record[Change[O]])) func(*Record[Change[V]]) {
				call := infallible(func(c Change[V]) Change[O] { return Change[O]{Old: of(c.Old), New: of(c.New)} })
				var slot Record[Change[O]]
				return func(r *Record[Change[V]]) {
					change, ok := guard(op, call, r.Value)
					if ok && (change.Old != nil || change.New != nil) {
						slot = With(*r, change)
						next(&slot)
					}
				}
			})
		}),
	}
}

// ByTime lets the update with the latest event time count, and not that with the latest offset: one that comes out of order is left out,
// as Kafka's versioned tables do in joins of tables and in aggregations. The rows are kept under name, which is unique in the topology.
// history is how long, in stream time, a deletion is remembered that an older update might undo. Rows are kept on that Medium, if one is
// given.
func (t Table[V]) ByTime(name string, history time.Duration, on ...Medium) Table[V] {
	return TableOf(Process(t.Updates(), name, func(c *Context[Change[V]]) Handler[*V] {
		rows := VersionedStore[*V](c, "rows", history, on...)
		return Handler[*V]{Record: func(r Record[*V]) error {
			if r.Key == "" {
				return errNoKey
			}
			old, _, _ := rows.Get(r.Key)
			put := func() (taken, latest bool) { return rows.Put(r.Key, r.Time, r.Value) }
			if r.Value == nil {
				put = func() (taken, latest bool) { return rows.Delete(r.Key, r.Time) }
			}
			if _, latest := put(); latest && (old != nil || r.Value != nil) {
				c.Forward(With(r, Change[V]{Old: old, New: r.Value}))
			}
			return nil
		}}
	}))
}

// To writes every update to a topic: the new value, or a tombstone for a row that is deleted. Give the topic Compact, and it is the
// table, for whoever reads it with TableFrom.
func (t Table[V]) To(topic stream.Topic[V]) Sink {
	return sink(t.Changes(), topic, func(codec stream.Codec[V], c Change[V]) ([]byte, error) {
		if c.New == nil {
			return nil, nil
		}
		return codec.Encode(*c.New)
	})
}

// regrouped is a part of an update on its way to the group that it belongs to.
type regrouped[V any] struct {
	Group  string    `json:"g"`
	Change Change[V] `json:"c"`
}

// GroupBy brings the rows of a table together that have the same group, through the repartition topic "<app>-<name>": the first step of
// an aggregation over a table. What it gives has the group as key. A row that changes within its group comes as one change, with
// Old and New; one that moves comes as a change without New to the group that it leaves and as one without Old to the other. An
// aggregation takes Old out and puts New in:
//
//	perCity := processor.GroupBy(people, "by-city", func(_ string, p Person) string { return p.City })
//	processor.Aggregate(perCity, processor.Aggregation[processor.Change[Person], int]{
//		Name: "inhabitants",
//		Init: func() int { return 0 },
//		Add: func(n int, c processor.Change[Person]) int {
//			if c.Old != nil {
//				n--
//			}
//			if c.New != nil {
//				n++
//			}
//			return n
//		},
//	})
//
// A row whose group is empty is a failed record. Streams are grouped with KeyBy.
func GroupBy[V any](t Table[V], name string, group func(key string, value V) string) Stream[Change[V]] {
	parts := transform(t.Changes(), kindFlatMap, "GroupBy", group == nil, func(op *operator, next func(*Record[regrouped[V]])) func(*Record[Change[V]]) {
		call := func(r Record[Change[V]]) (parts [2]regrouped[V], err error) {
			if v := r.Value.Old; v != nil {
				parts[0] = regrouped[V]{Group: group(r.Key, *v), Change: Change[V]{Old: v}}
			}
			if v := r.Value.New; v != nil {
				parts[1] = regrouped[V]{Group: group(r.Key, *v), Change: Change[V]{New: v}}
			}
			if r.Value.Old != nil && r.Value.New != nil && parts[0].Group == parts[1].Group {
				parts[1].Change.Old, parts[0].Change = r.Value.Old, Change[V]{}
			}
			return parts, nil
		}
		var slot Record[regrouped[V]]
		return func(r *Record[Change[V]]) {
			parts, ok := guard(op, call, *r)
			if !ok {
				return
			}
			for _, part := range parts {
				if part.Change != (Change[V]{}) {
					slot = With(*r, part)
					next(&slot)
				}
			}
		}
	})
	grouped := KeyBy(parts, name, func(r regrouped[V]) string { return r.Group })
	return Map(grouped, func(r regrouped[V]) Change[V] { return r.Change })
}
