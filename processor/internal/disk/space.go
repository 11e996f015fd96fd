package disk

import (
	"bytes"
	"errors"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Space is what one task has of the database. Reading and applying batches are safe for concurrent use.
type Space struct {
	db     *DB
	prefix []byte
}

// Space returns the space of that name, which has no zero byte in it.
func (db *DB) Space(name string) *Space {
	return &Space{db: db, prefix: append([]byte(name), 0)}
}

// Use says that so many stores more, or fewer, keep values beside the database.
func (s *Space) Use(stores int) { s.db.sharers.Add(int64(stores)) }

// Share is how many bytes of values each store in use may keep: all together have a quarter of the memory of the database.
func (s *Space) Share() int { return int(s.db.values / max(s.db.sharers.Load(), 1)) }

func (s *Space) key(key []byte) []byte { return append(slices.Clip(s.prefix), key...) }

// Get returns the value of key, which is the caller's, and whether there is one.
func (s *Space) Get(key []byte) (value []byte, ok bool, err error) {
	err = s.db.use(func(p *pebble.DB) error {
		v, closer, err := p.Get(s.key(key))
		if errors.Is(err, pebble.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		value, ok = bytes.Clone(v), true
		return closer.Close()
	})
	if err != nil {
		return nil, false, err
	}
	return value, ok, nil
}

// Pair is a key and its value.
type Pair struct{ Key, Value []byte }

// firstPairs is how many pairs are read before they are yielded, of whoever stops soon; then twice as many each time, up to mostPairs.
// There are pairBytes of them for each at most, on average.
const (
	firstPairs = 8
	mostPairs  = 256
	pairBytes  = 1 << 12
)

// From yields the pairs whose key begins with prefix, in order, from start on: nil is the first. Changes meanwhile may or may not be seen.
// The pair with an error, if there is one, is the last.
func (s *Space) From(prefix, start []byte) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		lower := s.key(prefix)
		upper := after(lower)
		if start != nil {
			lower = s.key(start)
		}
		for n, more := firstPairs, true; more; n = min(2*n, mostPairs) {
			var pairs []Pair
			var err error
			if pairs, more, err = s.read(lower, upper, n); err != nil {
				yield(Pair{}, err)
				return
			}
			for _, pair := range pairs {
				if !yield(pair, nil) {
					return
				}
			}
			if more {
				lower = append(s.key(pairs[len(pairs)-1].Key), 0)
			}
		}
	}
}

// Before returns the last pair whose key begins with prefix and is lower than end, and whether there is one.
func (s *Space) Before(prefix, end []byte) (pair Pair, ok bool, err error) {
	err = s.db.use(func(p *pebble.DB) error {
		it, err := p.NewIter(&pebble.IterOptions{LowerBound: s.key(prefix), UpperBound: s.key(end)})
		if err != nil {
			return err
		}
		if ok = it.Last(); ok {
			pair = Pair{Key: bytes.Clone(it.Key()[len(s.prefix):]), Value: bytes.Clone(it.Value())}
		}
		return errors.Join(it.Error(), it.Close())
	})
	return pair, ok && err == nil, err
}

// read returns up to n of the pairs from lower on, and whether there are more. Nothing is held while they are looked at, so that the
// database can be closed.
func (s *Space) read(lower, upper []byte, n int) (pairs []Pair, more bool, err error) {
	err = s.db.use(func(p *pebble.DB) error {
		it, err := p.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			return err
		}
		size := 0
		for ok := it.First(); ok; ok = it.Next() {
			if len(pairs) == n || size > n*pairBytes {
				more = true
				break
			}
			pair := Pair{Key: bytes.Clone(it.Key()[len(s.prefix):]), Value: bytes.Clone(it.Value())}
			size += len(pair.Key) + len(pair.Value)
			pairs = append(pairs, pair)
		}
		return errors.Join(it.Error(), it.Close())
	})
	return pairs, more, err
}

// after returns the lowest key above all that begin with prefix.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// Drop empties the space.
func (s *Space) Drop() error {
	return s.db.use(func(p *pebble.DB) error { return p.DeleteRange(s.prefix, after(s.prefix), pebble.NoSync) })
}

// Batch gathers changes that are applied together. It is for one goroutine at a time.
type Batch struct {
	space *Space
	b     *pebble.Batch
	key   []byte
	err   error
}

// NewBatch returns an empty batch. An error of the database is returned by Apply.
func (s *Space) NewBatch() *Batch {
	b := &Batch{space: s, key: slices.Clone(s.prefix)}
	b.err = s.db.use(func(p *pebble.DB) error { b.b = p.NewBatch(); return nil })
	return b
}

// Set sets the value of key.
func (b *Batch) Set(key, value []byte) {
	if b.err == nil {
		b.key = append(b.key[:len(b.space.prefix)], key...)
		b.err = b.b.Set(b.key, value, nil)
	}
}

// Delete removes key.
func (b *Batch) Delete(key []byte) {
	if b.err == nil {
		b.key = append(b.key[:len(b.space.prefix)], key...)
		b.err = b.b.Delete(b.key, nil)
	}
}

// DeleteRange removes the keys from one on, up to another one that stays.
func (b *Batch) DeleteRange(from, to []byte) {
	if b.err == nil {
		b.err = b.b.DeleteRange(b.space.key(from), b.space.key(to), nil)
	}
}

// Size is how many bytes the changes take so far.
func (b *Batch) Size() int {
	if b.err != nil {
		return 0
	}
	return b.b.Len()
}

// Apply makes the changes; the batch is used up. The changes are in files once Durable has reached what is returned.
func (b *Batch) Apply() (Epoch, error) {
	if b.err != nil {
		return 0, b.err
	}
	db, epoch := b.space.db, Epoch(0)
	err := db.use(func(p *pebble.DB) error {
		size := int64(b.b.Len())
		if db.written.Add(size) > checkEvery {
			if err := db.room(); err != nil {
				return err
			}
			db.written.Store(0)
		}
		if err := errors.Join(p.Apply(b.b, pebble.NoSync), b.b.Close()); err != nil {
			return err
		}
		var err error
		epoch, err = db.flushes.note(db, p, size)
		return err
	})
	return epoch, err
}
