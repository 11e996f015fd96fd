package engine

import (
	"fmt"
	"iter"

	"github.com/rossby-streams/rossby/stream"
)

// Window is a store of rows per key, ordered by event time. Rows of one key and time are kept side by side in the order in
// which they came. A row is dropped when stream time has passed its time by more than the retention.
//
// What is committed is in an arena, as bytes; rows that have changed since, and those that were used lately, are hot: values. An index
// leads from a key to its row, or to a list where it has several.
type Window[V any] struct {
	name      string
	task      *Task
	codec     stream.Codec[V]
	retention int64
	rows      arena
	index     hashIndex // keys to refs
	lists     rowLists
	hot       hotRows[V]
	dirty     []*hotRow[V]
	riders    []uint64 // positions of rows that are written again so that the journal can be trimmed
	seq       uint64
	now       int64
	size      int
	expiry    timeline[uint64] // hashes of keys
	log       []rowChange[hotRow[V], V]
	single    rowList // scratch, as are the others: a list of one row
	expiring  []uint64
	key, warm []byte
}

// A ref is the position of a row in the arena, or says which of the hot rows it is, or which list has the rows of a key.
const (
	refHot  = 1 << 63
	refList = 1 << positionBits
	refLong = 1 << 32 // of a list: it is among the long ones
)

// hotLooks is how many hot rows are looked at for one that can go when another one comes.
const hotLooks = 8

// NewWindow returns an empty store and registers it with t under name. retention is in nanoseconds, at least 1.
func NewWindow[V any](t *Task, name string, retention int64, codec stream.Codec[V]) *Window[V] {
	s := &Window[V]{name: name, task: t, codec: codec, retention: retention, now: NoTime, expiry: newTimeline[uint64](retention)}
	s.rows.slack, s.hot.most = tolerated, hotCount
	s.hot.cold = func(r *hotRow[V]) { s.lead(r, r.pos) }
	s.lists.of, s.single = s.seqOf, rowList{make([]listed, 1)}
	s.index = newHashIndex(func(ref uint64, key []byte) bool {
		if ref&refList != 0 {
			ref = s.lists.at(ref).newest().ref
		}
		if ref&refHot != 0 {
			return s.hot.at(ref).key == string(key)
		}
		return string(s.rows.keyAt(ref)) == string(key)
	})
	t.addStore(s)
	return s
}

// Add appends a row, unless it is older than the retention allows; it reports whether it did.
func (s *Window[V]) Add(key string, at int64, value V) bool {
	if s.expired(at) {
		return false
	}
	s.seq++
	s.hot.cool(s.size, hotLooks)
	r := &hotRow[V]{key: key, at: at, seq: s.seq, value: value, pos: nowhere, used: true}
	s.hot.add(r)
	s.remember(r, true)
	s.insert(s.keyed(key), listed{at, r.ref()}, r.seq)
	s.touch(r)
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
	s.touch(r)
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
	s.take(s.keyed(r.key), r.at, r.seq)
	s.touch(r)
}

// touch marks a row for the next commit. What is committed of it does not ride along then.
func (s *Window[V]) touch(r *hotRow[V]) {
	if !r.dirty {
		r.dirty = true
		s.dirty = append(s.dirty, r)
		s.mark(r, rowDead)
	}
}

func (s *Window[V]) mark(r *hotRow[V], state byte) {
	if r.pos != nowhere {
		s.rows.mark(r.pos, state)
	}
}

func (s *Window[V]) remember(r *hotRow[V], created bool) {
	s.log = append(s.log, rowChange[hotRow[V], V]{row: r, value: r.value, dead: r.dead, dirty: r.dirty, created: created})
	s.task.note(s)
}

func (s *Window[V]) undo() {
	c := popLast(&s.log)
	r := c.row
	if r.dead && !c.dead {
		s.insert(s.keyed(r.key), listed{r.at, r.ref()}, r.seq)
	}
	if r.dirty && !c.dirty { // then this change has put it at the end
		popLast(&s.dirty)
		r.dirty = false
		s.mark(r, 0)
	}
	r.value, r.dead = c.value, c.dead
	if c.created {
		s.take(s.keyed(r.key), r.at, r.seq)
		s.hot.remove(r)
		s.seq--
	}
}

func (s *Window[V]) forget() { s.log = forgetAll(s.log) }

// Range yields the rows of key with from <= time <= to, in order of time, then of arrival. The store must not be changed
// meanwhile, but for Set on a row that has been yielded.
func (s *Window[V]) Range(key string, from, to int64) iter.Seq2[RowID, V] {
	return func(yield func(RowID, V) bool) {
		from = max(from, s.horizon())
		list := s.rowsOf(s.keyed(key))
		for p := list.search(s.seqOf, from, 0); p.block < len(list); p = (place{p.block + 1, 0}) {
			for _, e := range list[p.block][p.index:] {
				if e.at > to {
					return
				}
				r := s.value(key, e)
				if r == nil || !yield(RowID{Key: key, At: r.at, Seq: r.seq}, r.value) {
					return
				}
			}
		}
	}
}

