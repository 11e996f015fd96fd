package engine

import (
	"iter"
	"slices"

	"github.com/rossby-streams/rossby/stream"
)

// Window is a store of rows per key, ordered by event time. Rows of one key and time are kept side by side in the order in
// which they came. A row is dropped when stream time has passed its time by more than the retention.
type Window[V any] struct {
	name      string
	task      *Task
	retention int64
	keys      map[string]*rowList[V]
	led       ledger[V]
	seq       uint64
	now       int64
	size      int
	expiry    expiry[V]
	log       []rowChange[V]
}

// expiry remembers in which slice of time the oldest row of each key lies, so that dropping costs O(1) per row, not a scan.
type expiry[V any] struct {
	slice int64                   // length of a slice
	lists map[int64][]*rowList[V] // those that are due; and some that have been due elsewhere since
	queue []int64                 // slices in use, ascending
}

// NewWindow returns an empty store and registers it with t under name. retention is in nanoseconds, at least 1.
func NewWindow[V any](t *Task, name string, retention int64, codec stream.Codec[V]) *Window[V] {
	if s, ok := formerStore[*Window[V]](t, name); ok {
		t.addStore(s)
		return s
	}
	s := &Window[V]{
		name: name, task: t, retention: retention, now: NoTime,
		keys:   make(map[string]*rowList[V]),
		led:    ledger[V]{codec: codec},
		expiry: expiry[V]{slice: max(retention/16, 1), lists: make(map[int64][]*rowList[V])},
	}
	t.addStore(s)
	return s
}

// RowID names one row of a window store.
type RowID struct {
	Key string
	At  int64
	Seq uint64
}

// Add appends a row, unless it is older than the retention allows; it reports whether it did.
func (s *Window[V]) Add(key string, at int64, value V) bool {
	if s.expired(at) {
		return false
	}
	s.seq++
	r := &row[V]{key: key, at: at, seq: s.seq, value: value}
	s.remember(r, true)
	s.insert(r)
	s.led.touch(r)
	return true
}

// Set replaces the value of a row; it reports whether the row is there.
func (s *Window[V]) Set(id RowID, value V) bool {
	r := s.find(id)
	if r == nil {
		return false
	}
	s.remember(r, false)
	r.value = value
	s.led.touch(r)
	return true
}

// Remove deletes a row; it is no error if it is not there.
func (s *Window[V]) Remove(id RowID) {
	r := s.find(id)
	if r == nil {
		return
	}
	s.remember(r, false)
	var none V
	r.value, r.dead = none, true
	s.take(r)
	s.led.touch(r)
}

func (s *Window[V]) remember(r *row[V], created bool) {
	s.log = append(s.log, before(r, created))
	s.task.note(s)
}

func (s *Window[V]) undo() {
	c := popLast(&s.log)
	r := c.row
	switch {
	case c.created:
		s.take(r)
		s.seq--
	case r.dead && !c.dead:
		s.insert(r)
	}
	s.led.putBack(c)
}

func (s *Window[V]) forget() { s.log = forgetAll(s.log) }

// Range yields the rows of key with from <= time <= to, in order of time, then of arrival. The store must not be changed
// meanwhile, but for Set on a row that has been yielded.
func (s *Window[V]) Range(key string, from, to int64) iter.Seq2[RowID, V] {
	return func(yield func(RowID, V) bool) {
		list, ok := s.keys[key]
		if !ok {
			return
		}
		for r := range list.between(max(from, s.horizon()), to) {
			if !yield(RowID{Key: r.key, At: r.at, Seq: r.seq}, r.value) {
				return
			}
		}
	}
}

// Rows returns the values that Range yields as one slice, which is the caller's; nil if there are none.
func (s *Window[V]) Rows(key string, from, to int64) []V {
	list, first, behind := s.span(key, from, to)
	n := list.distance(first, behind)
	if n == 0 {
		return nil
	}
	values := make([]V, 0, n)
	for r := range list.between(max(from, s.horizon()), to) {
		values = append(values, r.value)
	}
	return values
}

// Count returns how many rows Range yields, without visiting them.
func (s *Window[V]) Count(key string, from, to int64) int {
	list, first, behind := s.span(key, from, to)
	return list.distance(first, behind)
}

// Last returns the value that Range yields last, without visiting the others; ok is false if there is none.
func (s *Window[V]) Last(key string, from, to int64) (value V, ok bool) {
	list, first, behind := s.span(key, from, to)
	if first == behind {
		return value, false
	}
	return list.before(behind).value, true
}

// span returns where the rows of key with from <= time <= to begin and where they end.
func (s *Window[V]) span(key string, from, to int64) (list *rowList[V], first, behind place) {
	list, ok := s.keys[key]
	if from = max(from, s.horizon()); !ok || from > to {
		return nil, place{}, place{}
	}
	return list, list.search(from, 0), list.search(to+1, 0)
}

// Len returns the number of rows that have not been dropped yet.
func (s *Window[V]) Len() int { return s.size }

