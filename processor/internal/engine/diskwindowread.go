package engine

import (
	"encoding/binary"
	"fmt"
	"math"
)

// paging says how much is read of a key at once: page rows, or as far as is asked for if that gives few of them.
type paging struct{ few, page int }

var usualPaging = paging{few: 8, page: 128}

// appendRowKey appends the id of a row. Those of a key are side by side, in order.
func appendRowKey[S string | []byte](dst []byte, key S, at int64, seq uint64) []byte {
	dst = appendOrdered(appendString(dst, key), at)
	return binary.BigEndian.AppendUint64(dst, seq)
}

// readRowKey takes apart what appendRowKey has made.
func readRowKey(id []byte) (key []byte, at int64, seq uint64) {
	d := &decoder{data: id}
	key = d.bytes()
	return key, int64(d.fixed() ^ 1<<63), d.fixed()
}

// keyRows returns the rows of a key that are in memory.
func (s *DiskWindow[V]) keyRows(key string) *keyRows[V] {
	k, ok := s.keys[key]
	if !ok {
		k = &keyRows[V]{key: key, from: 1}
		s.keys[key] = k
	}
	k.used = true
	return k
}

// cover returns the rows of a key with all that there are at a time. More than that is read, up to a time if there is much; nil: it cannot
// be, which ends the task.
func (s *DiskWindow[V]) cover(key string, at, to int64) *keyRows[V] {
	if k, ok := s.keys[key]; ok && k.covers(at) {
		k.used = true
		return k
	}
	s.makeRoom()
	k := s.keyRows(key)
	limit := int64(math.MaxInt64)
	if k.from <= k.upto && at < k.from {
		limit = k.from - 1
	}
	rows, upto, err := s.read(key, at, to, limit)
	if err != nil {
		s.task.Stop(fmt.Errorf("store %s: %w", s.name, err))
		return nil
	}
	if k.adjoins(at, upto) && len(k.rows) < s.most() {
		k.from, k.upto = min(k.from, at), max(k.upto, upto)
	} else {
		s.release(k)
		k.from, k.upto = at, upto
	}
	for _, r := range k.merge(rows) {
		r.of = k
		s.rows++
		s.weight += int(r.size)
	}
	return k
}

// most is how many rows of a key may be in memory for a page to be added to them: those of a quarter of what the store may keep.
func (s *DiskWindow[V]) most() int { return s.base.state.space.Share() / (4 * hotOverhead) }

// read returns the rows of a key that the database has from a time on, and how far they are all there are: limit if there is not much.
func (s *DiskWindow[V]) read(key string, at, to, limit int64) (rows []*diskRow[V], upto int64, err error) {
	id := appendString(nil, key)
	for segment := range s.base.segments(s.base.sliceOf(at)) {
		prefix := append(s.base.within(segment), id...)
		for pair, err := range s.base.state.space.From(prefix, appendOrdered(prefix[:len(prefix):len(prefix)], at)) {
			if err != nil {
				return nil, 0, err
			}
			r, row, err := s.readRow(pair.Key, pair.Value)
			if err != nil {
				return nil, 0, err
			}
			if r.at > limit {
				return rows, limit, nil
			}
			if n := len(rows); n >= s.paging.page && r.at > rows[n-1].at || n >= s.paging.few && r.at > to {
				return rows, r.at - 1, nil
			}
			r.raw, r.size = row.value, int32(row.size)
			rows = append(rows, r)
		}
	}
	return rows, limit, nil
}

// readRow makes a row of what the database has.
func (s *DiskWindow[V]) readRow(key, value []byte) (*diskRow[V], stored, error) {
	id := s.base.idIn(key[len(s.base.prefix):])
	row, err := s.base.decode(id, value)
	_, at, seq := readRowKey(id)
	return &diskRow[V]{at: at, seq: seq}, row, err
}

// Last implements RowStore.
func (s *DiskWindow[V]) Last(key string, from, to int64) (value V, ok bool) {
	if from = max(from, s.horizon()); from > to {
		return value, false
	}
	if k, here := s.keys[key]; here && k.covers(to) {
		if r := k.last(max(from, k.from), to); r != nil {
			return s.valueOf(r)
		}
		if k.from <= from {
			return value, false
		}
		to = k.from - 1
	}
	at, ok := s.newest(key, from, to)
	if !ok {
		return value, false
	}
	if k := s.cover(key, at, at); k != nil {
		return s.valueOf(k.last(at, to))
	}
	return value, false
}

