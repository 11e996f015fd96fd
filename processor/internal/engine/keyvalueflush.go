package engine

import "fmt"

// flush appends the changes since the last commit, and lets the base have them. A value that cannot be encoded is lost: its row is
// deleted, and refused is told.
func (s *KeyValue[V]) flush(dst []byte, number uint64, refused func(error)) []byte {
	dst = counted(dst, len(s.riders)+len(s.dirty), func(dst []byte) (_ []byte, changes int) {
		for _, r := range s.riders {
			if e, ok := s.hot[string(r.key)]; !ok || !e.dirty {
				r.row.home = number
				dst, _ = s.write(dst, r.key, r.row, r.row)
				changes++
			}
		}
		for _, e := range s.dirty {
			e.dirty = false
			before := len(dst)
			if dst = s.flushEntry(dst, e, number, refused); len(dst) > before {
				changes++
			}
		}
		return dst, changes
	})
	s.riders, s.dirty = forgetAll(s.riders), forgetAll(s.dirty)
	s.young.reset()
	s.cool()
	return dst
}

// flushEntry appends nothing if there is nothing to write.
func (s *KeyValue[V]) flushEntry(dst []byte, e *entry[V], number uint64, refused func(error)) []byte {
	s.weight -= int(e.size)
	s.key = append(s.key[:0], e.key...)
	old := stored{at: e.put, size: int(e.size)}
	if s.disk != nil && s.disk.isOver(e.at) && !e.dead { // it has expired since
		e.size, e.dead = 0, true
	}
	if !e.dead {
		value, err := s.codec.Encode(e.value)
		if err == nil {
			size := 0
			dst, size = s.write(dst, s.key, stored{at: e.at, value: value, home: number}, old)
			if e.size == 0 {
				s.note(s.key, e.at)
			}
			e.size, e.put, e.home = int32(size), e.at, number
			s.weight += size
			return dst
		}
		refused(fmt.Errorf("the value of key %q cannot be encoded and is dropped: %w", e.key, err))
		s.tally(e, -1)
		e.dead = true
	}
	if s.hot[e.key] == e && s.disk == nil { // else it says that there is none
		delete(s.hot, e.key)
	}
	if e.size == 0 { // it came and went between two commits, or has expired
		return dst
	}
	s.fail(s.base.remove(s.key, old))
	e.size, e.home = 0, number
	return appendRowID(append(dst, changeDelete), s.key, e.at, 0)
}

// write appends a row to the commit and lets the base have it. It returns the size of the change, too.
func (s *KeyValue[V]) write(dst, key []byte, row, old stored) (_ []byte, size int) {
	start := len(dst)
	dst = appendRowID(append(dst, changePut), key, row.at, 0)
	dst = appendString(dst, row.value)
	s.fail(s.base.put(key, row, old))
	return dst, len(dst) - start
}

func (s *KeyValue[V]) fail(err error) {
	if err != nil {
		s.task.Stop(fmt.Errorf("store %s: %w", s.name, err))
	}
}

// makeRoom lets go of values so that another one may become hot. Where little could be let go of, since commits are under way, it waits
// until there are some more.
func (s *KeyValue[V]) makeRoom() {
	if len(s.hot) >= s.tight+s.tight/4 {
		s.cool()
	}
}

// cool lets go of values that have not been used lately, when there are too many, until there is some room.
func (s *KeyValue[V]) cool() {
	s.tight = 0
	if !s.isFull() {
		return
	}
	enough := len(s.hot) * 3 / 4
	for range 2 { // the second time for those that were used
		for key, e := range s.hot {
			switch {
			case e.used:
				e.used = false
			case !e.dirty && !s.isPending(e):
				s.weight -= int(e.size)
				delete(s.hot, key)
			}
			if len(s.hot) <= enough && !s.isFull() {
				return
			}
		}
	}
	s.tight = len(s.hot)
}
