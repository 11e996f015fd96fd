package engine

// rowLists are the lists of the keys of a window store that have several rows. Most fit into a block: those are kept in a table of blocks,
// which takes them half the room.
type rowLists struct {
	of    sequence
	short slots[[]listed] // lists of one block
	long  slots[rowList]  // lists that have had more; no block where all rows are gone
}

// add makes a list of the first two rows of a key, and returns its ref. seq is that of the second one.
func (t *rowLists) add(first, second listed, seq uint64) (ref uint64) {
	ref = refList | uint64(t.short.add([]listed{first}))
	return t.insert(ref, second, seq)
}

// at returns a list. It is good until the next one is added.
func (t *rowLists) at(ref uint64) rowList {
	place := uint32(ref)
	if ref&refLong != 0 {
		return t.long.items[place]
	}
	return t.short.items[place : place+1 : place+1]
}

// insert puts a row in its place, and returns the ref that the list has then.
func (t *rowLists) insert(ref uint64, row listed, seq uint64) uint64 {
	list := t.at(ref)
	p := list.search(t.of, row.at, seq)
	if list.isFull(p) {
		list, p = list.split(p)
		ref = t.keep(ref, list)
	}
	list.insert(p, row)
	return ref
}

// keep keeps a list that has several blocks, and returns the ref that it has then.
func (t *rowLists) keep(ref uint64, list rowList) uint64 {
	if ref&refLong != 0 {
		t.long.items[uint32(ref)] = list
		return ref
	}
	t.short.remove(uint32(ref))
	return refList | refLong | uint64(t.long.add(list))
}

// take removes a row that is there, and reports whether any are left.
func (t *rowLists) take(ref uint64, at int64, seq uint64) (left bool) {
	list := t.at(ref)
	return t.shrink(ref, list.take(list.search(t.of, at, seq)))
}

// dropOldest removes the oldest row, and reports whether any are left.
func (t *rowLists) dropOldest(ref uint64) (left bool) { return t.shrink(ref, t.at(ref).dropOldest()) }

// shrink keeps what is left of a list: of a short one it is in place.
func (t *rowLists) shrink(ref uint64, list rowList) (left bool) {
	if ref&refLong != 0 {
		t.long.items[uint32(ref)] = list
	}
	return len(list) > 0
}

// point lets the list lead to a row by another ref.
func (t *rowLists) point(ref uint64, at int64, seq, row uint64) {
	list := t.at(ref)
	list.at(list.search(t.of, at, seq)).ref = row
}

// remove forgets a list that has no rows any more.
func (t *rowLists) remove(ref uint64) {
	if ref&refLong != 0 {
		t.long.remove(uint32(ref))
	} else {
		t.short.remove(uint32(ref))
	}
}