func (s *DiskWindow[V]) valueOf(r *diskRow[V]) (value V, ok bool) {
	if ok = s.decode(r); ok {
		value = r.value
	}
	return value, ok
}

// last returns the newest row in memory in a span of time, or nil.
func (k *keyRows[V]) last(from, to int64) *diskRow[V] {
	for i := k.search(to, math.MaxUint64) - 1; i >= 0 && k.rows[i].at >= from; i-- {
		if !k.rows[i].dead {
			return k.rows[i]
		}
	}
	return nil
}

// newest returns the time of the newest row of a key in a span of time.
func (s *DiskWindow[V]) newest(key string, from, to int64) (at int64, ok bool) {
	k := s.keyRows(key)
	if r := k.last(from, to); r != nil {
		at, ok = r.at, true
	}
	id := appendString(nil, key)
	for segment := range s.base.segmentsDown() {
		prefix := append(s.base.within(segment), id...)
		for end := appendRowKey(s.base.within(segment), key, to, math.MaxUint64); ; {
			pair, found, err := s.base.state.space.Before(prefix, end)
			if err != nil {
				s.task.Stop(fmt.Errorf("store %s: %w", s.name, err))
				return 0, false
			}
			if !found {
				break
			}
			_, t, seq := readRowKey(s.base.idIn(pair.Key[len(s.base.prefix):]))
			if t < from || ok && t <= at {
				return at, ok
			}
			if r := k.find(t, seq); r == nil || !r.dead {
				return t, true
			}
			end = pair.Key
		}
	}
	return at, ok
}

// shed lets go of the rows of a key that are over.
func (s *DiskWindow[V]) shed(k *keyRows[V]) {
	n := 0
	for n < len(k.rows) && s.base.isOver(k.rows[n].at) && s.isKnown(k.rows[n]) {
		s.rows--
		s.weight -= int(k.rows[n].size)
		n++
	}
	if n > 0 {
		k.rows = append(k.rows[:0:0], k.rows[n:]...)
		k.version++
	}
}

// isKnown reports whether the database has what there is of a row.
func (s *DiskWindow[V]) isKnown(r *diskRow[V]) bool {
	return !r.dirty && r.home <= s.base.state.applied
}

// drop takes a row out of memory.
func (s *DiskWindow[V]) drop(r *diskRow[V]) {
	if r.of.remove(r) {
		s.rows--
		s.weight -= int(r.size)
	}
}

// release lets go of the rows of a key that the database has.
func (s *DiskWindow[V]) release(k *keyRows[V]) {
	var kept []*diskRow[V]
	for _, r := range k.rows {
		if !s.isKnown(r) {
			kept = append(kept, r)
			continue
		}
		s.rows--
		s.weight -= int(r.size)
	}
	k.rows, k.from, k.upto = kept, 1, 0
	k.version++
}

// isFull reports whether more is in memory than may be: see KeyValue.isFull.
func (s *DiskWindow[V]) isFull() bool {
	return s.weight+s.held()*hotOverhead > max(s.base.state.space.Share(), hotOverhead)
}

// held is how many things are in memory.
func (s *DiskWindow[V]) held() int { return s.rows + len(s.keys) }

// makeRoom lets go of rows so that others may come: see KeyValue.makeRoom.
func (s *DiskWindow[V]) makeRoom() {
	if s.held() >= s.tight+s.tight/4 {
		s.cool()
	}
}

// cool lets go of the rows of keys that have not been used lately, when there are too many, until there is some room.
func (s *DiskWindow[V]) cool() {
	s.bury()
	s.tight = 0
	if !s.isFull() {
		return
	}
	enough := s.held() * 3 / 4
	for range 2 { // the second time for those that were used
		for key, k := range s.keys {
			if k.used {
				k.used = false
				continue
			}
			if s.release(k); len(k.rows) == 0 {
				delete(s.keys, key)
			}
			if s.held() <= enough && !s.isFull() {
				return
			}
		}
	}
	s.tight = s.held()
}

// bury forgets rows that have been deleted, now that the database has forgotten them.
func (s *DiskWindow[V]) bury() {
	n := 0
	for n < len(s.buried) && s.isKnown(s.buried[n]) {
		s.drop(s.buried[n])
		n++
	}
	clear(s.buried[:n])
	s.buried = s.buried[n:]
}
