package engine

import "encoding/binary"

// Timers are the timers of one operator by event time, or those by the clock. A timer is a key and a time; setting it twice is
// setting it once. They are kept as rows of an arena from the start: those of the commit in hand stand at its end.
type Timers struct {
	name      string
	task      *Task
	wall      bool // by the clock
	op        int  // rank of the operator in the task: timers of one time fire in this order
	fire      func(key string, at int64)
	family    *timerFamily
	rows      arena
	index     hashIndex // by id
	queue     timerQueue
	count     int      // those that are set
	fresh     uint64   // rows from here on wait for the next commit
	cancelled []uint64 // committed rows that are dead, or were: the journal is to be told
	most      int      // how many may be set before prune looks through them again
	log       []timerChange
	id        []byte // scratch
}

// timerChange is what a timer was before a change.
type timerChange struct {
	pos uint64
	set bool
}

// NewTimers returns the timers of an operator and registers them with t under name. fire is called when stream time
// reaches a timer, with stream time set to the timer's own time.
func NewTimers(t *Task, name string, fire func(key string, at int64)) *Timers {
	return newTimers(t, &Timers{name: name, fire: fire, family: &t.timers})
}

// NewWallTimers returns the timers of an operator that follow the clock: fire is called by AdvanceWall.
func NewWallTimers(t *Task, name string, fire func(key string, at int64)) *Timers {
	return newTimers(t, &Timers{name: name, fire: fire, family: &t.wallTimers, wall: true})
}

func newTimers(t *Task, s *Timers) *Timers {
	s.task, s.op, s.rows = t, len(t.stores), arena{bare: true, slack: tolerated}
	s.index = newHashIndex(func(pos uint64, id []byte) bool {
		r := s.rows.rowAt(pos)
		n := len(id) - 8
		return uint64(r.at) == binary.BigEndian.Uint64(id[n:]) && string(r.key) == string(id[:n])
	})
	s.family.all = append(s.family.all, s)
	t.addStore(s)
	return s
}

// appendTimerID appends what tells a timer from others to dst.
func appendTimerID[S string | []byte](dst []byte, key S, at int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, key...), uint64(at))
}

// find leaves the id of the timer in s.id.
func (s *Timers) find(key string, at int64) (hash, pos uint64, ok bool) {
	s.id = appendTimerID(s.id[:0], key, at)
	hash = s.index.hash(s.id)
	pos, ok = s.index.find(hash, s.id)
	return hash, pos, ok
}

func (s *Timers) hashOf(r *placed) uint64 {
	s.id = appendTimerID(s.id[:0], r.key, r.at)
	return s.index.hash(s.id)
}

func (s *Timers) isSet(pos uint64) bool { return s.rows.state(pos) == 0 }

// Set makes the timer of key fire at the given event time, or as soon as the record in hand is done if that is past.
func (s *Timers) Set(key string, at int64) {
	hash, pos, ok := s.find(key, at)
	if ok && s.isSet(pos) {
		return
	}
	if !ok {
		pos = s.rows.append([]byte(key), at, 0, nil, s.task.journal.last+1)
		s.rows.mark(pos, rowDead)
		s.index.set(hash, s.id, pos, false)
	}
	s.change(pos, true)
	if !s.family.add(s, at, pos) {
		s.wait(at, hash)
	}
}

// Cancel removes the timer of key at the given time; it is no error if there is none.
func (s *Timers) Cancel(key string, at int64) {
	if _, pos, ok := s.find(key, at); ok && s.isSet(pos) {
		s.change(pos, false)
	}
}

// change sets or cancels a timer whose row is there. A row that is dead leaves with the next commit, its place in the queue is given up
// when its turn comes.
func (s *Timers) change(pos uint64, set bool) {
	s.log = append(s.log, timerChange{pos: pos, set: !set})
	s.task.note(s)
	s.put(pos, set)
}

func (s *Timers) put(pos uint64, set bool) {
	if set {
		s.rows.mark(pos, 0)
		s.count++
		return
	}
	s.rows.mark(pos, rowDead)
	s.count--
	if pos < s.fresh {
		s.cancelled = append(s.cancelled, pos)
	}
}

func (s *Timers) undo() {
	c := popLast(&s.log)
	s.put(c.pos, c.set)
}