// Name returns the name of the store.
func (s *Window[V]) Name() string { return s.name }

// horizon is the lowest time that is still kept.
func (s *Window[V]) horizon() int64 { return horizon(s.now, s.retention) }

func (s *Window[V]) expired(at int64) bool { return at < s.horizon() }

func (s *Window[V]) find(id RowID) *row[V] {
	list, ok := s.keys[id.Key]
	if !ok {
		return nil
	}
	if r := list.at(list.search(id.At, id.Seq)); r != nil && r.at == id.At && r.seq == id.Seq {
		return r
	}
	return nil
}

func (r *row[V]) before(at int64, seq uint64) bool { return r.at < at || r.at == at && r.seq < seq }

func (s *Window[V]) insert(r *row[V]) {
	list, ok := s.keys[r.key]
	if !ok {
		list = &rowList[V]{}
		s.keys[r.key] = list
	}
	list.insert(r)
	s.size++
	if slice := floorDiv(r.at, s.expiry.slice); !ok || slice < list.due {
		s.expiry.wait(list, slice)
	}
}

// wait makes a list due with a slice of time, and with no other.
func (e *expiry[V]) wait(list *rowList[V], slice int64) {
	list.due = slice
	lists, ok := e.lists[slice]
	if !ok {
		i, _ := slices.BinarySearch(e.queue, slice)
		e.queue = slices.Insert(e.queue, i, slice)
	}
	e.lists[slice] = append(lists, list)
}

// advance drops what stream time has left behind. Whole slices of time are dropped at once, and Range hides the rest: what is kept
// depends on the rows and on stream time alone, not on how it got there, so that a restart does not change it.
func (s *Window[V]) advance(now int64) {
	s.now = now
	horizon := s.horizon()
	if horizon == NoTime {
		return
	}
	e := &s.expiry
	for keep := floorDiv(horizon, e.slice); len(e.queue) > 0 && e.queue[0] < keep; {
		slice := e.queue[0]
		lists := e.lists[slice]
		e.queue = e.queue[1:]
		delete(e.lists, slice)
		for _, list := range lists {
			if list.due == slice && !list.empty() {
				s.drop(list, keep)
			}
		}
	}
}

// drop removes the rows of a list that lie in slices before keep.
func (s *Window[V]) drop(list *rowList[V], keep int64) {
	key := list.oldest().key
	for !list.empty() {
		r := list.oldest()
		if slice := floorDiv(r.at, s.expiry.slice); slice >= keep {
			s.expiry.wait(list, slice)
			return
		}
		s.led.expire(r)
		s.task.gone(s, r.key, r.at, r.seq)
		list.dropOldest()
		s.size--
	}
	delete(s.keys, key)
}

// floorDiv is a/b, rounded down, for b > 0.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a < 0 && q*b != a {
		q--
	}
	return q
}

func (s *Window[V]) flush(dst []byte, number uint64, refused func(error)) []byte {
	return s.led.flush(dst, number, s.dropDead, refused)
}

// dropDead takes a row out that is dead, if it is in still.
func (s *Window[V]) dropDead(r *row[V]) {
	if s.find(RowID{Key: r.key, At: r.at, Seq: r.seq}) == r {
		s.take(r)
	}
}

// take removes a row that is there.
func (s *Window[V]) take(r *row[V]) {
	list := s.keys[r.key]
	list.take(list.search(r.at, r.seq))
	s.size--
	if list.empty() {
		delete(s.keys, r.key)
	}
}

func (s *Window[V]) restore(d *decoder, number uint64) error {
	c, err := s.led.decode(d)
	if err != nil {
		return err
	}
	s.seq = max(s.seq, c.seq)
	r := s.find(RowID{Key: c.key, At: c.at, Seq: c.seq})
	if c.deleted {
		if r != nil {
			s.led.unlink(r)
			s.Remove(RowID{Key: c.key, At: c.at, Seq: c.seq})
		}
		return nil
	}
	if r == nil {
		r = &row[V]{key: c.key, at: c.at, seq: c.seq}
		s.insert(r)
	}
	r.value = c.value
	s.led.link(r, number, c.size)
	return nil
}

// prune drops what has expired meanwhile. The deletions met on the way have left rows marked for the next commit that have no
// home: flush would write nothing for them.
func (s *Window[V]) prune(now int64) {
	if now != NoTime {
		s.advance(now)
	}
	clear(s.led.dirty)
	s.led.dirty = s.led.dirty[:0]
}

func (s *Window[V]) restored(now int64) error {
	s.prune(now)
	return nil
}

func (s *Window[V]) oldest() uint64           { return s.led.oldest() }
func (s *Window[V]) rideAlong(budget int) int { return s.led.rideAlong(budget) }
func (s *Window[V]) liveBytes() int           { return s.led.live }
func (s *Window[V]) isDirty() bool            { return len(s.led.dirty) > 0 }
func (s *Window[V]) shape() shape             { return shape{} }
