package engine

import (
	"fmt"
	"iter"

	"github.com/rossby-streams/rossby/stream"
)

const (
	// hotCount and hotBytes are how many rows of a store, and how many encoded bytes of them, are kept as values once they are committed.
	// The others are decoded when they are asked for.
	hotCount = 1 << 17
	hotBytes = 32 << 20
	// hotPart is the part of its rows that a store in memory keeps as values, beside their bytes: no more, so that an entry takes less than
	// 100 bytes over its key and its value. hotFloor is how many it may always keep.
	hotPart  = 16
	hotFloor = 1 << 11
	// hotOverhead is about what a row takes as a value beside its encoded bytes.
	hotOverhead = 256
)

// hotLimit is how many values a store in memory may keep that has so many rows.
func hotLimit(rows int) int { return max(rows/hotPart, hotFloor) }

// base holds the committed rows of a key-value store as bytes: in memory, or on disk.
type base interface {
	// get returns the row of key. Its value is good until the next change.
	get(key []byte) (row stored, ok bool, err error)
	// put and remove are told the size and the time of the row that there was: the size is 0 for none, or unknown.
	put(key []byte, row, old stored) error
	remove(key []byte, old stored) error
	all() iter.Seq2[[]byte, stored]
	// oldest returns a home that no row's is below, or 0 if there are no rows: how far the journal may be trimmed.
	oldest() uint64
	// ride yields rows that hold the journal back, each once, until settle is called.
	ride() iter.Seq2[[]byte, stored]
	settle() // ends a commit
	len() int
	liveBytes() int
}

// unknown is the size of a row of which one does not know whether it is there.
const unknown = -1

// KeyValue is a store of one value per key, durable through the journal. Its base holds what is committed, as bytes; beside it are,
// as values, the rows that have changed since and those that were used lately.
type KeyValue[V any] struct {
	name    string
	task    *Task
	codec   stream.Codec[V]
	base    base
	disk    *diskBase // the base, if it is on disk; nil: it has a commit as soon as it is made
	onDisk  bool
	hot     map[string]*entry[V]
	weight  int  // encoded size of the committed rows in hot
	most    int  // how many may be hot
	tight   int  // so many were left when room was made
	ageless bool // while restoring: there may be rows from before the store had a ttl
	dirty   []*entry[V]
	riders  []rider
	count   int // live rows, in memory
	log     []entryChange[V]
	ttl     int64               // 0: values stay
	now     int64               // stream time, if values do not
	expiry  timeline[uint64]    // hashes of keys that the base has
	young   timeline[*entry[V]] // rows that it does not have yet
	due     []uint64            // scratch
	key     []byte              // scratch
}

// entry is a row as a value.
type entry[V any] struct {
	key   string
	at    int64 // stream time of the last Put, if values expire
	value V
	home  uint64 // of the last commit that wrote it; 0: one that the base has
	size  int32  // of what was committed of it; 0: there is none
	put   int64  // the time of what was committed of it
	dirty bool   // waits for the next commit
	dead  bool   // there is no such row
	used  bool   // since hot was cleared the last time
}

// rider is a row that is written again so that the journal can be trimmed.
type rider struct {
	key []byte
	row stored
}

// NewKeyValue returns an empty store and registers it with t under name.
func NewKeyValue[V any](t *Task, name string, codec stream.Codec[V]) *KeyValue[V] {
	return NewExpiring(t, name, 0, codec)
}

// NewExpiring returns an empty store whose values are dropped when stream time has passed that of their last Put by more than ttl
// nanoseconds. A ttl of 0 keeps them.
func NewExpiring[V any](t *Task, name string, ttl int64, codec stream.Codec[V]) *KeyValue[V] {
	s := &KeyValue[V]{name: name, task: t, codec: codec, base: newMemoryBase(), hot: make(map[string]*entry[V]), most: hotCount, ttl: ttl, now: NoTime}
	if ttl > 0 {
		s.expiry, s.young = newTimeline[uint64](ttl), newTimeline[*entry[V]](ttl)
	}
	t.addStore(s)
	return s
}

// NewOnDisk returns an empty store that keeps its rows in the database of the process, once OpenDisk has given the task its share.
func NewOnDisk[V any](t *Task, name string, codec stream.Codec[V]) *KeyValue[V] {
	return NewExpiringOnDisk(t, name, 0, codec)
}

// NewExpiringOnDisk is NewExpiring for a store that keeps its rows in the database of the process, once OpenDisk has given the task its share.
func NewExpiringOnDisk[V any](t *Task, name string, ttl int64, codec stream.Codec[V]) *KeyValue[V] {
	s := NewExpiring(t, name, ttl, codec)
	s.onDisk = true
	return s
}

