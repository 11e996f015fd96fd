package engine

import "iter"

// memoryBase holds the committed rows of a key-value store in memory.
type memoryBase struct {
	arena
	index hashIndex
}

func newMemoryBase() *memoryBase {
	b := &memoryBase{arena: arena{slack: tolerated}}
	b.index = newHashIndex(func(pos uint64, key []byte) bool { return string(b.keyAt(pos)) == string(key) })
	return b
}

func (b *memoryBase) get(key []byte) (row stored, ok bool, err error) {
	pos, ok := b.index.find(b.index.hash(key), key)
	if ok {
		row = b.rowAt(pos).stored
	}
	return row, ok, nil
}

// put sets the row of key, which is the youngest then.
func (b *memoryBase) put(key []byte, row, _ stored) error {
	hash := b.index.hash(key)
	old, had := b.index.find(hash, key)
	b.index.set(hash, key, b.append(key, row.at, 0, row.value, row.home), had)
	if had {
		b.drop(old)
		b.reclaim()
	}
	return nil
}

func (b *memoryBase) remove(key []byte, _ stored) error {
	hash := b.index.hash(key)
	if pos, ok := b.index.find(hash, key); ok {
		b.index.remove(hash, key)
		b.drop(pos)
		b.reclaim()
	}
	return nil
}

func (b *memoryBase) reclaim() {
	b.tidy(func(r *placed, pos uint64) { b.index.set(b.index.hash(r.key), r.key, pos, true) })
}

func (b *memoryBase) all() iter.Seq2[[]byte, stored]  { return pairs(b.arena.all()) }
func (b *memoryBase) ride() iter.Seq2[[]byte, stored] { return pairs(b.arena.ride()) }
func (b *memoryBase) len() int                        { return b.rows }

func pairs(rows iter.Seq[placed]) iter.Seq2[[]byte, stored] {
	return func(yield func([]byte, stored) bool) {
		for r := range rows {
			if !yield(r.key, r.stored) {
				return
			}
		}
	}
}
