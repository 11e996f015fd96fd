package engine

import "fmt"

// flush appends the changes since the last commit, and lets the base have them. A value that cannot be encoded is lost: its row is deleted,
// and refused is told.
func (s *DiskWindow[V]) flush(dst []byte, number uint64, refused func(error)) []byte {
	dst = counted(dst, len(s.riders)+len(s.dirty), func(dst []byte) (_ []byte, changes int) {
		for _, r := range s.riders {
			key, at, seq := readRowKey(r.key)
			r.row.home = number
			dst = s.write(dst, r.key, key, seq, r.row, stored{at: at, size: r.row.size})
			changes++
		}
		for _, r := range s.dirty {
			r.dirty = false
			before := len(dst)
			if dst = s.appendChange(dst, r, number, refused); len(dst) > before {
				changes++
			}
		}
		return dst, changes
	})
	s.riders, s.dirty = forgetAll(s.riders), forgetAll(s.dirty)
	s.base.seq = max(s.base.seq, s.seq)
	s.cool()
	return dst
}

// appendChange appends nothing for a row that has come and gone between two commits, or has expired.
func (s *DiskWindow[V]) appendChange(dst []byte, r *diskRow[V], number uint64, refused func(error)) []byte {
	s.id = appendRowKey(s.id[:0], r.of.key, r.at, r.seq)
	old := stored{at: r.at, size: int(r.size)}
	switch {
	case s.base.isOver(r.at):
		s.drop(r)
		return dst
	case !r.dead:
		value, err := s.codec.Encode(r.value)
		if err == nil {
			before := len(dst)
			dst = s.write(dst, s.id, []byte(r.of.key), r.seq, stored{at: r.at, value: value, home: number}, old)
			s.weight += len(dst) - before - int(r.size)
			r.size, r.home = int32(len(dst)-before), number
			return dst
		}
		refused(fmt.Errorf("the value of key %q cannot be encoded and is dropped: %w", r.of.key, err))
		s.base.expect(r.at, -1)
		r.dead = true
	}
	if r.size == 0 {
		s.drop(r)
		return dst
	}
	s.fail(s.base.remove(s.id, old))
	s.weight -= int(r.size)
	r.size, r.home = 0, number
	s.buried = append(s.buried, r)
	return appendRowID(append(dst, changeDelete), r.of.key, r.at, r.seq)
}

// write appends a row to the commit and lets the base have it.
func (s *DiskWindow[V]) write(dst, id, key []byte, seq uint64, row, old stored) []byte {
	dst = appendRowID(append(dst, changePut), key, row.at, seq)
	dst = appendString(dst, row.value)
	s.fail(s.base.put(id, row, old))
	return dst
}

func (s *DiskWindow[V]) fail(err error) {
	if err != nil {
		s.task.Stop(fmt.Errorf("store %s: %w", s.name, err))
	}
}

// rideAlong takes the rows that hold the journal back into the next commit, up to budget bytes of them, and returns what is left of it.
func (s *DiskWindow[V]) rideAlong(budget int) int {
	if budget <= 0 {
		return budget
	}
	for id, row := range s.base.ride() {
		key, at, seq := readRowKey(id)
		if k, ok := s.keys[string(key)]; ok {
			if r := k.find(at, seq); r != nil && !s.isKnown(r) {
				continue
			}
		}
		row.value = append([]byte(nil), row.value...)
		s.riders = append(s.riders, rider{append([]byte(nil), id...), row})
		if budget -= row.size; budget <= 0 {
			break
		}
	}
	return budget
}

func (s *DiskWindow[V]) restore(d *decoder, number uint64) error {
	kind, key, at, seq := d.change()
	var value []byte
	if kind == changePut {
		value = d.bytes()
	}
	if d.err != nil {
		return d.err
	}
	s.base.seq = max(s.base.seq, seq)
	if k, ok := s.keys[string(key)]; ok {
		s.release(k)
		delete(s.keys, k.key)
	}
	s.id = appendRowKey(s.id[:0], key, at, seq)
	old := stored{at: at, size: unknown}
	if kind == changePut {
		return s.base.put(s.id, stored{at: at, value: value, home: number}, old)
	}
	return s.base.remove(s.id, old)
}
