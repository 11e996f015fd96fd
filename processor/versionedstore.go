package processor

import (
	"time"

	"github.com/rossby-streams/rossby/processor/internal/engine"
)

// Versioned is a store of values per key that remembers what they were: a value counts from the event time with which it was put until
// that of the next one. It is for joins that ask what was known at the time of a record. What is said of Windowed holds here too.
//
// History goes back by the retention, from stream time. What was put or deleted longer ago is not taken any more, and look-ups of
// times longer ago find nothing; the value that counts now is kept however old it is (the rules are those of Kafka's versioned
// stores, KIP-889).
type Versioned[V any] struct {
	now       func() time.Time
	retention time.Duration
	current   *KeyValue[engine.Version[V]] // what counts now
	deleted   *Windowed[bool]              // at the time of the last deletion, of keys that have no current value
	past      *Windowed[engine.Version[V]] // what counted once, at the time when it ceased to
}

// VersionedStore makes the store of that name, unique within the operator, on a medium: one at most may be given. retention is how far back
// history goes; it must be more than zero. It is called in the function given to Process, not later.
func VersionedStore[V, Out any](c *Context[Out], name string, retention time.Duration, on ...Medium) *Versioned[V] {
	if retention <= 0 && c.w.probe != nil {
		c.w.probe.mistake(callSite(), "VersionedStore %s.%s: the retention must be more than zero, got %v", c.vertex.name, name, retention)
	}
	retention = max(retention, 1)
	s := &Versioned[V]{
		now: c.StreamTime, retention: retention,
		current: KeyValueStore[engine.Version[V]](c, name, on...),
		deleted: WindowStore[bool](c, name+"-deleted", retention, on...),
		past:    WindowStore[engine.Version[V]](c, name+"-past", retention, on...),
	}
	exposeVersioned(c, name, s)
	return s
}

// Put sets the value of key from at on, until the next version that there is. It reports whether it was taken, and whether it is the
// latest now; one that is older than the retention allows is not taken.
func (s *Versioned[V]) Put(key string, at time.Time, value V) (taken, latest bool) {
	return s.put(key, engine.Version[V]{From: at.UnixNano(), Value: value})
}

// Delete says that key has no value from at on, until the next version that there is. What it reports is what Put reports.
func (s *Versioned[V]) Delete(key string, at time.Time) (taken, latest bool) {
	return s.put(key, engine.Version[V]{From: at.UnixNano(), Dead: true})
}

// Get returns the latest value of key and the event time from which it counts.
func (s *Versioned[V]) Get(key string) (value V, from time.Time, ok bool) {
	v, ok := s.current.Get(key)
	return v.Value, fromNanos(v.From), ok
}

// GetAsOf returns the value that counted at that event time and since when. ok is false if there was none, and if the time is
// longer ago than the retention.
func (s *Versioned[V]) GetAsOf(key string, at time.Time) (value V, from time.Time, ok bool) {
	if s.isForgotten(at) {
		return value, from, false
	}
	v, ok := s.current.Get(key)
	if !ok || v.From > at.UnixNano() {
		_, v, ok = s.endsAfter(key, at.UnixNano())
	}
	if !ok || v.Dead || v.From > at.UnixNano() {
		return value, from, false
	}
	return v.Value, fromNanos(v.From), true
}

// Len returns the number of versions that have not been dropped, deletions included.
func (s *Versioned[V]) Len() int { return s.current.Len() + s.deleted.Len() + s.past.Len() }

func (s *Versioned[V]) isForgotten(at time.Time) bool {
	now := s.now()
	return !now.IsZero() && at.Before(now.Add(-s.retention))
}

// endsAfter returns the first version in the past that ceased to count after that time.
func (s *Versioned[V]) endsAfter(key string, at int64) (id RowID, v engine.Version[V], ok bool) {
	for id, v := range s.past.Range(key, fromNanos(at).Add(1), maxEventTime) {
		return id, v, true
	}
	return id, v, false
}

func (s *Versioned[V]) put(key string, v engine.Version[V]) (taken, latest bool) {
	if s.isForgotten(fromNanos(v.From)) {
		return false, false
	}
	newest, has := s.newest(key)
	if has && v.From < newest.From {
		s.insert(key, v, newest.From)
		return true, false
	}
	if has && v.From > newest.From { // else it takes its place
		s.past.Add(key, fromNanos(v.From), newest)
	}
	s.forgetDeletion(key)
	if v.Dead {
		s.current.Delete(key)
		s.deleted.Add(key, fromNanos(v.From), true)
	} else {
		s.current.Put(key, v)
	}
	return true, true
}

// newest returns the version that counts now: a value, or a deletion that is not forgotten.
func (s *Versioned[V]) newest(key string) (engine.Version[V], bool) {
	if v, ok := s.current.Get(key); ok {
		return v, true
	}
	for id := range s.deleted.Range(key, minEventTime, maxEventTime) {
		return engine.Version[V]{From: id.At.UnixNano(), Dead: true}, true
	}
	return engine.Version[V]{}, false
}

func (s *Versioned[V]) forgetDeletion(key string) {
	for id := range s.deleted.Range(key, minEventTime, maxEventTime) {
		s.deleted.Remove(id)
		return // a key has one at most
	}
}

// insert puts a version between others. newest is when the last one begins.
func (s *Versioned[V]) insert(key string, v engine.Version[V], newest int64) {
	id, next, ok := s.endsAfter(key, v.From)
	switch {
	case !ok:
		s.past.Add(key, fromNanos(newest), v)
	case next.From > v.From: // before the first one, or where none is known
		s.past.Add(key, fromNanos(next.From), v)
	case next.From == v.From:
		s.past.Set(id, v)
	default:
		s.past.Remove(id)
		s.past.Add(key, fromNanos(v.From), next)
		s.past.Add(key, id.At, v)
	}
}
