package engine

import (
	"slices"
	"sort"
)

// blockRows is how many entries a block of a rowList holds at most. An insertion out of order moves half as many; a search
// among the blocks of a million rows takes twelve looks.
const blockRows = 512

// rowList says where the rows of one key are, in order of (at, seq), in blocks, so that nothing that is done to one row costs more than a
// block, however many there are. No block is empty.
type rowList [][]listed

// listed says where a row is. Its sequence number is with the row: only rows of the same time need it, so it would be eight bytes for
// each that are hardly ever read.
type listed struct {
	at  int64
	ref uint64
}

// sequence returns the sequence number of the row with a ref.
type sequence func(ref uint64) uint64

// before reports whether a row is before (at, seq).
func (of sequence) before(e *listed, at int64, seq uint64) bool {
	return e.at < at || e.at == at && seq > 0 && of(e.ref) < seq
}

// place is where a row stands, or where it would: in a block, or right behind its last row.
type place struct{ block, index int }

func (l rowList) oldest() *listed { return &l[0][0] }

func (l rowList) newest() *listed {
	last := l[len(l)-1]
	return &last[len(last)-1]
}

// search returns the place of the first row at or after (at, seq), or the end of the list. No row has seq 0.
func (l rowList) search(of sequence, at int64, seq uint64) place {
	n := len(l)
	if n == 0 {
		return place{}
	}
	if of.before(l.newest(), at, seq) { // the common case: in order
		return place{n - 1, len(l[n-1])}
	}
	b := sort.Search(n-1, func(i int) bool { return !of.before(&l[i][len(l[i])-1], at, seq) })
	rows := l[b]
	return place{b, sort.Search(len(rows), func(i int) bool { return !of.before(&rows[i], at, seq) })}
}

// at returns the row in its place, or nil at the end.
func (l rowList) at(p place) *listed {
	if p.block >= len(l) || p.index >= len(l[p.block]) {
		return nil
	}
	return &l[p.block][p.index]
}

// distance is how many rows there are from p to q, which is not before it.
func (l rowList) distance(p, q place) int {
	n := q.index - p.index
	for b := p.block; b < q.block; b++ {
		n += len(l[b])
	}
	return n
}

// before returns the row before a place, or nil.
func (l rowList) before(p place) *listed {
	if p.index > 0 {
		return &l[p.block][p.index-1]
	}
	if p.block == 0 {
		return nil
	}
	last := l[p.block-1]
	return &last[len(last)-1]
}

// isFull reports whether there is no room for a row in its place.
func (l rowList) isFull(p place) bool { return len(l[p.block]) >= blockRows }

// insert puts a row in its place, where there is room.
func (l rowList) insert(p place, r listed) { l[p.block] = slices.Insert(l[p.block], p.index, r) }

// split makes a full block have room, and returns the list and where the place is now. At the end of the list it starts a new block, so
// that rows that come in order fill their blocks; otherwise the block is halved.
func (l rowList) split(p place) (rowList, place) {
	b, rows := p.block, l[p.block]
	keep := len(rows) / 2
	if b == len(l)-1 && p.index == len(rows) {
		keep = len(rows)
	}
	upper := append(make([]listed, 0, blockRows), rows[keep:]...)
	l[b] = rows[:keep]
	l = slices.Insert(l, b+1, upper)
	if p.index >= keep {
		return l, place{b + 1, p.index - keep}
	}
	return l, p
}

// take removes the row in a place, and returns what is left.
func (l rowList) take(p place) rowList {
	rows := slices.Delete(l[p.block], p.index, p.index+1)
	l[p.block] = rows
	if len(rows) == 0 {
		return slices.Delete(l, p.block, p.block+1)
	}
	return l
}

// dropOldest removes the oldest row, and returns what is left. Its room goes when the block needs more.
func (l rowList) dropOldest() rowList {
	if l[0] = l[0][1:]; len(l[0]) == 0 {
		return slices.Delete(l, 0, 1)
	}
	return l
}
