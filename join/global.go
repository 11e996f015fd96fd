package join

import "github.com/rossby-streams/rossby/processor"

// By says how records of a stream find their row of a global table.
type By[L any] struct {
	// Name is the name of the join, unique in the topology. Required.
	Name string
	// Key returns the key of the row that a record looks up; "" is none. Nil: the record's own key.
	Key func(processor.Record[L]) string
}

// Global joins each record of a stream with a row of a global table, as it is when the record is processed: joiner(l, r) if there is one,
// and nothing if there is none. Only the stream triggers. Neither keys nor partitions need to agree. The result has the record's key,
// time, headers and window.
func Global[L, R, V any](left processor.Upstream[L], right processor.GlobalTable[R], by By[L], joiner func(L, R) V) processor.Stream[V] {
	if joiner == nil && !isZero(left) {
		processor.Mistake(left, "Global %s: the joiner is nil", by.Name)
	}
	return lookUpGlobal(left, right, by, func(record L, found *R) answer[V] {
		if found == nil {
			return answer[V]{}
		}
		return answer[V]{joiner(record, *found), true}
	})
}

// GlobalLeft is Global for every record: joiner gets nil where there is no row.
func GlobalLeft[L, R, V any](left processor.Upstream[L], right processor.GlobalTable[R], by By[L], joiner func(L, *R) V) processor.Stream[V] {
	if joiner == nil && !isZero(left) {
		processor.Mistake(left, "GlobalLeft %s: the joiner is nil", by.Name)
	}
	return lookUpGlobal(left, right, by, func(record L, found *R) answer[V] { return answer[V]{joiner(record, found), true} })
}

func lookUpGlobal[L, R, V any](left processor.Upstream[L], right processor.GlobalTable[R], by By[L], match func(L, *R) answer[V]) processor.Stream[V] {
	if isZero(left) {
		return processor.Stream[V]{}
	}
	key := by.Key
	if key == nil {
		key = func(r processor.Record[L]) string { return r.Key }
	}
	return processor.Process(left, by.Name, func(c *processor.Context[V]) processor.Handler[L] {
		rows := processor.LookupsIn(c, right)
		return processor.Handler[L]{Record: func(rec processor.Record[L]) error {
			var found *R
			if k := key(rec); k != "" {
				if row, ok := rows.Get(k); ok {
					found = &row
				}
			}
			if a := match(rec.Value, found); a.ok {
				c.Forward(processor.With(rec, a.value))
			}
			return nil
		}}
	})
}
