package engine

import (
	"fmt"
	"iter"

	"github.com/rossby-streams/rossby/stream"
)

// DiskWindow is a Window that keeps its rows in the database of the process, once OpenDisk has given the task its share. In memory are the rows
// that have changed since the last commit that the database has, and those that were used lately.
//
// A look-up of a time of a key reads a page of rows from there on, as many as a short list has. Where a key's rows come and are asked for in
// order of time, the database is asked once.
type DiskWindow[V any] struct {
	name      string
	task      *Task
	codec     stream.Codec[V]
	retention int64
	paging    paging
	base      *diskBase
	keys      map[string]*keyRows[V]
	rows      int // in memory
	weight    int // encoded size of what is committed of them
	tight     int // so much was left when room was made
	dirty     []*diskRow[V]
	buried    []*diskRow[V] // deleted by commits that the database may not have yet, oldest first
	riders    []rider
	seq       uint64
	now       int64
	log       []rowChange[diskRow[V], V]
	id        []byte // scratch
}

// NewDiskWindow returns an empty store and registers it with t under name. retention is in nanoseconds, at least 1.
func NewDiskWindow[V any](t *Task, name string, retention int64, codec stream.Codec[V]) *DiskWindow[V] {
	s := &DiskWindow[V]{name: name, task: t, codec: codec, retention: retention, paging: usualPaging, keys: make(map[string]*keyRows[V]), now: NoTime}
	t.addStore(s)
	return s
}

func (s *DiskWindow[V]) openDisk(d *diskState) *diskBase {
	s.base = &diskBase{
		state: d, prefix: rowKey('d', s, nil), cool: s.cool, diskSlices: newDiskSlices(s.shape().slice, false),
		size: func(id []byte, row *stored) int {
			key, _, seq := readRowKey(id)
			return changeSize(key, row.at, row.value) + uvarintSize(seq) - 1
		},
	}
	return s.base
}

// Add implements RowStore.
func (s *DiskWindow[V]) Add(key string, at int64, value V) bool {
	if at < s.horizon() {
		return false
	}
	s.seq++
	k := s.keyRows(key)
	s.shed(k)
	r := &diskRow[V]{of: k, at: at, seq: s.seq, value: value}
	s.remember(r, true)
	k.insert(r)
	s.rows++
	s.base.expect(at, 1)
	s.touch(r)
	return true
}

// Set implements RowStore.
func (s *DiskWindow[V]) Set(id RowID, value V) bool {
	r := s.find(id)
	if r == nil {
		return false
	}
	s.remember(r, false)
	r.value = value
	s.touch(r)
	return true
}

// Remove implements RowStore.
func (s *DiskWindow[V]) Remove(id RowID) {
	r := s.find(id)
	if r == nil {
		return
	}
	s.remember(r, false)
	var none V
	r.value, r.dead = none, true
	s.base.expect(r.at, -1)
	s.touch(r)
}

// touch marks a row for the next commit.
func (s *DiskWindow[V]) touch(r *diskRow[V]) {
	if !r.dirty {
		r.dirty = true
		s.dirty = append(s.dirty, r)
	}
}

func (s *DiskWindow[V]) remember(r *diskRow[V], created bool) {
	s.log = append(s.log, rowChange[diskRow[V], V]{row: r, value: r.value, dead: r.dead, dirty: r.dirty, created: created})
	s.task.note(s)
}

func (s *DiskWindow[V]) undo() {
	c := popLast(&s.log)
	r := c.row
	if r.dead && !c.dead {
		s.base.expect(r.at, 1)
	}
	if r.dirty && !c.dirty { // then this change has put it at the end
		popLast(&s.dirty)
		r.dirty = false
	}
	r.value, r.dead = c.value, c.dead
	if c.created {
		s.base.expect(r.at, -1)
		s.drop(r)
		s.seq--
	}
}

func (s *DiskWindow[V]) forget() { s.log = forgetAll(s.log) }

// Range implements RowStore.
func (s *DiskWindow[V]) Range(key string, from, to int64) iter.Seq2[RowID, V] {
	return func(yield func(RowID, V) bool) {
		for r := range s.visit(key, from, to) {
			if !s.decode(r) || !yield(RowID{Key: key, At: r.at, Seq: r.seq}, r.value) {
				return
			}
		}
	}
}

