package processor

import (
	"iter"
	"time"
)

// view is how queries see a store. Functions that are nil are not to be had of its kind.
type view struct {
	kind    string
	get     func(key string) (seen, bool)
	keys    func() iter.Seq[string]                             // in any order
	windows func(key string, from, to time.Time) iter.Seq[seen] // those with from <= at, by at
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
)

// verbs lists what can be asked.
func (v *view) verbs() string {
	if v.get != nil {
		return verbGet + ", " + verbRange
	}
	return verbWindows
}

// storeName is the full name of a store of the operator.
func (c *Context[Out]) storeName(name string) string { return c.vertex.name + "." + name }

// wrapping is a value in a store that has something around the user's own.
type wrapping interface{ unwrap() seen }

func (a aggregate[A]) unwrap() seen { return seen{value: a.Value, time: fromNanos(a.Time)} }

func seenValue[V any](value V) seen {
	if w, ok := any(value).(wrapping); ok {
		return w.unwrap()
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
		keys: func() iter.Seq[string] { return keysOf(s.All()) },
	})
}

func keysOf[V any](rows iter.Seq2[string, V]) iter.Seq[string] {
	return func(yield func(string) bool) {
		for key := range rows {
			if !yield(key) {
				return
			}
		}
	}
}

// exposeWindowed shows a window store. windowAt says which window a row's time stands for; nil: it is a time and nothing else.
func exposeWindowed[V, Out any](c *Context[Out], name string, s *Windowed[V], windowAt func(time.Time) Window) {
	c.w.task.Expose(c.storeName(name), &view{
		kind: kindWindowed,
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
		kind: kindSessions,
		windows: func(key string, from, to time.Time) iter.Seq[seen] {
			return func(yield func(seen) bool) {
				for w, value := range s.Find(key, from, to) {
					if !yield(seen{value: value, window: w, at: w.End}) {
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
	c.w.task.Expose(full, &view{
		kind: kindVersioned,
		get: func(key string) (seen, bool) {
			value, from, ok := s.Get(key)
			return seen{value: value, time: from}, ok
		},
		keys: func() iter.Seq[string] { return keysOf(s.current.All()) },
	})
}
