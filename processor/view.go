package processor

import (
	"iter"
	"time"

	"github.com/rossby-streams/rossby/processor/internal/engine"
)

// view is how queries see a store. Functions that are nil are not to be had of its kind.
type view struct {
	kind    string
	get     func(key string) (seen, bool)
	asOf    func(key string, at time.Time) (seen, bool)
	keys    func(from string) iter.Seq2[[]byte, bool]           // as engine.KeyValue.Keys
	windows func(key string, from, to time.Time) iter.Seq[seen] // those with from <= at, by at
	spans   func() iter.Seq[string]                             // the keys of windows, as engine.RowStore.Keys
}

// seen is a row as queries see it.
type seen struct {
	value  any
	time   time.Time // event time, zero: the store does not know
	window Window    // zero: it has none
	at     time.Time // by which the rows of a key are in order
}

// The kinds of stores, as queries and tools name them.
const (
	kindKeyValue  = "key-value"
	kindWindowed  = "window"
	kindSessions  = "session"
	kindVersioned = "versioned"
	kindGlobals   = "global"
)

// verbs lists what can be asked.
func (v *view) verbs() string {
	switch {
	case v.asOf != nil:
		return verbGet + ", " + verbAsOf + ", " + verbRange
	case v.get != nil:
		return verbGet + ", " + verbRange
	}
	return verbWindows + ", " + verbAll
}

// storeName is the full name of a store of the operator.
func (c *Context[Out]) storeName(name string) string { return c.vertex.name + "." + name }

// Wrapped is a value in a store that has something around the user's own, as those of joins have. Queries answer with what is inside, and with the
// event time if the value knows it; zero: it does not.
type Wrapped interface {
	Unwrap() (value any, at time.Time)
}

// Unwrap implements Wrapped.
func (a aggregate[A]) Unwrap() (value any, at time.Time) { return a.Value, fromNanos(a.Time) }

func seenValue[V any](value V) seen {
	if w, ok := any(value).(Wrapped); ok {
		inside, at := w.Unwrap()
		return seen{value: inside, time: at}
	}
	return seen{value: value}
}

func exposeKeyValue[V, Out any](c *Context[Out], name string, s *KeyValue[V]) {
	c.w.task.Expose(c.storeName(name), &view{
		kind: kindKeyValue,
		get: func(key string) (seen, bool) {
			value, ok := s.Get(key)
			return seenValue(value), ok
		},
		keys: s.s.Keys,
	})
}

// exposeWindowed shows a window store. windowAt says which window a row's time stands for; nil: it is a time and nothing else.
func exposeWindowed[V, Out any](c *Context[Out], name string, s *Windowed[V], windowAt func(time.Time) Window) {
	c.w.task.Expose(c.storeName(name), &view{
		kind:  kindWindowed,
		spans: s.s.Keys,
		windows: func(key string, from, to time.Time) iter.Seq[seen] {
			return func(yield func(seen) bool) {
				for id, value := range s.Range(key, from, to) {
					row := seenValue(value)
					row.at = id.At
					if windowAt == nil {
						row.time = id.At
					} else {
						row.window = windowAt(id.At)
					}
					if !yield(row) {
						return
					}
				}
			}
		},
	})
}

func exposeSessions[V, Out any](c *Context[Out], name string, s *Sessions[V]) {
	c.w.task.Expose(c.storeName(name), &view{
		kind:  kindSessions,
		spans: s.rows.s.Keys,
		windows: func(key string, from, to time.Time) iter.Seq[seen] {
			return func(yield func(seen) bool) {
				for w, value := range s.Find(key, from, to) {
					row := seenValue(value)
					row.window, row.at = w, w.End
					if !yield(row) {
						return
					}
				}
			}
		},
	})
}

func exposeVersioned[V, Out any](c *Context[Out], name string, s *Versioned[V]) {
	full := c.storeName(name)
	c.w.task.Expose(full+"-deleted", nil)
	c.w.task.Expose(full+"-past", nil)
	version := func(value V, from time.Time, ok bool) (seen, bool) {
		row := seenValue(value)
		row.time = from
		return row, ok
	}
	c.w.task.Expose(full, &view{
		kind: kindVersioned,
		get:  func(key string) (seen, bool) { return version(s.Get(key)) },
		asOf: func(key string, at time.Time) (seen, bool) { return version(s.GetAsOf(key, at)) },
		keys: s.current.s.Keys,
	})
}

// exposed returns the rows of a global table as queries see them.
func (g *globalRows[V]) exposed() *view {
	return &view{
		kind: kindGlobals,
		get: func(key string) (seen, bool) {
			g.mu.RLock()
			defer g.mu.RUnlock()
			value, ok := g.rows[key]
			return seen{value: value}, ok
		},
		keys: func(string) iter.Seq2[[]byte, bool] {
			return func(yield func([]byte, bool) bool) {
				g.mu.RLock()
				defer g.mu.RUnlock()
				for key := range g.rows {
					if !yield([]byte(key), false) {
						return
					}
				}
			}
		},
	}
}

// streamTimeOf is the highest event time that a task has processed; zero: none.
func streamTimeOf(t *engine.Task) time.Time {
	if now := t.StreamTime(); now != engine.NoTime {
		return fromNanos(now)
	}
	return time.Time{}
}