// visit yields the rows of a key in a span of time.
func (s *DiskWindow[V]) visit(key string, from, to int64) iter.Seq[*diskRow[V]] {
	return func(yield func(*diskRow[V]) bool) {
		at, seq := max(from, s.horizon()), uint64(0)
		for at <= to {
			k := s.cover(key, at, to)
			if k == nil {
				return
			}
			version := k.version
			for i := k.search(at, seq); k.version == version; i++ { // else rows have moved while one was looked at
				if i == len(k.rows) || k.rows[i].at > min(to, k.upto) {
					if k.upto >= to {
						return
					}
					at, seq = k.upto+1, 0
					break
				}
				r := k.rows[i]
				at, seq = r.at, r.seq+1
				if !r.dead && !yield(r) {
					return
				}
			}
		}
	}
}

// Rows implements RowStore.
func (s *DiskWindow[V]) Rows(key string, from, to int64) []V {
	var values []V
	for _, value := range s.Range(key, from, to) {
		values = append(values, value)
	}
	return values
}

// Count implements RowStore: it visits the rows, but does not decode them.
func (s *DiskWindow[V]) Count(key string, from, to int64) (n int) {
	for range s.visit(key, from, to) {
		n++
	}
	return n
}

// Len implements RowStore.
func (s *DiskWindow[V]) Len() int { return s.base.rows + s.base.ahead }

// Keys implements RowStore.
func (s *DiskWindow[V]) Keys() iter.Seq[string] {
	return func(yield func(string) bool) {
		for key, k := range s.keys {
			if len(k.rows) > 0 && !yield(key) {
				return
			}
		}
		last, met := "", false
		for id := range s.base.all() {
			key, _, _ := readRowKey(id)
			if met && string(key) == last {
				continue
			}
			if last, met = string(key), true; !yield(last) {
				return
			}
		}
	}
}

// Name returns the name of the store.
func (s *DiskWindow[V]) Name() string { return s.name }

func (s *DiskWindow[V]) horizon() int64 { return horizon(s.now, s.retention) }

// decode lets a row have its value; false if it cannot be decoded, which ends the task.
func (s *DiskWindow[V]) decode(r *diskRow[V]) bool {
	if r.raw == nil {
		return true
	}
	value, err := s.codec.Decode(r.raw)
	if err != nil {
		s.task.Stop(fmt.Errorf("store %s: decode the value of key %q: %w", s.name, r.of.key, err))
		return false
	}
	r.value, r.raw = value, nil
	return true
}

// find returns a row with its value; nil if it is not there.
func (s *DiskWindow[V]) find(id RowID) *diskRow[V] {
	if s.base.isOver(id.At) {
		return nil
	}
	r := s.keyRows(id.Key).find(id.At, id.Seq)
	if r == nil {
		k := s.cover(id.Key, id.At, id.At)
		if k == nil {
			return nil
		}
		r = k.find(id.At, id.Seq)
	}
	if r == nil || r.dead || !s.decode(r) {
		return nil
	}
	return r
}

// advance drops what stream time has left behind: see Window.advance.
func (s *DiskWindow[V]) advance(now int64) {
	s.now = now
	if horizon := s.horizon(); horizon != NoTime {
		s.base.advance(horizon)
	}
}

// prune drops what has expired meanwhile.
func (s *DiskWindow[V]) prune(now int64) {
	if now != NoTime {
		s.advance(now)
	}
}

// restored finds out whether values can be decoded, before anything else is done.
func (s *DiskWindow[V]) restored(now int64) error {
	for id, row := range s.base.all() {
		if _, err := s.codec.Decode(append([]byte(nil), row.value...)); err != nil {
			key, _, _ := readRowKey(id)
			return &rowError{home: row.home, err: fmt.Errorf("store %s: decode the value of key %q: %w", s.name, key, err)}
		}
		break // what cannot be decoded is of another type, as a rule: all of it
	}
	s.seq = s.base.seq
	s.prune(now)
	return nil
}

func (s *DiskWindow[V]) oldest() uint64 { return s.base.oldest() }
func (s *DiskWindow[V]) settle()        { s.base.settle() }
func (s *DiskWindow[V]) liveBytes() int { return s.base.liveBytes() }
func (s *DiskWindow[V]) isDirty() bool  { return len(s.dirty) > 0 || len(s.riders) > 0 }
func (s *DiskWindow[V]) rowCount() int  { return s.Len() }
func (s *DiskWindow[V]) kind() string   { return "window" }

func (s *DiskWindow[V]) shape() shape {
	return shape{disk: true, slice: max(s.retention/sliceParts, 1)}
}
