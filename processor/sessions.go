package processor

import "time"

// sessionRow is what is kept of a session, at the time of its end.
type sessionRow[A any] struct {
	Start int64 `json:"s"` // in nanoseconds
	Value A     `json:"v"`
}

// sessions keeps the sessions of each key. They never overlap.
type sessions[V, A any] struct {
	folding[V, A]
	c    *Context[update[V, A]]
	rows *Windowed[sessionRow[A]]
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
	id  RowID
	row sessionRow[A]
}

func (f found[A]) end() int64 { return f.id.At.UnixNano() }

func (s sessions[V, A]) record(r Record[V]) error {
	if r.Key == "" {
		return errNoKey
	}
	at := r.Time.UnixNano()
	near := s.fitting(at, s.near(r.Key, at))
	merged := span{at, at}
	for _, f := range near {
		merged = span{min(merged.start, f.row.Start), max(merged.end, f.end())}
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
	for id, row := range s.rows.Range(key, fromNanos(at).Add(-gap), maxEventTime) {
		if row.Start > at+int64(gap) {
			break
		}
		if s.closes(id.At.UnixNano()) >= now {
			near = append(near, found[A]{id, row})
		}
	}
	return near
}

// fitting returns those of the sessions that become one with a record without growing longer than they may.
func (s sessions[V, A]) fitting(at int64, near []found[A]) []found[A] {
	limit := int64(s.windows.maxLength)
	fits := func(some []found[A]) bool {
		return limit == 0 || len(some) == 0 || max(at, some[len(some)-1].end())-min(at, some[0].row.Start) <= limit
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
	same := len(near) == 1 && near[0].end() == merged.end && near[0].row.Start == merged.start
	for i, f := range near {
		agg = s.merge(agg, i > 0, f.row.Value)
		if s.emit == OnUpdate && !(same && merged.start == merged.end) {
			s.forward(r, span{f.row.Start, f.end()}, update[V, A]{old: f.row.Value, hadOld: true})
		}
	}
	if same {
		old = near[0].row.Value
	}
	agg = s.add(agg, len(near) > 0, r.Value)
	row := sessionRow[A]{Start: merged.start, Value: agg}
	switch {
	case same:
		s.rows.Set(near[0].id, row)
	default:
		for _, f := range near {
			s.remove(r.Key, f, merged)
		}
		s.rows.Add(r.Key, fromNanos(merged.end), row)
	}
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
func (s sessions[V, A]) remove(key string, f found[A], merged span) {
	s.rows.Remove(f.id)
	if s.emit == OnClose && f.end() != merged.end {
		s.c.Cancel(key, fromNanos(s.closes(f.end())+1))
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
	for id, row := range s.rows.Range(t.Key, end, end) {
		w := span{row.Start, id.At.UnixNano()}
		s.c.Forward(Record[update[V, A]]{
			Key: t.Key, Time: id.At, Window: s.window(w), Value: update[V, A]{new: row.Value, hasNew: true},
		})
	}
	return nil
}
