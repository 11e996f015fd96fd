package engine

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"iter"
)

const (
	// segmentBytes is how much a segment of an arena holds, but for a row that is larger. Compacting one takes about a millisecond.
	segmentBytes = 1 << 20
	// offsetBits is how many bits of a position tell the place in the segment; the others tell the segment.
	offsetBits = 32
)

// arena holds encoded rows in memory, in the order in which the journal holds them (oldest home first): in segments of a megabyte
// that are appended to, with an index from the hash of a key to a position. The garbage collector sees a few large slices without
// pointers, however many rows there are. A segment of which a quarter is garbage is compacted in its place, so that the order stays.
type arena struct {
	seed     maphash.Seed
	mask     uint64 // all ones; tests take some, to make keys collide
	index    map[uint64]uint64
	twins    map[string]uint64 // rows whose hash the index has for another key
	segments []segment
	first    uint64 // number of segments[0]; segments that are empty leave at the front
	rows     int
	live     int    // bytes that the rows take in the journal
	rider    uint64 // where ride goes on
}

// segment is a part of an arena.
type segment struct {
	data  []byte
	start int // rows before it are garbage
	live  int // bytes of data that are no garbage
}

// stored is one row of a base: what is committed.
type stored struct {
	at    int64
	value []byte // belongs to the base, until the next change
	home  uint64 // the commit that holds it
	size  int    // of the change that it is in the journal
}

func newArena() *arena {
	return &arena{seed: maphash.MakeSeed(), mask: ^uint64(0), index: make(map[uint64]uint64)}
}

// changeSize is how many bytes a put takes in a commit.
func changeSize(key []byte, at int64, value []byte) int {
	return 1 + lengthSize(len(key)) + len(key) + uvarintSize(uint64(at)<<1^uint64(at>>63)) + 1 + lengthSize(len(value)) + len(value)
}

func lengthSize(n int) int { return uvarintSize(uint64(n)) }

