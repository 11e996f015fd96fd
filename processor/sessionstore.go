package processor

import (
	"iter"
	"time"

	"github.com/rossby-streams/rossby/processor/internal/engine"
)

// Sessions is a store of spans of event time, each with a value, per key. It is what aggregates of sessions are kept in. Spans are
// dropped once stream time has passed their end by more than the retention. What is said of Windowed holds here too.
type Sessions[V any] struct {
	rows *Windowed[engine.SessionRow[V]]
}

// SessionStore makes the store of that name, unique within the operator, on a medium: one at most may be given. retention must be more than
// zero. It is called in the function given to Process, not later.
func SessionStore[V, Out any](c *Context[Out], name string, retention time.Duration, on ...Medium) *Sessions[V] {
	s := &Sessions[V]{WindowStore[engine.SessionRow[V]](c, name, retention, on...)}
	exposeSessions(c, name, s)
	return s
}

// Put sets the value of the session of key that starts and ends at these times; both belong to it. It reports false, and does
// nothing, if the session ended before what the retention keeps.
func (s *Sessions[V]) Put(key string, start, end time.Time, value V) bool {
	row := engine.SessionRow[V]{Start: start.UnixNano(), Value: value}
	if id, _, ok := s.find(key, start, end); ok {
		return s.rows.Set(id, row)
	}
	return s.rows.Add(key, end, row)
}

// Get returns the value of one session and whether there is one.
func (s *Sessions[V]) Get(key string, start, end time.Time) (V, bool) {
	_, row, ok := s.find(key, start, end)
	return row.Value, ok
}

// Remove drops a session; it is no error if it is not there.
func (s *Sessions[V]) Remove(key string, start, end time.Time) {
	if id, _, ok := s.find(key, start, end); ok {
		s.rows.Remove(id)
	}
}

// Find yields the sessions of key that end at or after earliestEnd and start at or before latestStart, by their ends. It stops at the
// first one that starts later: where sessions of a key do not overlap, it has seen them all, in time proportional to what it yields. Of
// the store, only sessions that have been yielded may be changed meanwhile, and only by Put with the same span.
func (s *Sessions[V]) Find(key string, earliestEnd, latestStart time.Time) iter.Seq2[Window, V] {
	return func(yield func(Window, V) bool) {
		latest := clampNanos(latestStart)
		for id, row := range s.rows.Range(key, earliestEnd, maxEventTime) {
			if row.Start > latest || !yield(Window{Start: fromNanos(row.Start), End: id.At}, row.Value) {
				return
			}
		}
	}
}

// Len returns the number of sessions that have not been dropped.
func (s *Sessions[V]) Len() int { return s.rows.Len() }

func (s *Sessions[V]) find(key string, start, end time.Time) (id RowID, row engine.SessionRow[V], ok bool) {
	from := start.UnixNano()
	for id, row := range s.rows.Range(key, end, end) {
		if row.Start == from {
			return id, row, true
		}
	}
	return id, row, false
}
