package engine

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math/bits"
)

const (
	// segmentBytes is how much a segment of an arena holds at most, but for a row that is larger: compacting one takes about a millisecond.
	// smallSegment is how much the first one holds; each is an eighth of those before it, so that little room is left unused.
	segmentBytes = 1 << 20
	smallSegment = 1 << 12
	// tolerated is the garbage that an arena may always have: below it, letting go of it costs more than it frees.
	tolerated = 1 << 14
	// garbagePart is the part of an arena that may be garbage. With a quarter, rows that are put again at random take fifteen bytes more.
	garbagePart = 6
	// offsetBits is how many bits of a position tell the place in the segment; the others tell the segment. Positions have less than
	// positionBits bits.
	offsetBits   = 32
	positionBits = 62
)

// arena holds encoded rows in memory, in the order in which the journal holds them (oldest home first): in segments that are appended
// to. The garbage collector sees a few large slices without pointers, however many rows there are. Whoever has an arena knows the
// position of each row, and is told when it changes: positions are good until tidy.
type arena struct {
	segments []segment
	first    uint64 // number of segments[0]; segments that are empty leave at the front
	bare     bool   // the journal has no values of these rows
	slack    int    // garbage that it may have beside a sixth of all
	rows     int
	live     int    // bytes that the rows take in the journal
	held     int    // bytes in the segments
	garbage  int    // bytes among them that no row needs
	rider    uint64 // where ride goes on
}

// segment is a part of an arena.
type segment struct {
	data  []byte
	base  uint64 // home of the first row
	start int    // rows before it are garbage
	live  int    // bytes of data that are no garbage
}

// stored is what is committed of a row.
type stored struct {
	at    int64
	value []byte // belongs to the base, until the next change
	home  uint64 // the commit that holds it
	size  int    // of the change that it is in the journal
}

// placed is a row in an arena.
type placed struct {
	stored
	pos   uint64
	key   []byte
	seq   uint64
	state byte
	next  int // offset of the row behind it
}

// States of a row in an arena.
const (
	rowDead    = 1 // not what counts any more; it holds the journal back until it is dropped
	rowDropped = 2 // garbage
)

// changeSize is how many bytes a put takes in a commit.
func changeSize(key []byte, at int64, value []byte) int {
	return 1 + lengthSize(len(key)) + len(key) + varintSize(at) + 1 + lengthSize(len(value)) + len(value)
}

func lengthSize(n int) int { return uvarintSize(uint64(n)) }

func varintSize(v int64) int { return uvarintSize(uint64(v)<<1 ^ uint64(v>>63)) }

