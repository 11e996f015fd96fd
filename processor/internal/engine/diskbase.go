package engine

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// diskBase holds the committed rows of a key-value store in the database of the process. What a commit changes goes into the task's
// batch and is read back only once that is applied: until then the store keeps the rows hot.
//
// The journal is kept short by sweeps: once there is too much garbage, the rows are gone through in the order of their keys, and those
// that were committed before the sweep began ride along. When it ends, no row has a lower home than its beginning.
type diskBase struct {
	state  *diskState
	prefix []byte
	cool   func() // lets go of values that no longer wait for a commit to be stored
	diskTotals
	sweep    uint64         // the rows with lower homes ride along; 0: no sweep is under way
	swept    []byte         // keys before it are done; nil: none
	rested   bool           // a sweep has ended in the commit in hand
	replayed map[string]int // while restoring: sizes of rows that the batch has changed, 0 for those it has removed
}

// sweepLooks is how many rows a sweep goes through in one commit: they need not ride along, and take their time nevertheless.
const sweepLooks = 10_000

// diskTotals are what is known of all rows of a diskBase. They are stored beside the rows.
type diskTotals struct {
	rows, live int
	floor      uint64 // no row has a lower home
}

func (b *diskBase) row(key []byte) []byte {
	return append(b.prefix[:len(b.prefix):len(b.prefix)], key...)
}

func decodeStored(key, data []byte) (stored, error) {
	d := &decoder{data: data}
	row := stored{home: d.uvarint(), at: d.varint()}
	row.value = d.data
	row.size = changeSize(key, row.at, row.value)
	if d.err != nil {
		return stored{}, fmt.Errorf("the row of key %q in the state database: %w", key, d.err)
	}
	return row, nil
}

func (b *diskBase) get(key []byte) (stored, bool, error) {
	data, ok, err := b.state.space.Get(b.row(key))
	if err != nil || !ok {
		return stored{}, false, err
	}
	row, err := decodeStored(key, data)
	return row, err == nil, err
}

func (b *diskBase) put(key []byte, row stored, old int) error {
	old, err := b.replaced(key, old)
	if err != nil {
		return err
	}
	if b.rows == 0 {
		b.floor = row.home
	}
	size := changeSize(key, row.at, row.value)
	b.account(old, size)
	if b.replayed != nil {
		b.replayed[string(key)] = size
	}
	value := binary.AppendVarint(binary.AppendUvarint(b.state.value[:0], row.home), row.at)
	b.state.value = append(value, row.value...)
	b.state.batch.Set(b.row(key), b.state.value)
	return nil
}

func (b *diskBase) remove(key []byte, old int) error {
	old, err := b.replaced(key, old)
	if err != nil || old == 0 {
		return err
	}
	b.account(old, 0)
	if b.replayed != nil {
		b.replayed[string(key)] = 0
	}
	b.state.batch.Delete(b.row(key))
	return nil
}

func (b *diskBase) account(old, size int) {
	b.live += size - old
	if old > 0 {
		b.rows--
	}
	if size > 0 {
		b.rows++
	}
}

// replaced returns the size of the row that there is, where the store does not know it: while it is restored.
func (b *diskBase) replaced(key []byte, old int) (int, error) {
	if old != unknown {
		return old, nil
	}
	if b.replayed == nil {
		b.replayed = make(map[string]int)
	}
	if size, ok := b.replayed[string(key)]; ok {
		return size, nil
	}
	row, _, err := b.get(key)
	return row.size, err
}

func (b *diskBase) from(start []byte) iter.Seq2[[]byte, stored] {
	return func(yield func([]byte, stored) bool) {
		if start != nil {
			start = b.row(start)
		}
		for pair, err := range b.state.space.From(b.prefix, start) {
			var row stored
			key := pair.Key
			if err == nil {
				key = pair.Key[len(b.prefix):]
				row, err = decodeStored(key, pair.Value)
			}
			if err != nil {
				b.state.task.Stop(err)
				return
			}
			if !yield(key, row) {
				return
			}
		}
	}
}

func (b *diskBase) all() iter.Seq2[[]byte, stored] { return b.from(nil) }

func (b *diskBase) oldest() uint64 {
	if b.rows == 0 {
		return 0
	}
	return b.floor
}

func (b *diskBase) ride() iter.Seq2[[]byte, stored] {
	return func(yield func([]byte, stored) bool) {
		if b.rested {
			return
		}
		if b.sweep == 0 {
			b.sweep, b.swept = b.state.applied+1, nil // commits after it are not in the database yet
		}
		looks := sweepLooks
		for key, row := range b.from(b.swept) {
			b.swept = append(append(b.swept[:0:0], key...), 0)
			if row.home < b.sweep && !yield(key, row) {
				return
			}
			if looks--; looks == 0 {
				return
			}
		}
		if b.state.task.err == nil {
			b.floor, b.sweep, b.rested = max(b.floor, b.sweep), 0, true
		}
	}
}

func (b *diskBase) settle()        { b.replayed, b.rested = nil, false }
func (b *diskBase) len() int       { return b.rows }
func (b *diskBase) liveBytes() int { return b.live }