func (s *KeyValue[V]) openDisk(d *diskState) *diskBase {
	s.disk = &diskBase{
		state: d, prefix: rowKey('d', s, nil), cool: s.cool, diskSlices: newDiskSlices(s.shape().slice, true),
		size: func(key []byte, row *stored) int { return changeSize(key, row.at, row.value) },
	}
	s.base = s.disk
	return s.disk
}

// isFull reports whether more is hot than may be. What a store on disk keeps in memory counts with what it takes there: all stores of
// the process have one budget.
func (s *KeyValue[V]) isFull() bool {
	switch {
	case len(s.hot) > s.most || s.weight > hotBytes:
		return true
	case s.disk == nil:
		return len(s.hot) > hotLimit(s.count)
	}
	return s.weight+len(s.hot)*hotOverhead > max(s.disk.state.space.Share(), hotOverhead)
}

// isPending reports whether a commit has written e that the base does not have yet.
func (s *KeyValue[V]) isPending(e *entry[V]) bool {
	return s.disk != nil && e.home > s.disk.state.applied
}

// over reports whether a value has expired; it may be there still.
func (s *KeyValue[V]) over(at int64) bool { return s.ttl > 0 && at < horizon(s.now, s.ttl) }

// find returns the entry of key, from the base if need be; nil if there is no row, nor was one lately.
func (s *KeyValue[V]) find(key string) *entry[V] {
	if e, ok := s.hot[key]; ok {
		e.used = true
		return e
	}
	s.key = append(s.key[:0], key...)
	row, ok, err := s.base.get(s.key)
	if err != nil {
		s.task.Stop(fmt.Errorf("store %s: %w", s.name, err))
		return nil
	}
	if !ok {
		return s.absent(key)
	}
	e, err := s.decode(key, row)
	if err != nil {
		s.task.Stop(s.task.stateError(s.task.journal.seqOf(row.home), err))
		return nil
	}
	s.makeRoom()
	s.hot[key] = e
	s.weight += row.size
	return e
}

// absent remembers that there is no row, where it takes long to find out.
func (s *KeyValue[V]) absent(key string) *entry[V] {
	if s.disk == nil {
		return nil
	}
	s.makeRoom()
	e := &entry[V]{key: key, dead: true, used: true}
	s.hot[key] = e
	return e
}

func (s *KeyValue[V]) decode(key string, row stored) (*entry[V], error) {
	value, err := s.codec.Decode(append([]byte(nil), row.value...)) // the value may keep the bytes
	if err != nil {
		return nil, fmt.Errorf("store %s: decode the value of key %q: %w", s.name, key, err)
	}
	return &entry[V]{key: key, at: row.at, put: row.at, value: value, size: int32(row.size), used: true}, nil
}

// Get returns the value of key and whether there is one.
func (s *KeyValue[V]) Get(key string) (V, bool) {
	if e := s.find(key); e != nil && !e.dead && !s.over(e.at) {
		return e.value, true
	}
	var none V
	return none, false
}

// Put sets the value of key.
func (s *KeyValue[V]) Put(key string, value V) {
	e := s.find(key)
	created := e == nil
	if created {
		e = &entry[V]{key: key, dead: true, used: true}
		s.hot[key] = e
	}
	s.remember(e, created)
	s.tally(e, -1)
	if s.ttl > 0 {
		e.at = s.now
		if e.dead && e.size == 0 && s.disk == nil {
			s.young.note(e, e.at)
		}
	}
	e.value, e.dead = value, false
	s.tally(e, 1)
	s.touch(e)
}

// tally counts a live row more, or less.
func (s *KeyValue[V]) tally(e *entry[V], rows int) {
	switch {
	case e.dead:
	case s.disk != nil:
		s.disk.expect(e.at, rows)
	default:
		s.count += rows
	}
}

// touch marks an entry for the next commit.
func (s *KeyValue[V]) touch(e *entry[V]) {
	if !e.dirty {
		e.dirty = true
		s.dirty = append(s.dirty, e)
	}
}

// Delete removes key; it is no error if there is none.
func (s *KeyValue[V]) Delete(key string) {
	e := s.find(key)
	if e == nil || e.dead || s.over(e.at) {
		return
	}
	s.remember(e, false)
	s.tally(e, -1)
	var none V
	e.value, e.dead = none, true
	s.touch(e)
}

// entryChange is what an entry was before a change.
type entryChange[V any] struct {
	entry       *entry[V]
	value       V
	at          int64
	dead, dirty bool
	created     bool // there was none
}

func (s *KeyValue[V]) remember(e *entry[V], created bool) {
	s.log = append(s.log, entryChange[V]{entry: e, value: e.value, at: e.at, dead: e.dead, dirty: e.dirty, created: created})
	s.task.note(s)
}

