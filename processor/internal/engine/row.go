package engine

import "encoding/binary"

// change kinds in a commit.
const (
	changePut    = 0
	changeDelete = 1
)

// appendRowID appends what tells a row of a store from others.
func appendRowID[S string | []byte](dst []byte, key S, at int64, seq uint64) []byte {
	dst = appendString(dst, key)
	dst = binary.AppendVarint(dst, at)
	return binary.AppendUvarint(dst, seq)
}

// change reads a change of a store but for its value.
func (d *decoder) change() (kind byte, key []byte, at int64, seq uint64) {
	kind, key, at, seq = d.byte(), d.bytes(), d.varint(), d.uvarint()
	if kind != changePut && kind != changeDelete {
		d.fail("an unknown kind of change")
	}
	return kind, key, at, seq
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
