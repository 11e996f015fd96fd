package engine

import (
	"encoding/binary"
	"fmt"

	"github.com/rossby-streams/rossby/stream"
)

// row is one entry of a store, or one timer.
type row[V any] struct {
	key   string
	at    int64  // event time, in nanoseconds; window rows, timers, and values that expire
	seq   uint64 // tells rows of one key and time apart; window rows
	value V

	home       uint64 // number of the commit that holds this value; 0: none yet
	size       int    // encoded size at home
	dirty      bool   // waits for the next commit
	dead       bool   // deleted or expired
	prev, next *row[V]
}

// change kinds in a commit.
const (
	changePut    = 0
	changeDelete = 1
)

// ledger keeps the rows of one store in the order in which the journal holds them (oldest home first), and those that the
// next commit must write. The oldest home of all ledgers is how far the journal may be trimmed.
type ledger[V any] struct {
	codec      stream.Codec[V] // nil: rows have no value
	dirty      []*row[V]
	head, tail *row[V]
	live       int // bytes of the rows between head and tail
	scratch    []byte
}

// touch marks r for the next commit.
func (l *ledger[V]) touch(r *row[V]) {
	if !r.dirty {
		r.dirty = true
		l.dirty = append(l.dirty, r)
	}
}

// rowChange is what a row was before a change.
type rowChange[V any] struct {
	row         *row[V]
	value       V
	at          int64
	dead, dirty bool
	created     bool // there was none
}

func before[V any](r *row[V], created bool) rowChange[V] {
	return rowChange[V]{row: r, value: r.value, at: r.at, dead: r.dead, dirty: r.dirty, created: created}
}

// putBack makes a row what it was before c, the youngest change of the store.
func (l *ledger[V]) putBack(c rowChange[V]) {
	r := c.row
	r.value, r.at, r.dead = c.value, c.at, c.dead
	if r.dirty && !c.dirty { // then this change has put it at the end
		l.dirty[len(l.dirty)-1] = nil
		l.dirty = l.dirty[:len(l.dirty)-1]
		r.dirty = false
	}
}

func popLast[T any](s *[]T) T {
	var none T
	n := len(*s) - 1
	last := (*s)[n]
	(*s)[n] = none
	*s = (*s)[:n]
	return last
}

func forgetAll[T any](s []T) []T {
	clear(s)
	return s[:0]
}

func (l *ledger[V]) unlink(r *row[V]) {
	if r.home == 0 {
		return
	}
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		l.head = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	} else {
		l.tail = r.prev
	}
	r.prev, r.next, r.home = nil, nil, 0
	l.live -= r.size
}

func (l *ledger[V]) link(r *row[V], home uint64, size int) {
	l.unlink(r)
	r.home, r.size = home, size
	l.live += size
	if r.prev = l.tail; r.prev != nil {
		r.prev.next = r
	} else {
		l.head = r
	}
	l.tail = r
}

// expire forgets r without a trace in the journal: whoever restores it will see from the stream time that it is over.
func (l *ledger[V]) expire(r *row[V]) {
	r.dead = true
	l.unlink(r)
}

// oldest returns the number of the oldest commit that holds a live row, or 0.
func (l *ledger[V]) oldest() uint64 {
	if l.head == nil {
		return 0
	}
	return l.head.home
}

// rideAlong marks the oldest rows for the next commit, up to budget bytes of them, and returns what is left of it.
func (l *ledger[V]) rideAlong(budget int) int {
	for r := l.head; r != nil && budget > 0; r = r.next {
		if !r.dirty {
			l.touch(r)
			budget -= r.size
		}
	}
	return budget
}

// flush appends the changes since the last commit and gives the written rows their new home. forget is called for rows that are
// gone for good. A value that cannot be encoded is lost: its row is deleted, and refused is told.
func (l *ledger[V]) flush(dst []byte, number uint64, forget func(*row[V]), refused func(error)) []byte {
	count := 0
	body := l.scratch[:0]
	for _, r := range l.dirty {
		r.dirty = false
		if !r.dead {
			start := len(body)
			var err error
			if body, err = l.appendPut(body, r); err == nil {
				l.link(r, number, len(body)-start)
				count++
				continue
			}
			body = body[:start]
			refused(fmt.Errorf("the value of key %q cannot be encoded and is dropped: %w", r.key, err))
			r.dead = true
		}
		if r.home != 0 { // else it came and went between two commits, or expired
			body = appendRowID(append(body, changeDelete), r)
			l.unlink(r)
			count++
		}
		forget(r)
	}
	clear(l.dirty)
	l.dirty = l.dirty[:0]
	l.scratch = body
	return append(binary.AppendUvarint(dst, uint64(count)), body...)
}

func appendRowID[V any](dst []byte, r *row[V]) []byte {
	dst = appendString(dst, r.key)
	dst = binary.AppendVarint(dst, r.at)
	return binary.AppendUvarint(dst, r.seq)
}

func (l *ledger[V]) appendPut(dst []byte, r *row[V]) ([]byte, error) {
	dst = appendRowID(append(dst, changePut), r)
	if l.codec == nil {
		return dst, nil
	}
	value, err := l.codec.Encode(r.value)
	if err != nil {
		return dst, err
	}
	return appendString(dst, value), nil
}

// decoded is one change read back from a commit.
type decoded[V any] struct {
	row[V]
	deleted bool
}

func (l *ledger[V]) decode(d *decoder) (decoded[V], error) {
	var c decoded[V]
	before := len(d.data)
	kind := d.byte()
	c.key = d.string()
	c.at = d.varint()
	c.seq = d.uvarint()
	switch {
	case kind == changeDelete:
		c.deleted = true
	case kind != changePut:
		d.fail("an unknown kind of change")
	case l.codec != nil:
		raw := d.bytes()
		if d.err != nil {
			break
		}
		value, err := l.codec.Decode(raw)
		if err != nil {
			return c, fmt.Errorf("decode the value of key %q: %w", c.key, err)
		}
		c.value = value
	}
	c.size = before - len(d.data)
	return c, d.err
}
