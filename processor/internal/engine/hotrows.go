package engine

// hotRow is a row of a window store as a value.
type hotRow[V any] struct {
	key   string
	at    int64
	seq   uint64
	value V
	pos   uint64 // where the arena has what is committed of it, or nowhere
	slot  uint32 // its place among the hot rows
	size  int32  // of what is committed
	dirty bool   // waits for the next commit
	dead  bool   // deleted or expired
	used  bool   // since the hand passed it
}

// nowhere is the position of a row that is not committed.
const nowhere = 1<<positionBits - 1

func (r *hotRow[V]) ref() uint64 { return refHot | uint64(r.slot) }

// rowChange is what a row was before a change.
type rowChange[R, V any] struct {
	row         *R
	value       V
	dead, dirty bool
	created     bool // there was none
}

// hotRows are the rows of a store that are kept as values: those that the next commit must write, and those that were used lately.
// They are known by their slots, so that whoever refers to them has no pointers.
type hotRows[V any] struct {
	slots[*hotRow[V]]
	hand   int              // where the search for one to let go of goes on
	weight int              // size of what is committed of them
	most   int              // how many there may be
	cold   func(*hotRow[V]) // told of those that are let go of
}

func (h *hotRows[V]) add(r *hotRow[V]) {
	r.slot = h.slots.add(r)
	h.weight += int(r.size)
}

func (h *hotRows[V]) remove(r *hotRow[V]) {
	h.slots.remove(r.slot)
	h.weight -= int(r.size)
}

func (h *hotRows[V]) at(ref uint64) *hotRow[V] { return h.items[uint32(ref)] }

// cool lets go of rows that have not been used lately, as long as there are more than most and than a store of so many rows may have: each once
// in two rounds, looking at so many at most.
func (h *hotRows[V]) cool(rows, looks int) {
	for ; looks > 0 && (h.len() > min(h.most, hotLimit(rows)) || h.weight > hotBytes); looks-- {
		if h.hand++; h.hand >= len(h.items) {
			h.hand = 0
		}
		r := h.items[h.hand]
		switch {
		case r == nil || r.dirty:
		case r.used:
			r.used = false
		default:
			h.cold(r)
			h.remove(r)
		}
	}
}
