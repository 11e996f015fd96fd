package engine

import "fmt"

// rideAlong takes the rows that hold the journal back into the next commit, up to budget bytes of them, and returns what is left of it.
func (s *Window[V]) rideAlong(budget int) int {
	if budget <= 0 {
		return budget
	}
	for r := range s.rows.ride() {
		s.riders = append(s.riders, r.pos)
		if budget -= r.size; budget <= 0 {
			break
		}
	}
	return budget
}

// flush appends the changes since the last commit. A value that cannot be encoded is lost: its row is deleted, and refused is told.
func (s *Window[V]) flush(dst []byte, number uint64, refused func(error)) []byte {
	dst = counted(dst, len(s.dirty)+len(s.riders), func(dst []byte) ([]byte, int) {
		changes := len(s.riders)
		for _, r := range s.dirty {
			r.dirty = false
			before := len(dst)
			if dst = s.appendChange(dst, r, number, refused); len(dst) > before {
				changes++
			}
		}
		for _, pos := range s.riders {
			dst = s.appendRider(dst, pos, number)
		}
		return dst, changes
	})
	s.dirty, s.riders = forgetAll(s.dirty), s.riders[:0]
	s.tidy()
	s.hot.cool(s.size, 2*len(s.hot.items))
	return dst
}

// appendChange appends nothing for a row that has come and gone between two commits, or has expired.
func (s *Window[V]) appendChange(dst []byte, r *hotRow[V], number uint64, refused func(error)) []byte {
	if !r.dead {
		value, err := s.codec.Encode(r.value)
		if err == nil {
			return s.appendPut(dst, r, value, number)
		}
		refused(fmt.Errorf("the value of key %q cannot be encoded and is dropped: %w", r.key, err))
		r.dead = true
		s.take(s.keyed(r.key), r.at, r.seq)
	}
	if r.pos != nowhere {
		dst = appendRowID(append(dst, changeDelete), r.key, r.at, r.seq)
		s.rows.drop(r.pos)
	}
	s.hot.remove(r)
	return dst
}

func (s *Window[V]) appendPut(dst []byte, r *hotRow[V], value []byte, number uint64) []byte {
	before := len(dst)
	dst = appendRowID(append(dst, changePut), r.key, r.at, r.seq)
	dst = appendString(dst, value)
	old := r.pos
	r.pos = s.rows.append(s.keyed(r.key), r.at, r.seq, value, number)
	if old != nowhere {
		s.rows.drop(old)
	}
	s.hot.weight += len(dst) - before - int(r.size)
	r.size = int32(len(dst) - before)
	return dst
}

// appendRider writes a row again as it is.
func (s *Window[V]) appendRider(dst []byte, pos, number uint64) []byte {
	r := s.rows.rowAt(pos)
	dst = appendRowID(append(dst, changePut), r.key, r.at, r.seq)
	dst = appendString(dst, r.value)
	s.moved(&r, s.rows.append(r.key, r.at, r.seq, r.value, number))
	s.rows.drop(pos)
	return dst
}
