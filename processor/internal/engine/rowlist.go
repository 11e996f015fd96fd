package engine

import (
	"slices"
	"sort"
)

// blockRows is how many entries a block of a rowList holds at most. An insertion out of order moves half as many; a search
// among the blocks of a million rows takes twelve looks.
const blockRows = 512

// rowList says where the rows of one key are, in order of (at, seq), in blocks, so that nothing that is done to one row costs more than a
// block, however many there are. No block is empty; a list without rows has none.
type rowList struct {
	blocks [][]listed
	one    [1][]listed // backs blocks as long as there is one: most keys have few rows
}

// listed says where a row is.
type listed struct {
	at  int64
	seq uint64
	ref uint64
}

func (e *listed) before(at int64, seq uint64) bool { return e.at < at || e.at == at && e.seq < seq }

// place is where a row stands, or where it would: in a block, or right behind its last row.
type place struct{ block, index int }

func (l *rowList) empty() bool { return len(l.blocks) == 0 }

func (l *rowList) oldest() *listed { return &l.blocks[0][0] }

func (l *rowList) newest() *listed {
	last := l.blocks[len(l.blocks)-1]
	return &last[len(last)-1]
}

// search returns the place of the first row at or after (at, seq), or the end of the list.
func (l *rowList) search(at int64, seq uint64) place {
	n := len(l.blocks)
	if n == 0 {
		return place{}
	}
	if l.newest().before(at, seq) { // the common case: in order
		return place{n - 1, len(l.blocks[n-1])}
	}
	b := sort.Search(n-1, func(i int) bool { return !l.blocks[i][len(l.blocks[i])-1].before(at, seq) })
	rows := l.blocks[b]
	return place{b, sort.Search(len(rows), func(i int) bool { return !rows[i].before(at, seq) })}
}

// at returns the row in its place, or nil at the end.
func (l *rowList) at(p place) *listed {
	if p.block >= len(l.blocks) || p.index >= len(l.blocks[p.block]) {
		return nil
	}
	return &l.blocks[p.block][p.index]
}

// distance is how many rows there are from p to q, which is not before it.
func (l *rowList) distance(p, q place) int {
	n := q.index - p.index
	for b := p.block; b < q.block; b++ {
		n += len(l.blocks[b])
	}
	return n
}

// before returns the row before a place, or nil.
func (l *rowList) before(p place) *listed {
	if p.index > 0 {
		return &l.blocks[p.block][p.index-1]
	}
	if p.block == 0 {
		return nil
	}
	last := l.blocks[p.block-1]
	return &last[len(last)-1]
}

// insert puts a row in its place.
func (l *rowList) insert(r listed) {
	if l.empty() {
		l.one[0] = []listed{r}
		l.blocks = l.one[:]
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
func (l *rowList) makeRoom(p place) place {
	b, rows := p.block, l.blocks[p.block]
	keep := len(rows) / 2
	if b == len(l.blocks)-1 && p.index == len(rows) {
		keep = len(rows)
	}
	upper := append(make([]listed, 0, blockRows), rows[keep:]...)
	l.blocks[b] = rows[:keep]
	l.blocks = slices.Insert(l.blocks, b+1, upper)
	l.one[0] = nil // they have moved to an array of their own
	if p.index >= keep {
		return place{b + 1, p.index - keep}
	}
	return p
}

// take removes the row in a place.
func (l *rowList) take(p place) {
	rows := slices.Delete(l.blocks[p.block], p.index, p.index+1)
	l.blocks[p.block] = rows
	if len(rows) == 0 {
		l.blocks = slices.Delete(l.blocks, p.block, p.block+1)
	}
}

// dropOldest removes the oldest row. Its room goes when the block needs more.
func (l *rowList) dropOldest() {
	if l.blocks[0] = l.blocks[0][1:]; len(l.blocks[0]) == 0 {
		l.blocks = slices.Delete(l.blocks, 0, 1)
	}
}
