package processor

import "time"

// sessions keeps the sessions of each key. They never overlap.
type sessions[V, A any] struct {
	folding[V, A]
	c    *Context[update[V, A]]
	rows *Sessions[A]
}

func (s sessions[V, A]) handler() Handler[V] {
	h := Handler[V]{Record: s.record}
	if s.emit == OnClose {
		h.Timer = s.close
	}
	return h
}

// closes is the last instant at which a session that ends at end may still grow (rule 15).
func (s sessions[V, A]) closes(end int64) int64 { return end + int64(s.windows.size+s.grace) }

// found is a session in the store.
type found[A any] struct {
	span
	value A
}

func (s sessions[V, A]) record(r Record[V]) error {
	if r.Key == "" {
		return errNoKey
	}
	at := r.Time.UnixNano()
	near := s.fitting(at, s.near(r.Key, at))
	merged := span{at, at}
	for _, f := range near {
		merged = span{min(merged.start, f.start), max(merged.end, f.end)}
	}
	if s.closes(merged.end) < s.c.StreamTime().UnixNano() { // rule 15: after merging
		emitLate(s.c, &r)
		return nil
	}
	return s.grow(&r, near, merged)
}

// near returns the open sessions that are at most the gap away from an event time, in order of time.
func (s sessions[V, A]) near(key string, at int64) []found[A] {
	var near []found[A]
	gap, now := s.windows.size, s.c.StreamTime().UnixNano()
	when := fromNanos(at)
	for w, value := range s.rows.Find(key, when.Add(-gap), when.Add(gap)) {
		if f := (found[A]{span{w.Start.UnixNano(), w.End.UnixNano()}, value}); s.closes(f.end) >= now {
			near = append(near, f)
		}
	}
	return near
}

// fitting returns those of the sessions that become one with a record without growing longer than they may.
func (s sessions[V, A]) fitting(at int64, near []found[A]) []found[A] {
	limit := int64(s.windows.maxLength)
	fits := func(some []found[A]) bool {
		return limit == 0 || len(some) == 0 || max(at, some[len(some)-1].end)-min(at, some[0].start) <= limit
	}
	if fits(near) {
		return near
	}
	for i := range near {
		if one := near[i : i+1]; fits(one) {
			return one
		}
	}
	return nil
}

// grow replaces sessions by the one that they and a record make (rule 16).
func (s sessions[V, A]) grow(r *Record[V], near []found[A], merged span) error {
	if s.emit == OnClose {
		if err := s.c.Schedule(r.Key, fromNanos(s.closes(merged.end)+1)); err != nil {
			return err
		}
	}
	var agg, old A
	same := len(near) == 1 && near[0].span == merged
	for i, f := range near {
		agg = s.merge(agg, i > 0, f.value)
		if s.emit == OnUpdate && !(same && merged.start == merged.end) {
			s.forward(r, f.span, update[V, A]{old: f.value, hadOld: true})
		}
	}
	if same {
		old = near[0].value
	}
	agg = s.add(agg, len(near) > 0, r.Value)
	if !same {
		for _, f := range near {
			s.remove(r.Key, f.span, merged)
		}
	}
	s.rows.Put(r.Key, fromNanos(merged.start), fromNanos(merged.end), agg)
	if s.emit == OnUpdate {
		u := update[V, A]{new: agg, hasNew: true}
		if same && merged.start == merged.end {
			u.old, u.hadOld = old, true
		}
		s.forward(r, merged, u)
	}
	return nil
}

// remove takes a session out that has become part of merged.
func (s sessions[V, A]) remove(key string, old, merged span) {
	s.rows.Remove(key, fromNanos(old.start), fromNanos(old.end))
	if s.emit == OnClose && old.end != merged.end {
		s.c.Cancel(key, fromNanos(s.closes(old.end)+1))
	}
}

// forward emits a change with the session's window; its time is the session's end.
func (s sessions[V, A]) forward(r *Record[V], w span, u update[V, A]) {
	s.c.Forward(Record[update[V, A]]{Key: r.Key, Time: fromNanos(w.end), Headers: r.Headers, Window: s.window(w), Value: u})
}

func (s sessions[V, A]) window(w span) Window {
	return Window{Start: fromNanos(w.start), End: fromNanos(w.end), Closes: fromNanos(s.closes(w.end))}
}

func (s sessions[V, A]) close(t Timer) error {
	end := t.At.Add(-(s.windows.size + s.grace + 1*time.Nanosecond))
	for w, value := range s.rows.Find(t.Key, end, end) {
		if w.End.Equal(end) { // one that is open still may start now
			s.c.Forward(Record[update[V, A]]{
				Key: t.Key, Time: end, Headers: s.c.Trace(), Window: s.window(span{w.Start.UnixNano(), end.UnixNano()}), Value: update[V, A]{new: value, hasNew: true},
			})
		}
	}
	return nil
}
