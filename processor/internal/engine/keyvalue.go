package engine

import (
	"iter"

	"github.com/rossby-streams/rossby/stream"
)

// KeyValue is a store of one value per key, in memory, durable through the journal.
type KeyValue[V any] struct {
	name   string
	task   *Task
	rows   map[string]*row[V]
	led    ledger[V]
	dead   int // rows in the map whose deletion waits for the next commit
	log    []rowChange[V]
	ttl    int64 // 0: values stay
	now    int64 // stream time, if values do not
	expiry keyExpiry
}

// NewKeyValue returns an empty store and registers it with t under name.
func NewKeyValue[V any](t *Task, name string, codec stream.Codec[V]) *KeyValue[V] {
	return NewExpiring(t, name, 0, codec)
}

// NewExpiring returns an empty store whose values are dropped when stream time has passed that of their last Put by more than ttl
// nanoseconds. A ttl of 0 keeps them.
func NewExpiring[V any](t *Task, name string, ttl int64, codec stream.Codec[V]) *KeyValue[V] {
	s := &KeyValue[V]{name: name, task: t, rows: make(map[string]*row[V]), led: ledger[V]{codec: codec}, ttl: ttl, now: NoTime}
	if ttl > 0 {
		s.expiry = newKeyExpiry(ttl)
	}
	t.addStore(s)
	return s
}

// over reports whether a value has expired; it may be in memory still.
func (s *KeyValue[V]) over(r *row[V]) bool { return s.ttl > 0 && r.at < horizon(s.now, s.ttl) }

// Get returns the value of key and whether there is one.
func (s *KeyValue[V]) Get(key string) (V, bool) {
	if r, ok := s.rows[key]; ok && !r.dead && !s.over(r) {
		return r.value, true
	}
	var none V
	return none, false
}

// Put sets the value of key.
func (s *KeyValue[V]) Put(key string, value V) {
	r, ok := s.rows[key]
	if !ok {
		r = &row[V]{key: key}
		s.rows[key] = r
	}
	s.remember(r, !ok)
	if r.dead {
		r.dead = false
		s.dead--
	}
	r.value = value
	s.stamp(r)
	s.led.touch(r)
}

// stamp begins the time that a value has to live.
func (s *KeyValue[V]) stamp(r *row[V]) {
	if s.ttl > 0 {
		r.at = s.now
		s.expiry.note(r.key, r.at)
	}
}

// Delete removes key; it is no error if there is none.
func (s *KeyValue[V]) Delete(key string) {
	r, ok := s.rows[key]
	if !ok || r.dead || s.over(r) {
		return
	}
	s.remember(r, false)
	var none V
	r.value, r.dead = none, true
	s.dead++
	s.led.touch(r)
}

func (s *KeyValue[V]) remember(r *row[V], created bool) {
	s.log = append(s.log, before(r, created))
	s.task.note(s)
}

func (s *KeyValue[V]) undo() {
	c := popLast(&s.log)
	r := c.row
	if r.dead != c.dead { // only a deletion, or a Put after one, changes it
		if c.dead {
			s.dead++
		} else {
			s.dead--
		}
	}
	s.led.putBack(c)
	if c.created {
		delete(s.rows, r.key)
	}
}

func (s *KeyValue[V]) forget() { s.log = forgetAll(s.log) }

// Len returns the number of keys in memory: some may have expired.
func (s *KeyValue[V]) Len() int { return len(s.rows) - s.dead }

// All yields every key and value, in no particular order.
func (s *KeyValue[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for key, r := range s.rows {
			if !r.dead && !s.over(r) && !yield(key, r.value) {
				return
			}
		}
	}
}

// Name returns the name of the store.
func (s *KeyValue[V]) Name() string { return s.name }

func (s *KeyValue[V]) flush(dst []byte, number uint64, refused func(error)) []byte {
	dst = s.led.flush(dst, number, s.dropDead, refused)
	s.dead = 0
	return dst
}

// dropDead takes a row out that is dead, if it is in still: another may have followed one that has expired.
func (s *KeyValue[V]) dropDead(r *row[V]) {
	if s.rows[r.key] == r {
		delete(s.rows, r.key)
	}
}

func (s *KeyValue[V]) restore(d *decoder, number uint64) error {
	c, err := s.led.decode(d)
	if err != nil {
		return err
	}
	r, ok := s.rows[c.key]
	if c.deleted {
		if ok {
			s.led.unlink(r)
			delete(s.rows, c.key)
		}
		return nil
	}
	if !ok {
		r = &row[V]{key: c.key}
		s.rows[c.key] = r
	}
	r.value, r.at = c.value, c.at
	if s.ttl > 0 && r.at != 0 {
		s.expiry.note(r.key, r.at)
	}
	s.led.link(r, number, c.size)
	return nil
}

// restored lets values that were put before the store had a ttl live from now on.
func (s *KeyValue[V]) restored(now int64) {
	if s.ttl == 0 || now == NoTime {
		return
	}
	s.now = now
	for _, r := range s.rows {
		if r.at == 0 {
			s.stamp(r)
			s.led.touch(r)
		}
	}
	s.advance(now)
}

// advance drops what has expired: whole slices of time at once, Get hides the rest. The journal is not told: whoever restores sees it
// from the stream time.
func (s *KeyValue[V]) advance(now int64) {
	s.now = now
	if s.ttl == 0 {
		return
	}
	for key := range s.expiry.before(horizon(now, s.ttl)) {
		if r, ok := s.rows[key]; ok && !r.dead && s.over(r) {
			s.led.expire(r)
			delete(s.rows, key)
		}
	}
}

// prune drops what has expired meanwhile.
func (s *KeyValue[V]) prune(now int64) {
	if now != NoTime {
		s.advance(now)
	}
}

func (s *KeyValue[V]) oldest() uint64           { return s.led.oldest() }
func (s *KeyValue[V]) rideAlong(budget int) int { return s.led.rideAlong(budget) }
func (s *KeyValue[V]) liveBytes() int           { return s.led.live }
func (s *KeyValue[V]) isDirty() bool            { return len(s.led.dirty) > 0 }
