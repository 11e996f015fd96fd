package processor

import "time"

// slides keeps the sliding windows of each key, as Kafka Streams defines them (rules 9 and 14): for a record at t the window [t-d, t] that
// ends with it, and the window [t+1ms, t+1ms+d] that begins behind it once a record falls into it. So there is one window for each
// distinct set of records that are at most d apart. Records with t < d share the window [0, d].
type slides[V, A any] struct {
	folding[V, A]
	c    *Context[update[V, A]]
	rows *Windowed[aggregate[A]] // at the start of the window
	d    int64                   // the length of the windows
}

// slideStep is the resolution of sliding windows.
const slideStep = int64(time.Millisecond)

func newSlides[V, A any](f folding[V, A], c *Context[update[V, A]]) *slides[V, A] {
	// A window is needed for twice its length: as what a later one begins with.
	retention := 2*f.windows.size + f.grace + 2*time.Millisecond
	s := &slides[V, A]{f, c, WindowStore[aggregate[A]](c, "windows", retention, f.keep), int64(f.windows.size)}
	exposeWindowed(c, "windows", s.rows, func(at time.Time) Window { return s.window(at.UnixNano()) })
	return s
}

func (s *slides[V, A]) handler() Handler[V] {
	h := Handler[V]{Record: s.record}
	if s.emit == OnClose {
		h.Timer = s.close
	}
	return h
}

// closes is the last instant of stream time at which a window is open.
func (s *slides[V, A]) closes(start int64) int64 { return start + s.d + int64(s.grace) }

// slide is a window of a key.
type slide[A any] struct {
	id    RowID // zero: not in the store yet
	start int64
	agg   aggregate[A]
	has   bool // agg holds something
}

func (w slide[A]) latest() int64 { return w.agg.Time / slideStep * slideStep }

func (s *slides[V, A]) record(r Record[V]) error {
	if r.Key == "" {
		return errNoKey
	}
	at := r.Time.UnixNano() / slideStep * slideStep
	if s.closes(at) < s.c.StreamTime().UnixNano() { // rule 14: no window that could hold it is open
		emitLate(s.c, &r)
		return nil
	}
	windows := s.near(r.Key, at)
	for _, w := range append(s.holding(windows, at), s.begun(windows, at)...) {
		if err := s.add(&r, w); err != nil {
			return err
		}
	}
	return s.behind(&r, windows, at)
}

// near returns the windows that a record at that time may belong to or build on, in order of their start.
func (s *slides[V, A]) near(key string, at int64) []slide[A] {
	var near []slide[A]
	for id, agg := range s.rows.Range(key, fromNanos(max(at-2*s.d-slideStep, 0)), fromNanos(at+slideStep)) {
		near = append(near, slide[A]{id: id, start: id.At.UnixNano(), agg: agg, has: true})
	}
	return near
}

// holding returns the windows that the record falls into.
func (s *slides[V, A]) holding(near []slide[A], at int64) []slide[A] {
	var holding []slide[A]
	for _, w := range near {
		if w.start <= at && at <= w.start+s.d {
			holding = append(holding, w)
		}
	}
	return holding
}

// begun returns the windows that the record is the first to need: the one that begins behind the record before it, and the one that ends
// with it, which holds already what that one has in its reach.
func (s *slides[V, A]) begun(near []slide[A], at int64) []slide[A] {
	var base slide[A] // the latest window that ends before the record
	starts, previous := make(map[int64]bool, len(near)), int64(-1)
	for _, w := range near {
		starts[w.start] = true
		if w.latest() < at {
			previous = max(previous, w.latest())
		}
		if w.start+s.d < at {
			base = w
		}
	}
	var begun []slide[A]
	if behind := previous + slideStep; previous >= 0 && at <= behind+s.d && !starts[behind] {
		begun = append(begun, slide[A]{start: behind})
		starts[behind] = true // it may be the left one as well
	}
	if left := max(at-s.d, 0); !starts[left] {
		if previous < left {
			base = slide[A]{}
		}
		begun = append(begun, slide[A]{start: left, agg: base.agg, has: base.has})
	}
	return begun
}

// behind makes the window that begins behind the record, if others fall into it: what the last window that holds the record holds of them.
func (s *slides[V, A]) behind(r *Record[V], near []slide[A], at int64) error {
	var last slide[A]
	for _, w := range near {
		if w.start == at+slideStep {
			return nil
		}
		if w.start <= at && at < w.start+s.d {
			last = w
		}
	}
	if !last.has || last.latest() <= at {
		return nil
	}
	return s.put(r, slide[A]{start: at + slideStep}, last.agg)
}

// add adds the record to a window, unless it is closed.
func (s *slides[V, A]) add(r *Record[V], w slide[A]) error {
	return s.put(r, w, aggregate[A]{Value: s.folding.add(w.agg.Value, w.has, r.Value), Time: max(w.agg.Time, r.Time.UnixNano())})
}

// put stores what a window has become and emits it, unless the window is closed.
func (s *slides[V, A]) put(r *Record[V], w slide[A], agg aggregate[A]) error {
	closes := s.closes(w.start)
	if closes < s.c.StreamTime().UnixNano() {
		return nil
	}
	stored := w.id != RowID{}
	if stored {
		s.rows.Set(w.id, agg)
	} else {
		if s.emit == OnClose {
			if err := s.c.Schedule(r.Key, fromNanos(closes+1)); err != nil {
				return err
			}
		}
		s.rows.Add(r.Key, fromNanos(w.start), agg)
	}
	if s.emit == OnUpdate {
		u := update[V, A]{new: agg.Value, hasNew: true}
		if stored {
			u.old, u.hadOld = w.agg.Value, true
		}
		s.c.Forward(Record[update[V, A]]{Key: r.Key, Time: fromNanos(agg.Time), Headers: r.Headers, Window: s.window(w.start), Value: u})
	}
	return nil
}

func (s *slides[V, A]) window(start int64) Window {
	return Window{Start: fromNanos(start), End: fromNanos(start + s.d), Closes: fromNanos(s.closes(start))}
}

func (s *slides[V, A]) close(t Timer) error {
	start := fromNanos(t.At.UnixNano() - 1 - s.d - int64(s.grace))
	for id, agg := range s.rows.Range(t.Key, start, start) {
		s.c.Forward(Record[update[V, A]]{
			Key: t.Key, Time: fromNanos(agg.Time), Headers: s.c.Trace(), Window: s.window(id.At.UnixNano()), Value: update[V, A]{new: agg.Value, hasNew: true},
		})
	}
	return nil
}
