package engine

import (
	"iter"
	"slices"
	"sort"
)

// blockRows is how many rows a block of a rowList holds at most. An insertion out of order moves half as many pointers; a search
// among the blocks of a million rows takes twelve looks.
const blockRows = 512

// rowList holds the rows of one key in order of (at, seq), in blocks, so that nothing that is done to one row costs more than a
// block, however many there are. No block is empty; a list without rows has none.
type rowList[V any] struct {
	blocks [][]*row[V]
	first  int          // rows of the first block before it have been dropped
	one    [1][]*row[V] // backs blocks as long as there is one: most keys have few rows
	due    int64        // the slice of time in which the list waits to be dropped from: that of its oldest row, or an earlier one
}

// place is where a row stands, or where it would: in a block, or right behind its last row.
type place struct{ block, index int }

func (l *rowList[V]) empty() bool { return len(l.blocks) == 0 }

func (l *rowList[V]) oldest() *row[V] { return l.blocks[0][l.first] }

func (l *rowList[V]) newest() *row[V] {
	last := l.blocks[len(l.blocks)-1]
	return last[len(last)-1]
}

// search returns the place of the first row at or after (at, seq), or the end of the list.
func (l *rowList[V]) search(at int64, seq uint64) place {
	n := len(l.blocks)
	if n == 0 {
		return place{}
	}
	if l.newest().before(at, seq) { // the common case: in order
		return place{n - 1, len(l.blocks[n-1])}
	}
	b := sort.Search(n-1, func(i int) bool { return !l.blocks[i][len(l.blocks[i])-1].before(at, seq) })
	rows := l.blocks[b]
	start := l.start(b)
	return place{b, start + sort.Search(len(rows)-start, func(i int) bool { return !rows[start+i].before(at, seq) })}
}

// start is the index of the first row of a block.
func (l *rowList[V]) start(block int) int {
	if block == 0 {
		return l.first
	}
	return 0
}

// at returns the row in its place, or nil at the end.
func (l *rowList[V]) at(p place) *row[V] {
	if p.block >= len(l.blocks) || p.index >= len(l.blocks[p.block]) {
		return nil
	}
	return l.blocks[p.block][p.index]
}

// between yields the rows with from <= time <= to.
func (l *rowList[V]) between(from, to int64) iter.Seq[*row[V]] {
	return func(yield func(*row[V]) bool) {
		p := l.search(from, 0)
		for ; p.block < len(l.blocks); p = (place{p.block + 1, 0}) {
			for _, r := range l.blocks[p.block][p.index:] {
				if r.at > to || !yield(r) {
					return
				}
			}
		}
	}
}

// distance is how many rows there are from p to q, which is not before it.
func (l *rowList[V]) distance(p, q place) int {
	n := q.index - p.index
	for b := p.block; b < q.block; b++ {
		n += len(l.blocks[b])
	}
	return n
}

// before returns the row before a place, or nil.
func (l *rowList[V]) before(p place) *row[V] {
	if p.index > l.start(p.block) {
		return l.blocks[p.block][p.index-1]
	}
	if p.block == 0 {
		return nil
	}
	last := l.blocks[p.block-1]
	return last[len(last)-1]
}

// insert puts a row in its place.
func (l *rowList[V]) insert(r *row[V]) {
	if l.empty() {
		l.one[0] = []*row[V]{r}
		l.blocks, l.first = l.one[:], 0
		return
	}
	p := l.search(r.at, r.seq)
	if len(l.blocks[p.block]) >= blockRows {
		p = l.makeRoom(p)
	}
	l.blocks[p.block] = slices.Insert(l.blocks[p.block], p.index, r)
}

// makeRoom makes a full block have room, and returns where the place is now. At the end of the list it starts a new block, so that rows
// that come in order fill their blocks; otherwise the block is halved.
func (l *rowList[V]) makeRoom(p place) place {
	b, rows := p.block, l.blocks[p.block]
	if b == 0 && l.first >= blockRows/4 {
		p.index -= l.first
		l.reclaim()
		return p
	}
	keep := len(rows) / 2
	if b == len(l.blocks)-1 && p.index == len(rows) {
		keep = len(rows)
	}
	upper := append(make([]*row[V], 0, blockRows), rows[keep:]...)
	clear(rows[keep:])
	l.blocks[b] = rows[:keep]
	l.blocks = slices.Insert(l.blocks, b+1, upper)
	l.one[0] = nil // they have moved to an array of their own
	if p.index >= keep {
		return place{b + 1, p.index - keep}
	}
	return p
}

// take removes the row in a place.
func (l *rowList[V]) take(p place) {
	rows := slices.Delete(l.blocks[p.block], p.index, p.index+1)
	l.blocks[p.block] = rows
	if len(rows) == l.start(p.block) {
		l.removeBlock(p.block)
	}
}

func (l *rowList[V]) removeBlock(b int) {
	l.blocks = slices.Delete(l.blocks, b, b+1)
	if b == 0 {
		l.first = 0
	}
}

// dropOldest removes the oldest row. Its place is reclaimed once half of its block is free: O(1), amortised.
func (l *rowList[V]) dropOldest() {
	rows := l.blocks[0]
	rows[l.first] = nil
	l.first++
	if l.first < len(rows) {
		if l.first > len(rows)/2 {
			l.reclaim()
		}
		return
	}
	l.blocks[0], l.first = nil, 0
	l.blocks = l.blocks[1:]
}

// reclaim moves the rows of the first block to its start.
func (l *rowList[V]) reclaim() {
	l.blocks[0] = slices.Delete(l.blocks[0], 0, l.first)
	l.first = 0
}
