package engine

import (
	"encoding/binary"
	"fmt"
)

// flush appends the changes since the last commit, and lets the base have them. A value that cannot be encoded is lost: its row is
// deleted, and refused is told.
func (s *KeyValue[V]) flush(dst []byte, number uint64, refused func(error)) []byte {
	changes := 0
	s.body = s.body[:0]
	for _, r := range s.riders {
		if e, ok := s.hot[string(r.key)]; !ok || !e.dirty {
			r.row.home = number
			s.write(r.key, r.row, r.row.size)
			changes++
		}
	}
	s.riders = forgetAll(s.riders)
	for _, e := range s.dirty {
		e.dirty = false
		if s.flushEntry(e, number, refused) {
			changes++
		}
	}
	s.dirty = forgetAll(s.dirty)
	s.base.settle()
	s.cool()
	return append(binary.AppendUvarint(dst, uint64(changes)), s.body...)
}

// flushEntry reports whether there was anything to write.
func (s *KeyValue[V]) flushEntry(e *entry[V], number uint64, refused func(error)) bool {
	s.weight -= int(e.size)
	s.key = append(s.key[:0], e.key...)
	if !e.dead {
		value, err := s.codec.Encode(e.value)
		if err == nil {
			row := stored{at: e.at, value: value, home: number}
			e.size, e.home = int32(s.write(s.key, row, int(e.size))), number
			s.weight += int(e.size)
			return true
		}
		refused(fmt.Errorf("the value of key %q cannot be encoded and is dropped: %w", e.key, err))
		e.dead = true
		s.count--
	}
	if s.hot[e.key] == e && s.disk == nil { // else it says that there is none
		delete(s.hot, e.key)
	}
	if e.size == 0 { // it came and went between two commits, or has expired
		return false
	}
	s.body = append(s.body, changeDelete)
	s.body = appendString(s.body, s.key)
	s.body = binary.AppendVarint(s.body, e.at)
	s.body = binary.AppendUvarint(s.body, 0)
	s.fail(s.base.remove(s.key, int(e.size)))
	e.size, e.home = 0, number
	return true
}

// write appends a row to the commit and lets the base have it. It returns the size of the change.
func (s *KeyValue[V]) write(key []byte, row stored, old int) int {
	start := len(s.body)
	s.body = append(s.body, changePut)
	s.body = appendString(s.body, key)
	s.body = binary.AppendVarint(s.body, row.at)
	s.body = binary.AppendUvarint(s.body, 0)
	s.body = appendString(s.body, row.value)
	s.fail(s.base.put(key, row, old))
	return len(s.body) - start
}

func (s *KeyValue[V]) fail(err error) {
	if err != nil {
		s.task.Stop(fmt.Errorf("store %s: %w", s.name, err))
	}
}

// cool lets go of values that have not been used lately, when there are too many.
func (s *KeyValue[V]) cool() {
	if len(s.hot) <= hotRows && s.weight <= hotBytes {
		return
	}
	for range 2 { // the second time for those that were used
		for key, e := range s.hot {
			switch {
			case e.used:
				e.used = false
			case !e.dirty && !s.isPending(e):
				s.weight -= int(e.size)
				delete(s.hot, key)
			}
			if len(s.hot) <= hotRows*3/4 && s.weight <= hotBytes*3/4 {
				return
			}
		}
	}
}
