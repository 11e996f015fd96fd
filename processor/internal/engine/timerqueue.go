package engine

import (
	"bytes"
	"slices"
)

// queued is a timer that waits, known by the hash of its id. There may be none any more, or it may be cancelled.
type queued struct {
	at   int64
	hash uint64
}

func (a queued) before(b queued) bool { return a.at < b.at }

// timerQueue is a heap by time: of plain numbers, so that neither the collector nor a comparison follows a pointer.
type timerQueue = heapOf[queued]

// wait puts a timer into the queue. The queue is made anew when most of it has been given up.
func (s *Timers) wait(at int64, hash uint64) {
	if len(s.queue) > 2*s.count+1024 {
		s.line()
		return
	}
	s.queue.push(queued{at, hash})
}

// line queues all timers that are set.
func (s *Timers) line() {
	s.queue = slices.Grow(s.queue[:0], s.count)
	if cap(s.queue) > 2*s.count+2048 {
		s.queue = make(timerQueue, 0, s.count)
	}
	for r := range s.rows.all() {
		s.queue = append(s.queue, queued{r.at, s.hashOf(&r)})
	}
	s.queue.order()
}

// isWaiting reports whether there is a timer behind q: at pos.
func (s *Timers) isWaiting(q queued, pos uint64) bool {
	r := s.rows.rowAt(pos)
	return r.at == q.at && r.state == 0
}

// next returns the time of the timer that fires next, and whether there is one.
func (s *Timers) next() (at int64, ok bool) {
	for len(s.queue) > 0 {
		for pos := range s.index.of(s.queue[0].hash) {
			if s.isWaiting(s.queue[0], pos) {
				return s.queue[0].at, true
			}
		}
		s.queue.pop()
	}
	return 0, false
}

// timerFamily are all timers of a task by event time, or all by the clock.
type timerFamily struct {
	all []*Timers
	due heapOf[dueTimer] // those of the lowest time, and what has been set for then, or before, since they were found
	at  int64            // that time
}

// dueTimer is a timer whose turn it is. Those of one time fire in the order of operators, then of keys: it does not depend on when they
// were set. Rows do not move before the next commit, by when no timer is due.
type dueTimer struct {
	timers *Timers
	at     int64
	pos    uint64
}

func (a dueTimer) before(b dueTimer) bool {
	switch {
	case a.at != b.at:
		return a.at < b.at
	case a.timers.op != b.timers.op:
		return a.timers.op < b.timers.op
	}
	return bytes.Compare(a.timers.rows.keyAt(a.pos), b.timers.rows.keyAt(b.pos)) < 0
}

// add takes a timer if its turn comes before, or among, those that are due.
func (f *timerFamily) add(s *Timers, at int64, pos uint64) bool {
	if len(f.due) == 0 || at > f.at {
		return false
	}
	f.due.push(dueTimer{s, at, pos})
	return true
}

// pop takes out the timer that fires next, if its time has come at now.
func (f *timerFamily) pop(now int64) (s *Timers, r placed, ok bool) {
	for {
		for len(f.due) > 0 {
			d := f.due.pop()
			if d.timers.isSet(d.pos) {
				return d.timers, d.timers.rows.rowAt(d.pos), true
			}
		}
		if !f.gather(now) {
			return nil, placed{}, false
		}
	}
}

// gather makes those due that wait for the lowest time.
func (f *timerFamily) gather(now int64) bool {
	found := false
	for _, s := range f.all {
		if len(s.queue) > 0 && s.queue[0].at <= now && (!found || s.queue[0].at < f.at) {
			f.at, found = s.queue[0].at, true
		}
	}
	if !found {
		return false
	}
	for _, s := range f.all {
		for len(s.queue) > 0 && s.queue[0].at == f.at {
			q := s.queue.pop()
			for pos := range s.index.of(q.hash) { // one, nearly always
				if s.isWaiting(q, pos) {
					f.due = append(f.due, dueTimer{s, f.at, pos})
				}
			}
		}
	}
	f.due.order()
	return true
}

// rest lets those that are due wait again.
func (f *timerFamily) rest() {
	for _, d := range f.due {
		if r := d.timers.rows.rowAt(d.pos); r.state == 0 {
			d.timers.queue.push(queued{d.at, d.timers.hashOf(&r)})
		}
	}
	f.due = f.due[:0]
}

// next returns the time of the timer that fires next, and whether there is one.
func (f *timerFamily) next() (at int64, ok bool) {
	for _, s := range f.all {
		if first, some := s.next(); some && (!ok || first < at) {
			at, ok = first, true
		}
	}
	return at, ok
}

// last returns the time of the timer that fires last, or another one if that is later.
func (f *timerFamily) last(at int64) int64 {
	for _, s := range f.all {
		for r := range s.rows.all() {
			at = max(at, r.at)
		}
	}
	return at
}

// waiting is how many timers there are, at least.
func (f *timerFamily) waiting() (n int) {
	for _, s := range f.all {
		n += s.count
	}
	return n
}

// NextTimer returns the time of the event-time timer that fires next, and whether there is one.
func (t *Task) NextTimer() (at int64, ok bool) { return t.timers.next() }

// NextWallTimer returns the time of the timer by the clock that fires next, and whether there is one.
func (t *Task) NextWallTimer() (at int64, ok bool) { return t.wallTimers.next() }
