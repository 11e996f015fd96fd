package processor

import (
	"strings"
	"time"
)

// folding is what all aggregating verbs come to.
type folding[V, A any] struct {
	verb    string
	name    string
	broken  bool // a function is missing
	windows Windows
	grace   time.Duration
	emit    Emit
	keep    Medium
	// add and merge get has as false, and no aggregate, when there is none yet.
	add   func(agg A, has bool, value V) A
	merge func(agg A, has bool, next A) A
}

// update is what a folding emits: a change of an aggregate, or a late record.
type update[V, A any] struct {
	old, new       A
	hadOld, hasNew bool
	late           bool
	value          V // of a late record
}

// aggregate is what is kept of a key and window.
type aggregate[A any] struct {
	Value A     `json:"v"`
	Time  int64 `json:"t"` // the highest event time added, in nanoseconds
}

func fold[V, A any](in Upstream[V], f folding[V, A]) Aggregated[V, A] {
	if in == nil || in.AsStream().n == nil {
		return Aggregated[V, A]{}
	}
	f.check(in)
	updates := Process(in, f.name, func(c *Context[update[V, A]]) Handler[V] {
		c.StateDependsOn(f.dependence())
		switch f.windows.kind {
		case noWindows:
			return unwindowed[V, A]{f, c, KeyValueStore[aggregate[A]](c, "aggregates", f.keep)}.handler()
		case session:
			return sessions[V, A]{f, c, SessionStore[A](c, "sessions", f.windows.size+f.grace+1, f.keep)}.handler()
		case sliding:
			return newSlides(f, c).handler()
		default:
			s := spanned[V, A]{f, c, WindowStore[aggregate[A]](c, "windows", f.windows.longest()+f.grace+1, f.keep)}
			exposeWindowed(c, "windows", s.rows, s.starting)
			return s.handler()
		}
	})
	changed := updates.Filter(func(u update[V, A]) bool { return u.hasNew })
	results := Map(changed, func(u update[V, A]) A { return u.new })
	changed.n.composed, results.n.composed = true, true // who takes only the Changes has not forgotten them
	return Aggregated[V, A]{Stream: results, updates: updates, windowed: f.windows.kind != noWindows}
}

func (f folding[V, A]) check(in Upstream[V]) {
	problems := f.windows.problems(f.grace)
	if f.broken {
		problems = append(problems, "a function is missing: see the fields that are required")
	}
	if f.windows.kind == session && f.merge == nil {
		problems = append(problems, "sessions need Merge, for a record that makes one of two")
	}
	if f.emit != OnUpdate && f.emit != OnClose {
		problems = append(problems, "Emit must be OnUpdate or OnClose")
	} else if f.emit == OnClose && f.windows.kind == noWindows {
		problems = append(problems, "without windows nothing ever closes: leave Emit at OnUpdate")
	}
	if len(problems) > 0 {
		Mistake(in, "%s %s: %s", f.verb, f.name, strings.Join(problems, "; "))
	}
}

// emitLate forwards a record that is late for every window.
func emitLate[V, A any](c *Context[update[V, A]], r *Record[V]) {
	c.CountLate()
	c.Forward(With(*r, update[V, A]{late: true, value: r.Value}))
}

// unwindowed keeps one aggregate for each key.
type unwindowed[V, A any] struct {
	folding[V, A]
	c    *Context[update[V, A]]
	rows *KeyValue[aggregate[A]]
}

func (u unwindowed[V, A]) handler() Handler[V] { return Handler[V]{Record: u.record} }

func (u unwindowed[V, A]) record(r Record[V]) error {
	if r.Key == "" {
		return errNoKey
	}
	old, has := u.rows.Get(r.Key)
	now := aggregate[A]{Value: u.add(old.Value, has, r.Value), Time: max(old.Time, r.Time.UnixNano())}
	u.rows.Put(r.Key, now)
	u.c.Forward(Record[update[V, A]]{
		Key: r.Key, Time: fromNanos(now.Time), Headers: r.Headers,
		Value: update[V, A]{old: old.Value, hadOld: has, new: now.Value, hasNew: true},
	})
	return nil
}

// spanned keeps one aggregate for each key and window of a fixed place in time.
type spanned[V, A any] struct {
	folding[V, A]
	c    *Context[update[V, A]]
	rows *Windowed[aggregate[A]] // at the start of the window
}

func (s spanned[V, A]) handler() Handler[V] {
	h := Handler[V]{Record: s.record}
	if s.emit == OnClose {
		h.Timer = s.close
	}
	return h
}

func (s spanned[V, A]) record(r Record[V]) error {
	if r.Key == "" {
		return errNoKey
	}
	now, at, late := s.c.StreamTime().UnixNano(), r.Time.UnixNano(), true
	for w := range s.windows.spans(at) {
		if s.closes(w) <= now { // rule 13
			continue
		}
		late = false
		if err := s.update(&r, at, w); err != nil {
			return err
		}
	}
	if late {
		emitLate(s.c, &r)
	}
	return nil
}

// closes is the stream time at which a window is closed (departure D7).
func (s spanned[V, A]) closes(w span) int64 { return w.end + int64(s.grace) }

func (s spanned[V, A]) update(r *Record[V], at int64, w span) error {
	id, old, has := s.row(r.Key, w)
	agg := aggregate[A]{Value: s.add(old.Value, has, r.Value), Time: max(old.Time, at)}
	if has {
		s.rows.Set(id, agg)
	} else {
		if s.emit == OnClose {
			// The timer first: a row whose timer is refused, since it lies beyond the last event time there is, must not stay.
			if err := s.c.Schedule(r.Key, fromNanos(s.closes(w))); err != nil {
				return err
			}
		}
		s.rows.Add(r.Key, id.At, agg)
	}
	if s.emit == OnUpdate {
		s.c.Forward(Record[update[V, A]]{
			Key: r.Key, Time: fromNanos(agg.Time), Headers: r.Headers, Window: s.window(w),
			Value: update[V, A]{old: old.Value, hadOld: has, new: agg.Value, hasNew: true},
		})
	}
	return nil
}

// row returns the aggregate of a window, and where it is, or belongs.
func (s spanned[V, A]) row(key string, w span) (RowID, aggregate[A], bool) {
	at := fromNanos(max(w.start, 0)) // the day on which 1970 began in Tokyo did so in 1969
	for id, agg := range s.rows.Range(key, at, at) {
		return id, agg, true
	}
	return RowID{Key: key, At: at}, aggregate[A]{}, false
}

// starting returns the window whose row is at a time.
func (s spanned[V, A]) starting(at time.Time) Window {
	for w := range s.windows.spans(at.UnixNano()) {
		if max(w.start, 0) == at.UnixNano() {
			return s.window(w)
		}
	}
	return Window{}
}

// window is what results carry. The end does not belong to it, so nothing follows once stream time has passed the instant before.
func (s spanned[V, A]) window(w span) Window {
	return Window{Start: fromNanos(w.start), End: fromNanos(w.end), Closes: fromNanos(s.closes(w) - 1)}
}

func (s spanned[V, A]) close(t Timer) error {
	w := s.windows.endingAt(t.At.UnixNano() - int64(s.grace))
	if _, agg, ok := s.row(t.Key, w); ok {
		s.c.Forward(Record[update[V, A]]{
			Key: t.Key, Time: fromNanos(agg.Time), Headers: s.c.Trace(), Window: s.window(w), Value: update[V, A]{new: agg.Value, hasNew: true},
		})
	}
	return nil
}