func uvarintSize(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// sizeOf is how many bytes a row takes in a commit.
func (a *arena) sizeOf(r *placed) int {
	size := changeSize(r.key, r.at, r.value) + uvarintSize(r.seq) - 1
	if a.bare {
		size-- // the length of the value
	}
	return size
}

// rowAt reads the row at a position.
func (a *arena) rowAt(pos uint64) (r placed) {
	s := a.segmentOf(pos)
	data, offset := s.data, offsetOf(pos)
	home, n := binary.Uvarint(data[offset:])
	offset += n
	length, n := binary.Uvarint(data[offset:])
	offset += n
	r.key = data[offset : offset+int(length)]
	offset += int(length)
	r.at, n = binary.Varint(data[offset:])
	offset += n
	r.seq, n = binary.Uvarint(data[offset:])
	offset += n
	length, n = binary.Uvarint(data[offset:])
	offset += n
	r.next = offset + int(length)
	r.value = data[offset:r.next:r.next]
	r.pos, r.home, r.state = pos, s.base+home>>2, byte(home&3)
	r.size = a.sizeOf(&r)
	return r
}

// keyAt reads only the key of the row at a position.
func (a *arena) keyAt(pos uint64) []byte {
	data := a.segmentOf(pos).data[offsetOf(pos):]
	_, n := binary.Uvarint(data)
	length, m := binary.Uvarint(data[n:])
	return data[n+m : n+m+int(length)]
}

// seqAt reads only the sequence number of the row at a position.
func (a *arena) seqAt(pos uint64) uint64 {
	data := a.segmentOf(pos).data[offsetOf(pos):]
	_, n := binary.Uvarint(data)
	length, m := binary.Uvarint(data[n:])
	n += m + int(length)
	_, m = binary.Varint(data[n:])
	seq, _ := binary.Uvarint(data[n+m:])
	return seq
}

func (a *arena) segmentOf(pos uint64) *segment { return &a.segments[pos>>offsetBits-a.first] }

func offsetOf(pos uint64) int { return int(pos & (1<<offsetBits - 1)) }

// end is the position of the row that is appended next, or one before it.
func (a *arena) end() uint64 {
	n := len(a.segments)
	if n == 0 {
		return a.first << offsetBits
	}
	return (a.first+uint64(n)-1)<<offsetBits | uint64(len(a.segments[n-1].data))
}

// append writes a row at the end.
func (a *arena) append(key []byte, at int64, seq uint64, value []byte, home uint64) (pos uint64) {
	const header = 5 * binary.MaxVarintLen64
	s := a.room(header+len(key)+len(value), home)
	offset := len(s.data)
	s.data = binary.AppendUvarint(s.data, (home-s.base)<<2)
	s.data = appendString(s.data, key)
	s.data = binary.AppendVarint(s.data, at)
	s.data = binary.AppendUvarint(s.data, seq)
	s.data = appendString(s.data, value)
	s.live += len(s.data) - offset
	a.held += len(s.data) - offset
	a.rows++
	pos = (a.first+uint64(len(a.segments))-1)<<offsetBits | uint64(offset)
	a.live += a.sizeOf(&placed{key: key, seq: seq, stored: stored{at: at, value: value}})
	return pos
}

// room returns the segment to append a row to.
func (a *arena) room(need int, home uint64) *segment {
	n := len(a.segments)
	if n == 0 || len(a.segments[n-1].data)+need > cap(a.segments[n-1].data) {
		if n > 0 {
			a.segments[n-1].fit()
		}
		size := max(min(a.held/8, segmentBytes), smallSegment, need)
		a.segments = append(a.segments, segment{data: make([]byte, 0, size), base: home})
		n++
	}
	return &a.segments[n-1]
}

// fit lets go of room that nothing will be appended to: there is much of it where the next row is a large one.
func (s *segment) fit() {
	if len(s.data)*8 < cap(s.data)*7 {
		s.data = bytes.Clone(s.data)
	}
}

// state returns the state of a row.
func (a *arena) state(pos uint64) byte { return a.segmentOf(pos).data[offsetOf(pos)] & 3 }

// mark sets the state of a row.
func (a *arena) mark(pos uint64, state byte) {
	b := &a.segmentOf(pos).data[offsetOf(pos)]
	*b = *b&^3 | state
}

// drop makes a row garbage that nothing points to any more.
func (a *arena) drop(pos uint64) {
	r := a.rowAt(pos)
	a.mark(pos, rowDead|rowDropped)
	a.rows--
	a.live -= r.size
	size := r.next - offsetOf(pos)
	a.segmentOf(pos).live -= size
	a.garbage += size
}

// tidy lets go of garbage when it is more than slack and a sixth of all, the worst segment first. moved is told of rows that have a new position.
// It is called when nothing but the index of the arena's owner has positions.
func (a *arena) tidy(moved func(r *placed, pos uint64)) {
	a.trimFront()
	for (a.garbage-a.slack)*garbagePart > a.held {
		worst := 0
		for i := range a.segments {
			if a.segments[i].waste() > a.segments[worst].waste() {
				worst = i
			}
		}
		a.compact(worst, moved)
	}
}

// waste is the part of a segment that is garbage.
func (s *segment) waste() float64 {
	if len(s.data) == 0 {
		return 0
	}
	return 1 - float64(s.live)/float64(len(s.data))
}

// compact rewrites a segment in its place without its garbage, so that the order stays. While moved is called the positions of all rows are
// good: of those that have moved the new ones, of the others the old ones. The bytes that were there stay as they are, for riders.
func (a *arena) compact(i int, moved func(r *placed, pos uint64)) {
	s := &a.segments[i]
	a.garbage -= len(s.data) - s.live
	a.held -= len(s.data) - s.live
	if s.live == 0 {
		*s = segment{}
		return
	}
	number, kept := a.first+uint64(i), 0
	s.data = bytes.Clone(s.data)
	for r := range a.rowsOf(number, rowDropped) {
		moved(&r, number<<offsetBits|uint64(kept))
		kept += copy(s.data[kept:], s.data[offsetOf(r.pos):r.next])
	}
	*s = segment{data: bytes.Clone(s.data[:kept]), base: s.base, live: kept}
}

// trimFront lets go of empty segments at the front.
func (a *arena) trimFront() {
	n := 0
	for n < len(a.segments)-1 && a.segments[n].live == 0 {
		a.garbage -= len(a.segments[n].data)
		a.held -= len(a.segments[n].data)
		n++
	}
	clear(a.segments[:n])
	a.segments, a.first = a.segments[n:], a.first+uint64(n)
}

// rowsOf yields the rows of a segment that have none of some states.
func (a *arena) rowsOf(number uint64, but byte) iter.Seq[placed] {
	return func(yield func(placed) bool) {
		s := &a.segments[number-a.first]
		for offset, data := s.start, s.data; offset < len(data); {
			r := a.rowAt(number<<offsetBits | uint64(offset))
			if r.state&but == 0 && !yield(r) {
				return
			}
			offset = r.next
		}
	}
}

// from yields the rows that stand at pos or behind it and have none of some states, oldest home first.
func (a *arena) from(pos uint64, but byte) iter.Seq[placed] {
	return func(yield func(placed) bool) {
		number := max(pos>>offsetBits, a.first)
		for last := a.first + uint64(len(a.segments)); number < last; number++ {
			if a.segments[number-a.first].live == 0 {
				continue
			}
			for r := range a.rowsOf(number, but) {
				if r.pos >= pos && !yield(r) {
					return
				}
			}
		}
	}
}

// all yields the rows that are not dead, oldest home first.
func (a *arena) all() iter.Seq[placed] { return a.from(0, rowDead) }

// oldest returns the lowest home of all rows, or 0.
func (a *arena) oldest() uint64 {
	for r := range a.from(0, rowDropped) {
		a.segmentOf(r.pos).start = offsetOf(r.pos)
		return r.home
	}
	return 0
}

// ride yields the oldest rows, and goes on where it stopped until settle is called.
func (a *arena) ride() iter.Seq[placed] {
	return func(yield func(placed) bool) {
		for r := range a.from(a.rider, rowDead) {
			a.rider = r.pos + 1
			if !yield(r) {
				return
			}
		}
	}
}

func (a *arena) settle()        { a.rider = 0 }
func (a *arena) liveBytes() int { return a.live }