// Rows returns the values that Range yields as one slice, which is the caller's; nil if there are none.
func (s *Window[V]) Rows(key string, from, to int64) []V {
	n := s.Count(key, from, to)
	if n == 0 {
		return nil
	}
	values := make([]V, 0, n)
	for _, value := range s.Range(key, from, to) {
		values = append(values, value)
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
	e := list.before(behind)
	r := s.value(key, *e)
	if r == nil {
		return value, false
	}
	return r.value, true
}

// Len returns the number of rows that have not been dropped yet.
func (s *Window[V]) Len() int { return s.size }

// Name returns the name of the store.
func (s *Window[V]) Name() string { return s.name }

// horizon is the lowest time that is still kept.
func (s *Window[V]) horizon() int64 { return horizon(s.now, s.retention) }

func (s *Window[V]) expired(at int64) bool { return at < s.horizon() }

// value returns the row of an entry as a value; nil if it cannot be decoded, which ends the task.
func (s *Window[V]) value(key string, e listed) *hotRow[V] {
	if e.ref&refHot != 0 {
		r := s.hot.at(e.ref)
		r.used = true
		return r
	}
	row := s.rows.rowAt(e.ref)
	v, err := s.decode(&row)
	if err != nil {
		s.task.Stop(fmt.Errorf("store %s: %w", s.name, err))
		return nil
	}
	r := &hotRow[V]{key: key, at: e.at, seq: row.seq, value: v, pos: e.ref, size: int32(row.size), used: true}
	s.hot.cool(s.size, hotLooks) // before it is among them
	s.hot.add(r)
	s.lead(r, r.ref())
	return r
}

// lead lets the index lead to a row by another ref.
func (s *Window[V]) lead(r *hotRow[V], ref uint64) {
	s.warm = append(s.warm[:0], r.key...)
	s.point(s.warm, r.at, r.seq, ref)
}

func (s *Window[V]) decode(row *placed) (V, error) {
	v, err := s.codec.Decode(append([]byte(nil), row.value...)) // the value may keep the bytes
	if err != nil {
		return v, fmt.Errorf("decode the value of key %q: %w", row.key, err)
	}
	return v, nil
}

// find returns a row as a value; nil if it is not there.
func (s *Window[V]) find(id RowID) *hotRow[V] {
	if e, ok := s.entry(s.keyed(id.Key), id.At, id.Seq); ok {
		return s.value(id.Key, e)
	}
	return nil
}

// advance drops what stream time has left behind. Whole slices of time are dropped at once, and Range hides the rest: what is kept
// depends on the rows and on stream time alone, not on how it got there, so that a restart does not change it.
func (s *Window[V]) advance(now int64) {
	s.now = now
	if horizon := s.horizon(); horizon != NoTime {
		keep := s.expiry.sliceOf(horizon)
		for hash := range s.expiry.before(keep) {
			s.expire(hash, keep)
		}
	}
}

// drop forgets a row without a trace in the journal: whoever restores it will see from the stream time that it is over.
func (s *Window[V]) drop(e listed) {
	pos := e.ref
	if e.ref&refHot != 0 {
		r := s.hot.at(e.ref)
		pos, r.pos, r.dead = r.pos, nowhere, true
		if !r.dirty { // else flush will
			s.hot.remove(r)
		}
	}
	if pos == nowhere {
		return
	}
	if s.task.disk != nil {
		row := s.rows.rowAt(pos)
		s.task.gone(s, string(row.key), row.at, row.seq)
	}
	s.rows.drop(pos)
}

func (s *Window[V]) restore(d *decoder, number uint64) error {
	kind, key, at, seq := d.change()
	var value []byte
	if kind == changePut {
		value = d.bytes()
	}
	if d.err != nil {
		return d.err
	}
	s.seq = max(s.seq, seq)
	old, known := s.entry(key, at, seq)
	switch {
	case kind == changePut && !known:
		s.insert(key, listed{at, s.rows.append(key, at, seq, value, number)}, seq)
	case kind == changePut:
		s.point(key, at, seq, s.rows.append(key, at, seq, value, number))
		s.drop(old)
	case known:
		s.take(key, at, seq)
		s.drop(old)
	}
	s.tidy()
	return nil
}

// prune drops what has expired meanwhile.
func (s *Window[V]) prune(now int64) {
	if now != NoTime {
		s.advance(now)
		s.tidy()
	}
}

// restored finds out whether values can be decoded, before anything else is done.
func (s *Window[V]) restored(now int64) error {
	for row := range s.rows.all() {
		if _, err := s.decode(&row); err != nil {
			return fmt.Errorf("store %s: %w", s.name, err)
		}
		break // what cannot be decoded is of another type, as a rule: all of it
	}
	s.prune(now)
	return nil
}

// tidy is called when all rows are committed.
func (s *Window[V]) tidy() { s.rows.tidy(s.moved) }

func (s *Window[V]) oldest() uint64 { return s.rows.oldest() }
func (s *Window[V]) settle()        { s.rows.settle() }
func (s *Window[V]) liveBytes() int { return s.rows.liveBytes() }
func (s *Window[V]) isDirty() bool  { return len(s.dirty) > 0 || len(s.riders) > 0 }
func (s *Window[V]) shape() shape   { return shape{} }