func uvarintSize(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// rowAt reads the row at a position. next is the offset behind it.
func (a *arena) rowAt(pos uint64) (key []byte, row stored, next int) {
	data := a.segmentOf(pos).data
	offset := offsetOf(pos)
	home, n := binary.Uvarint(data[offset:])
	offset += n
	length, n := binary.Uvarint(data[offset:])
	offset += n
	key = data[offset : offset+int(length)]
	offset += int(length)
	at, n := binary.Varint(data[offset:])
	offset += n
	length, n = binary.Uvarint(data[offset:])
	offset += n
	end := offset + int(length)
	value := data[offset:end:end]
	return key, stored{at: at, value: value, home: home, size: changeSize(key, at, value)}, end
}

func (a *arena) segmentOf(pos uint64) *segment { return &a.segments[pos>>offsetBits-a.first] }

func offsetOf(pos uint64) int { return int(pos & (1<<offsetBits - 1)) }

func (a *arena) hash(key []byte) uint64 { return maphash.Bytes(a.seed, key) & a.mask }

// find returns where the row of key is.
func (a *arena) find(hash uint64, key []byte) (pos uint64, ok bool) {
	if pos, ok = a.index[hash]; ok {
		if k, _, _ := a.rowAt(pos); string(k) == string(key) {
			return pos, true
		}
	}
	if len(a.twins) > 0 {
		pos, ok = a.twins[string(key)]
		return pos, ok
	}
	return 0, false
}

// point makes the row of key be found at pos. had says that it was somewhere before.
func (a *arena) point(hash uint64, key []byte, pos uint64, had bool) {
	if len(a.twins) > 0 {
		if _, twin := a.twins[string(key)]; twin {
			a.twins[string(key)] = pos
			return
		}
	}
	if !had {
		if _, taken := a.index[hash]; taken {
			if a.twins == nil {
				a.twins = make(map[string]uint64)
			}
			a.twins[string(key)] = pos
			return
		}
	}
	a.index[hash] = pos
}

func (a *arena) get(key []byte) (row stored, ok bool, err error) {
	pos, ok := a.find(a.hash(key), key)
	if ok {
		_, row, _ = a.rowAt(pos)
	}
	return row, ok, nil
}

// put sets the row of key, which is the youngest then.
func (a *arena) put(key []byte, row stored, _ int) error {
	hash := a.hash(key)
	old, had := a.find(hash, key)
	a.point(hash, key, a.append(key, row), had)
	a.rows++
	a.live += changeSize(key, row.at, row.value)
	if had {
		a.drop(old)
	}
	return nil
}

// append writes a row at the end.
func (a *arena) append(key []byte, row stored) (pos uint64) {
	const header = 4 * binary.MaxVarintLen64
	need := header + len(key) + len(row.value)
	n := len(a.segments)
	if n == 0 || len(a.segments[n-1].data) > 0 && len(a.segments[n-1].data)+need > segmentBytes {
		var data []byte
		if n > 0 { // the first one grows as it must
			data = make([]byte, 0, max(segmentBytes, need))
			a.segments[n-1].fit()
		}
		a.segments = append(a.segments, segment{data: data})
		n++
	}
	s := &a.segments[n-1]
	offset := len(s.data)
	s.data = appendRow(s.data, key, row)
	s.live += len(s.data) - offset
	return (a.first+uint64(n)-1)<<offsetBits | uint64(offset)
}

// fit lets go of room that nothing will be appended to: there is much of it where the next row is a large one.
func (s *segment) fit() {
	if len(s.data)*4 < cap(s.data)*3 {
		s.data = bytes.Clone(s.data)
	}
}

func appendRow(dst, key []byte, row stored) []byte {
	dst = binary.AppendUvarint(dst, row.home)
	dst = appendString(dst, key)
	dst = binary.AppendVarint(dst, row.at)
	return appendString(dst, row.value)
}

func (a *arena) remove(key []byte, _ int) error {
	hash := a.hash(key)
	pos, ok := a.find(hash, key)
	if !ok {
		return nil
	}
	if _, twin := a.twins[string(key)]; twin {
		delete(a.twins, string(key))
	} else {
		delete(a.index, hash)
	}
	a.drop(pos)
	return nil
}

// drop makes a row garbage that nothing points to any more.
func (a *arena) drop(pos uint64) {
	_, row, next := a.rowAt(pos)
	a.rows--
	a.live -= row.size
	s := a.segmentOf(pos)
	if s.live -= next - offsetOf(pos); s.live*4 < len(s.data)*3 {
		a.compact(pos >> offsetBits)
	}
}

// compact rewrites a segment without its garbage.
func (a *arena) compact(number uint64) {
	s := &a.segments[number-a.first]
	if s.live == 0 {
		*s = segment{}
		a.trimFront()
		return
	}
	data := make([]byte, 0, s.live)
	for pos := range a.rowsOf(number) {
		_, _, end := a.rowAt(pos)
		data = append(data, s.data[offsetOf(pos):end]...)
	}
	*s = segment{data: data, live: len(data)}
	for offset := 0; offset < len(data); { // not before, since find reads what the index points to
		pos := number<<offsetBits | uint64(offset)
		key, _, next := a.rowAt(pos)
		a.point(a.hash(key), key, pos, true)
		offset = next
	}
}

// trimFront lets go of empty segments at the front.
func (a *arena) trimFront() {
	n := 0
	for n < len(a.segments)-1 && a.segments[n].live == 0 {
		n++
	}
	clear(a.segments[:n])
	a.segments, a.first = a.segments[n:], a.first+uint64(n)
}

// rowsOf yields the rows of a segment that are no garbage.
func (a *arena) rowsOf(number uint64) iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		s := &a.segments[number-a.first]
		for offset, data := s.start, s.data; offset < len(data); {
			pos := number<<offsetBits | uint64(offset)
			key, _, next := a.rowAt(pos)
			if at, ok := a.find(a.hash(key), key); ok && at == pos && !yield(pos, key) {
				return
			}
			offset = next
		}
	}
}

// from yields all rows that stand at pos or behind it, oldest home first.
func (a *arena) from(pos uint64) iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		number := max(pos>>offsetBits, a.first)
		for last := a.first + uint64(len(a.segments)); number < last; number++ {
			for at, key := range a.rowsOf(number) {
				if at >= pos && !yield(at, key) {
					return
				}
			}
		}
	}
}

func (a *arena) all() iter.Seq2[[]byte, stored] {
	return func(yield func([]byte, stored) bool) {
		for pos, key := range a.from(0) {
			_, row, _ := a.rowAt(pos)
			if !yield(key, row) {
				return
			}
		}
	}
}

// oldest returns the lowest home of all rows, or 0.
func (a *arena) oldest() uint64 {
	for pos := range a.from(0) {
		a.segmentOf(pos).start = offsetOf(pos)
		_, row, _ := a.rowAt(pos)
		return row.home
	}
	return 0
}

// ride yields the oldest rows, and goes on where it stopped until settle is called. Nothing may be changed meanwhile.
func (a *arena) ride() iter.Seq2[[]byte, stored] {
	return func(yield func([]byte, stored) bool) {
		for pos, key := range a.from(a.rider) {
			a.rider = pos + 1
			_, row, _ := a.rowAt(pos)
			if !yield(key, row) {
				return
			}
		}
	}
}

func (a *arena) settle()        { a.rider = 0 }
func (a *arena) len() int       { return a.rows }
func (a *arena) liveBytes() int { return a.live }
