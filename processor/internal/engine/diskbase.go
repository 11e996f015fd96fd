package engine

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// diskBase holds the committed rows of a store in the database of the process. What a commit changes goes into the task's batch and is
// read back only once that is applied: until then the store keeps the rows in memory.
//
// The key of a row in the database is that of the store, the segment of time that the row is in, if rows expire, and the row's id: what
// tells it from others. That of a key-value store is the key, so that a row put again later may move to another segment.
//
// The journal is kept short by sweeps: once there is too much garbage, the rows are gone through in the order of their keys, and those
// that were committed before the sweep began ride along. When it ends, no row has a lower home than its beginning.
type diskBase struct {
	state  *diskState
	prefix []byte
	size   func(id []byte, row *stored) int // of the change that a row is in the journal
	cool   func()                           // lets go of values that no longer wait for a commit to be stored
	diskSlices
	sweep    uint64            // the rows with lower homes ride along; 0: no sweep is under way
	swept    []byte            // keys before it are done; nil: none
	rested   bool              // a sweep has ended in the commit in hand
	replayed map[string]stored // while restoring: rows that the batch has changed, without their values; of size 0 those it has removed
}

// sweepLooks is how many rows a sweep goes through in one commit: they need not ride along, and take their time nevertheless.
const sweepLooks = 10_000

// segmentKeyBytes is how many bytes a segment takes in a key.
const segmentKeyBytes = 8

// within returns what the keys of all rows of a segment begin with.
func (b *diskBase) within(segment int64) []byte {
	key := b.prefix[:len(b.prefix):len(b.prefix)]
	if b.length > 0 {
		key = appendOrdered(key, segment)
	}
	return key
}

// row returns the key of a row.
func (b *diskBase) row(at int64, id []byte) []byte {
	return append(b.within(segmentOf(b.sliceOf(at))), id...)
}

// appendOrdered appends a number so that larger ones come later.
func appendOrdered(dst []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(v)^1<<63)
}

// idIn returns the id of the row with a key of the database, without the store's.
func (b *diskBase) idIn(key []byte) []byte {
	if b.length > 0 {
		return key[segmentKeyBytes:]
	}
	return key
}

func (b *diskBase) decode(id, data []byte) (stored, error) {
	row, err := decodeStored(data)
	if err != nil {
		return stored{}, fmt.Errorf("the row of key %q in the state database: %w", id, err)
	}
	row.size = b.size(id, &row)
	return row, nil
}

// decodeStored reads a row but for its size.
func decodeStored(data []byte) (stored, error) {
	d := &decoder{data: data}
	row := stored{home: d.uvarint(), at: d.varint()}
	row.value = d.data
	return row, d.err
}

// get returns the row of a key-value store.
func (b *diskBase) get(key []byte) (stored, bool, error) {
	for segment := range b.segmentsDown() {
		row, ok, err := b.getIn(segment, key)
		if err != nil || ok {
			return row, err == nil, err
		}
	}
	return stored{}, false, nil
}

func (b *diskBase) getIn(segment int64, id []byte) (stored, bool, error) {
	data, ok, err := b.state.space.Get(append(b.within(segment), id...))
	if err != nil || !ok {
		return stored{}, false, err
	}
	row, err := b.decode(id, data)
	return row, err == nil, err
}

// put sets a row. old is what there is of it: its size (0 for none, or unknown) and its time.
func (b *diskBase) put(id []byte, row, old stored) error {
	row.size = b.size(id, &row)
	if err := b.replace(id, row, old); err != nil || b.isOver(row.at) {
		return err
	}
	value := binary.AppendVarint(binary.AppendUvarint(b.state.value[:0], row.home), row.at)
	b.state.value = append(value, row.value...)
	b.state.batch.Set(b.row(row.at, id), b.state.value)
	return nil
}

func (b *diskBase) remove(id []byte, old stored) error { return b.replace(id, stored{}, old) }

// replace takes note of a row that comes in the place of an old one, which it removes if it has another key.
func (b *diskBase) replace(id []byte, row, old stored) error {
	known := old.size != unknown
	if !known {
		var err error
		if old, err = b.replaced(id, old); err != nil {
			return err
		}
		b.replayed[string(id)] = stored{at: row.at, size: row.size}
	}
	if old.size > 0 && !b.isOver(old.at) {
		b.subtract(old)
		if known {
			b.expect(old.at, 1)
		}
		if row.size == 0 || segmentOf(b.sliceOf(old.at)) != segmentOf(b.sliceOf(row.at)) {
			b.state.batch.Delete(b.row(old.at, id))
		}
	}
	if row.size > 0 && !b.isOver(row.at) {
		b.add(row)
		if known {
			b.expect(row.at, -1)
		}
	}
	return nil
}

// replaced returns the size and the time of the row that there is, where the store does not know it: while it is restored.
func (b *diskBase) replaced(id []byte, old stored) (stored, error) {
	if b.replayed == nil {
		b.replayed = make(map[string]stored)
	}
	if row, ok := b.replayed[string(id)]; ok {
		return row, nil
	}
	var row stored
	var err error
	if b.byKey {
		row, _, err = b.get(id)
	} else {
		row, _, err = b.getIn(segmentOf(b.sliceOf(old.at)), id)
	}
	return stored{at: row.at, size: row.size}, err
}

// from yields the rows whose keys are not before start, with these.
func (b *diskBase) from(start []byte) iter.Seq2[[]byte, stored] {
	return func(yield func([]byte, stored) bool) {
		if start != nil {
			start = append(b.prefix[:len(b.prefix):len(b.prefix)], start...)
		}
		for pair, err := range b.state.space.From(b.prefix, start) {
			var row stored
			key := pair.Key
			if err == nil {
				key = pair.Key[len(b.prefix):]
				row, err = b.decode(b.idIn(key), pair.Value)
			}
			if err != nil {
				b.state.task.Stop(err)
				return
			}
			if !b.isOver(row.at) && !yield(key, row) {
				return
			}
		}
	}
}

// all yields the rows by their ids.
func (b *diskBase) all() iter.Seq2[[]byte, stored] {
	return func(yield func([]byte, stored) bool) {
		for key, row := range b.from(nil) {
			if !yield(b.idIn(key), row) {
				return
			}
		}
	}
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
			if row.home < b.sweep && !yield(b.idIn(key), row) {
				return
			}
			if looks--; looks == 0 {
				return
			}
		}
		if b.state.task.err == nil {
			b.raise(b.sweep)
			b.sweep, b.rested = 0, true
		}
	}
}

// advance drops the rows of slices that are over at a horizon: their segments leave the database with the next commit.
func (b *diskBase) advance(horizon int64) {
	if b.dropBefore(floorDiv(horizon, b.length)) {
		b.state.batch.DeleteRange(b.prefix, b.within(segmentOf(b.keep)))
	}
}

func (b *diskBase) settle()        { b.replayed, b.rested = nil, false }
func (b *diskBase) len() int       { return b.rows }
func (b *diskBase) liveBytes() int { return b.live }
