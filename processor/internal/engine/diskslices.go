package engine

import (
	"encoding/binary"
	"iter"
	"math"
	"sort"
)

// segmentSlices is how many slices of time have their rows side by side in the database, in a segment, which is deleted at once when all of them
// are over. A segment is half of the retention, so that rows of any age are looked for in three or four places; Kafka Streams does the same.
const segmentSlices = 8

// agelessSlice is that of rows from before their store had a ttl: it is never over.
const agelessSlice = math.MaxInt64

// diskSlices is what is known of all rows of a diskBase, by slices of time. It is stored beside the rows. Where rows do not expire there is one
// slice.
type diskSlices struct {
	length int64 // of a slice; 0: rows do not expire
	byKey  bool  // rows at 0 have no age
	keep   int64 // slices before it are over
	seq    uint64
	all    []diskSlice // ascending
	rows   int
	live   int // bytes that they take in the journal
	ahead  int // how many more rows, or fewer if less than 0, there are with what the next commit will bring
}

// diskSlice is what is known of the rows of a slice.
type diskSlice struct {
	number     int64
	rows, live int
	floor      uint64 // no row has a lower home
	ahead      int
}

func newDiskSlices(length int64, byKey bool) diskSlices {
	return diskSlices{length: length, byKey: byKey, keep: math.MinInt64}
}

// sliceOf returns the slice of rows at a time.
func (s *diskSlices) sliceOf(at int64) int64 {
	switch {
	case s.length == 0:
		return 0
	case s.byKey && at == 0:
		return agelessSlice
	}
	return floorDiv(at, s.length)
}

func segmentOf(slice int64) int64 { return floorDiv(slice, segmentSlices) }

// isOver reports whether the rows at a time have been dropped, as those of its slice; some may be there still.
func (s *diskSlices) isOver(at int64) bool { return s.sliceOf(at) < s.keep }

// slice returns a slice that is not over.
func (s *diskSlices) slice(number int64) *diskSlice {
	i := sort.Search(len(s.all), func(i int) bool { return s.all[i].number >= number })
	if i == len(s.all) || s.all[i].number > number {
		s.all = append(s.all, diskSlice{})
		copy(s.all[i+1:], s.all[i:])
		s.all[i] = diskSlice{number: number}
	}
	return &s.all[i]
}

// expect takes note of a row more, or less, that the next commit will bring.
func (s *diskSlices) expect(at int64, rows int) {
	if !s.isOver(at) {
		s.slice(s.sliceOf(at)).ahead += rows
		s.ahead += rows
	}
}

// add takes note of a row.
func (s *diskSlices) add(r stored) {
	c := s.slice(s.sliceOf(r.at))
	if c.rows == 0 {
		c.floor = r.home
	}
	c.rows++
	c.live += r.size
	s.rows++
	s.live += r.size
}

// subtract takes note of a row that is not there any more.
func (s *diskSlices) subtract(r stored) {
	c := s.slice(s.sliceOf(r.at))
	c.rows--
	c.live -= r.size
	s.rows--
	s.live -= r.size
}

// dropBefore forgets the slices before keep, and reports whether segments are over now that were not before.
func (s *diskSlices) dropBefore(keep int64) (segments bool) {
	if keep <= s.keep {
		return false
	}
	n := 0
	for ; n < len(s.all) && s.all[n].number < keep; n++ {
		s.rows -= s.all[n].rows
		s.live -= s.all[n].live
		s.ahead -= s.all[n].ahead
	}
	s.all = append(s.all[:0], s.all[n:]...)
	segments = segmentOf(keep) > segmentOf(s.keep)
	s.keep = keep
	return segments
}

// hasAgeless reports whether there are rows from before their store had a ttl.
func (s *diskSlices) hasAgeless() bool {
	n := len(s.all)
	return n > 0 && s.all[n-1].number == agelessSlice && s.all[n-1].rows > 0
}

// oldest returns a home that no row's is below, or 0 if there are no rows.
func (s *diskSlices) oldest() (home uint64) {
	for _, c := range s.all {
		if c.rows > 0 && (home == 0 || c.floor < home) {
			home = c.floor
		}
	}
	return home
}

// raise takes note that no row has a lower home.
func (s *diskSlices) raise(home uint64) {
	for i := range s.all {
		s.all[i].floor = max(s.all[i].floor, home)
	}
}

// segments yields the segments that have rows, from that of a slice on.
func (s *diskSlices) segments(from int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i := 0; i < len(s.all); {
			segment, rows := segmentOf(s.all[i].number), 0
			for ; i < len(s.all) && segmentOf(s.all[i].number) == segment; i++ {
				rows += s.all[i].rows
			}
			if rows > 0 && segment >= segmentOf(from) && !yield(segment) {
				return
			}
		}
	}
}

// segmentsDown yields the segments that have rows, the youngest first.
func (s *diskSlices) segmentsDown() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i := len(s.all) - 1; i >= 0; {
			segment, rows := segmentOf(s.all[i].number), 0
			for ; i >= 0 && segmentOf(s.all[i].number) == segment; i-- {
				rows += s.all[i].rows
			}
			if rows > 0 && !yield(segment) {
				return
			}
		}
	}
}

func (s *diskSlices) append(dst []byte) []byte {
	dst = binary.AppendVarint(dst, s.keep)
	dst = binary.AppendUvarint(dst, s.seq)
	dst = binary.AppendUvarint(dst, uint64(len(s.all)))
	for _, c := range s.all {
		dst = binary.AppendVarint(dst, c.number)
		for _, v := range []uint64{uint64(c.rows), uint64(c.live), c.floor} {
			dst = binary.AppendUvarint(dst, v)
		}
	}
	return dst
}

// load takes over what the database says of the rows.
func (s *diskSlices) load(from diskSlices) {
	from.length, from.byKey = s.length, s.byKey
	*s = from
}

// diskSlices reads what append has written, but for how slices are made.
func (d *decoder) diskSlices() (s diskSlices) {
	s.keep, s.seq = d.varint(), d.uvarint()
	for range d.count() {
		c := diskSlice{number: d.varint(), rows: int(d.uvarint()), live: int(d.uvarint()), floor: d.uvarint()}
		s.all = append(s.all, c)
		s.rows += c.rows
		s.live += c.live
	}
	return s
}
