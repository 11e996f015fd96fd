package engine

import "container/heap"

// Timers are the timers of one operator by event time, or those by the clock. A timer is a key and a time; setting it twice is
// setting it once.
type Timers struct {
	name string
	task *Task
	wall bool // by the clock
	op   int  // rank of the operator in the task: timers of one time fire in this order
	fire func(key string, at int64)
	set  map[timerID]*row[timerOp]
	most int // how many may be set before prune looks through them again
	heap *timerHeap
	led  ledger[timerOp]
	log  []rowChange[timerOp]
}

type timerID struct {
	key string
	at  int64
}

// timerOp lets the task's one heap find the operator of a timer.
type timerOp struct{ timers *Timers }

// NewTimers returns the timers of an operator and registers them with t under name. fire is called when stream time
// reaches a timer, with stream time set to the timer's own time.
func NewTimers(t *Task, name string, fire func(key string, at int64)) *Timers {
	return newTimers(t, &Timers{name: name, fire: fire, heap: &t.timers})
}

// NewWallTimers returns the timers of an operator that follow the clock: fire is called by AdvanceWall.
func NewWallTimers(t *Task, name string, fire func(key string, at int64)) *Timers {
	return newTimers(t, &Timers{name: name, fire: fire, heap: &t.wallTimers, wall: true})
}

func newTimers(t *Task, s *Timers) *Timers {
	if former, ok := formerStore[*Timers](t, s.name); ok {
		former.fire = s.fire
		t.addStore(former)
		return former
	}
	s.task, s.op, s.set = t, len(t.stores), make(map[timerID]*row[timerOp])
	t.addStore(s)
	return s
}

// Set makes the timer of key fire at the given event time, or as soon as the record in hand is done if that is past.
func (s *Timers) Set(key string, at int64) {
	id := timerID{key, at}
	r, ok := s.set[id]
	if ok && !r.dead {
		return
	}
	if !ok {
		r = &row[timerOp]{key: key, at: at, value: timerOp{s}}
		s.set[id] = r
	}
	s.remember(r, !ok)
	r.dead = false
	heap.Push(s.heap, r)
	s.led.touch(r)
}

func (s *Timers) remember(r *row[timerOp], created bool) {
	s.log = append(s.log, before(r, created))
	s.task.note(s)
}

func (s *Timers) undo() {
	c := popLast(&s.log)
	s.led.putBack(c)
	if c.created {
		c.row.dead = true // its place in the heap is given up when its turn comes
		delete(s.set, timerID{c.row.key, c.row.at})
	}
}

func (s *Timers) forget() { s.log = forgetAll(s.log) }

// Cancel removes the timer of key at the given time; it is no error if there is none.
func (s *Timers) Cancel(key string, at int64) {
	r, ok := s.set[timerID{key, at}]
	if !ok || r.dead {
		return
	}
	s.remember(r, false)
	r.dead = true // its place in the heap is given up when its turn comes
	s.led.touch(r)
}

// Len returns the number of timers that are set.
func (s *Timers) Len() int {
	n := 0
	for _, r := range s.set {
		if !r.dead {
			n++
		}
	}
	return n
}

// Name returns the name under which the timers are kept.
func (s *Timers) Name() string { return s.name }

// spent forgets a timer that is about to fire. Of event time the journal is not told: stream time tells.
func (s *Timers) spent(r *row[timerOp]) {
	if s.wall {
		r.dead = true
		s.led.touch(r)
		return
	}
	delete(s.set, timerID{r.key, r.at})
	s.led.expire(r)
	s.task.gone(s, r.key, r.at, r.seq)
}

func (s *Timers) flush(dst []byte, number uint64, refused func(error)) []byte {
	return s.led.flush(dst, number, s.drop, refused)
}

func (s *Timers) drop(r *row[timerOp]) {
	if id := (timerID{r.key, r.at}); s.set[id] == r {
		delete(s.set, id)
	}
}

func (s *Timers) restore(d *decoder, number uint64) error {
	c, err := s.led.decode(d)
	if err != nil {
		return err
	}
	id := timerID{c.key, c.at}
	r, ok := s.set[id]
	if c.deleted {
		if ok {
			s.led.unlink(r)
			delete(s.set, id)
		}
		return nil
	}
	if !ok {
		r = &row[timerOp]{key: c.key, at: c.at, value: timerOp{s}}
		s.set[id] = r
	}
	s.led.link(r, number, c.size)
	return nil
}

func (s *Timers) restored(now int64) error {
	for _, r := range s.set {
		if r.at <= now && !s.wall {
			s.spent(r)
		} else {
			heap.Push(s.heap, r)
		}
	}
	return nil
}

// prune drops the timers that have fired meanwhile, of which the journal says nothing. It looks through all of them whenever
// they have doubled.
func (s *Timers) prune(now int64) {
	if s.wall || len(s.set) < s.most {
		return
	}
	for _, r := range s.set {
		if r.at <= now {
			s.spent(r)
		}
	}
	s.most = 2*len(s.set) + 1024
}

func (s *Timers) advance(int64)            {}
func (s *Timers) oldest() uint64           { return s.led.oldest() }
func (s *Timers) rideAlong(budget int) int { return s.led.rideAlong(budget) }
func (s *Timers) liveBytes() int           { return s.led.live }
func (s *Timers) isDirty() bool            { return len(s.led.dirty) > 0 }
func (s *Timers) shape() shape             { return shape{noValue: true} }

// timerHeap orders all timers of a task by time, then operator, then key: the order does not depend on when they were set.
type timerHeap []*row[timerOp]

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	if a.at != b.at {
		return a.at < b.at
	}
	if a.value.timers.op != b.value.timers.op {
		return a.value.timers.op < b.value.timers.op
	}
	return a.key < b.key
}
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *timerHeap) Push(x any) { *h = append(*h, x.(*row[timerOp])) }

// Pop implements heap.Interface.
func (h *timerHeap) Pop() any {
	old := *h
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return r
}

// NextTimer returns the time of the event-time timer that fires next, and whether there is one.
func (t *Task) NextTimer() (at int64, ok bool) { return t.timers.next() }

// NextWallTimer returns the time of the timer by the clock that fires next, and whether there is one.
func (t *Task) NextWallTimer() (at int64, ok bool) { return t.wallTimers.next() }

func (h *timerHeap) next() (at int64, ok bool) {
	for len(*h) > 0 && (*h)[0].dead {
		heap.Pop(h)
	}
	if len(*h) == 0 {
		return 0, false
	}
	return (*h)[0].at, true
}