func (s *Timers) forget() { s.log = forgetAll(s.log) }

// Len returns the number of timers that are set.
func (s *Timers) Len() int { return s.count }

// Name returns the name under which the timers are kept.
func (s *Timers) Name() string { return s.name }

// spent forgets a timer that is about to fire. Of event time the journal is not told: stream time tells.
func (s *Timers) spent(r *placed) {
	if s.wall {
		s.put(r.pos, false)
		return
	}
	s.count--
	s.drop(r)
	if s.task.disk != nil {
		s.task.gone(s, string(r.key), r.at, 0)
	}
}

func (s *Timers) drop(r *placed) {
	hash := s.hashOf(r)
	s.index.remove(hash, s.id)
	s.rows.drop(r.pos)
}

// flush appends the changes since the last commit.
func (s *Timers) flush(dst []byte, _ uint64, _ func(error)) []byte {
	dst = counted(dst, len(s.cancelled)+s.rows.rows, s.appendChanges)
	s.cancelled = s.cancelled[:0]
	s.tidy()
	return dst
}

func (s *Timers) appendChanges(dst []byte) (_ []byte, changes int) {
	for _, pos := range s.cancelled {
		if r := s.rows.rowAt(pos); r.state == rowDead {
			dst = appendRowID(append(dst, changeDelete), r.key, r.at, 0)
			changes++
			s.drop(&r)
		}
	}
	for r := range s.rows.from(s.fresh, rowDropped) {
		if r.state == rowDead { // it came and went between two commits
			s.drop(&r)
			continue
		}
		dst = appendRowID(append(dst, changePut), r.key, r.at, 0)
		changes++
	}
	return dst, changes
}

// tidy is called when all rows are committed.
func (s *Timers) tidy() {
	s.rows.tidy(func(r *placed, pos uint64) {
		hash := s.hashOf(r)
		s.index.set(hash, s.id, pos, true)
	})
	s.fresh = s.rows.end()
}

func (s *Timers) restore(d *decoder, number uint64) error {
	kind, key, at, _ := d.change()
	if d.err != nil {
		return d.err
	}
	s.id = appendTimerID(s.id[:0], key, at)
	hash := s.index.hash(s.id)
	old, had := s.index.find(hash, s.id)
	switch {
	case kind == changePut:
		s.index.set(hash, s.id, s.rows.append(key, at, 0, nil, number), had)
	case had:
		s.index.remove(hash, s.id)
	}
	if had {
		s.rows.drop(old)
	}
	s.count = s.rows.rows
	s.tidy()
	return nil
}

// restored drops the timers that have fired, of which the journal says nothing, and lets the others wait.
func (s *Timers) restored(now int64) error {
	s.dropFired(now)
	s.line()
	return nil
}

func (s *Timers) dropFired(now int64) {
	if s.wall {
		return
	}
	for r := range s.rows.all() {
		if r.at <= now {
			s.spent(&r)
		}
	}
	s.tidy()
}

// prune drops the timers that have fired meanwhile. It looks through all of them whenever they have doubled.
func (s *Timers) prune(now int64) {
	if s.count >= s.most {
		s.dropFired(now)
		s.most = 2*s.count + 1024
	}
}

// rideAlong takes the rows that hold the journal back into the next commit, up to budget bytes of them, and returns what is left of it.
func (s *Timers) rideAlong(budget int) int {
	if budget <= 0 {
		return budget
	}
	for r := range s.rows.ride() {
		if r.pos >= s.fresh {
			break
		}
		hash := s.hashOf(&r)
		s.index.set(hash, s.id, s.rows.append(r.key, r.at, 0, nil, s.task.journal.last+1), true)
		s.rows.drop(r.pos)
		if budget -= r.size; budget <= 0 {
			break
		}
	}
	return budget
}

func (s *Timers) advance(int64)  {}
func (s *Timers) oldest() uint64 { return s.rows.oldest() }
func (s *Timers) settle()        { s.rows.settle() }
func (s *Timers) liveBytes() int { return s.rows.liveBytes() }
func (s *Timers) isDirty() bool  { return s.rows.end() != s.fresh || len(s.cancelled) > 0 }
func (s *Timers) shape() shape   { return shape{noValue: true} }