func (s *KeyValue[V]) undo() {
	c := popLast(&s.log)
	e := c.entry
	s.tally(e, -1)
	e.value, e.at, e.dead = c.value, c.at, c.dead
	s.tally(e, 1)
	if e.dirty && !c.dirty { // then this change has put it at the end
		popLast(&s.dirty)
		e.dirty = false
	}
	if c.created {
		delete(s.hot, e.key)
	}
}

func (s *KeyValue[V]) forget() { s.log = forgetAll(s.log) }

// Len returns the number of keys that are kept: some may have expired.
func (s *KeyValue[V]) Len() int {
	if s.disk != nil {
		return s.disk.rows + s.disk.ahead
	}
	return s.count
}

// All yields every key and value, in no particular order.
func (s *KeyValue[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		met := make(map[*entry[V]]struct{}) // entries that are pending, and that the base has had meanwhile or before
		for key, row := range s.base.all() {
			e, ok := s.hot[string(key)]
			if ok && s.isPending(e) {
				if _, twice := met[e]; twice { // it has moved to another segment meanwhile
					continue
				}
				met[e] = struct{}{}
			}
			if !ok {
				var err error
				if e, err = s.decode(string(key), row); err != nil {
					s.task.Stop(err)
					return
				}
			}
			if !e.dead && !s.over(e.at) && !yield(e.key, e.value) {
				return
			}
		}
		for key, e := range s.hot {
			if _, done := met[e]; done || s.inBase(e) {
				continue
			}
			if !e.dead && !s.over(e.at) && !yield(key, e.value) {
				return
			}
		}
	}
}

// inBase reports whether the base has the row of an entry, so that it is among all of them.
func (s *KeyValue[V]) inBase(e *entry[V]) bool {
	return e.size != 0 && !s.isPending(e) && (s.disk == nil || !s.disk.isOver(e.put))
}

// Name returns the name of the store.
func (s *KeyValue[V]) Name() string { return s.name }

func (s *KeyValue[V]) restore(d *decoder, number uint64) error {
	kind, key, at, _ := d.change()
	var value []byte
	if kind == changePut {
		value = d.bytes()
	}
	if d.err != nil {
		return d.err
	}
	var err error
	if kind == changePut {
		rows := s.base.len()
		err = s.base.put(key, stored{at: at, value: value, home: number}, stored{size: unknown})
		s.ageless = s.ageless || at == 0
		if at != 0 && s.base.len() > rows {
			s.note(key, at)
		}
	} else {
		err = s.base.remove(key, stored{size: unknown})
	}
	s.count = s.base.len()
	if e, ok := s.hot[string(key)]; ok {
		s.weight -= int(e.size)
		delete(s.hot, e.key)
	}
	return err
}

// restored finds out whether values can be decoded, before anything else is done, and lets those that were put before the store had a
// ttl live from now on.
func (s *KeyValue[V]) restored(now int64) error {
	s.count = s.base.len()
	for key, row := range s.base.all() {
		if _, err := s.decode(string(key), row); err != nil {
			return &rowError{home: row.home, err: err}
		}
		break // what cannot be decoded is of another type, as a rule: all of it
	}
	if s.ttl == 0 || now == NoTime {
		return nil
	}
	s.now = now
	if s.ageless || s.disk != nil && s.disk.hasAgeless() {
		s.beginToAge()
	}
	s.advance(now)
	return nil
}

// prune drops what has expired meanwhile.
func (s *KeyValue[V]) prune(now int64) {
	if now != NoTime {
		s.advance(now)
	}
}

func (s *KeyValue[V]) oldest() uint64 { return s.base.oldest() }

// rideAlong takes the rows that hold the journal back into the next commit, up to budget bytes of them, and returns what is left of it.
func (s *KeyValue[V]) rideAlong(budget int) int {
	if budget <= 0 {
		return budget
	}
	for key, row := range s.base.ride() {
		if e, ok := s.hot[string(key)]; ok && (e.dirty || s.isPending(e)) {
			continue
		}
		row.value = append([]byte(nil), row.value...)
		s.riders = append(s.riders, rider{append([]byte(nil), key...), row})
		if budget -= row.size; budget <= 0 {
			break
		}
	}
	return budget
}

func (s *KeyValue[V]) settle()        { s.base.settle() }
func (s *KeyValue[V]) liveBytes() int { return s.base.liveBytes() }
func (s *KeyValue[V]) isDirty() bool  { return len(s.dirty) > 0 || len(s.riders) > 0 }

func (s *KeyValue[V]) shape() shape {
	sh := shape{disk: s.onDisk, byKey: true}
	if s.onDisk && s.ttl > 0 {
		sh.slice = s.expiry.slice
	}
	return sh
}
