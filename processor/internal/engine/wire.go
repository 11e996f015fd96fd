package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/rossby-streams/rossby/stream"
)

// errCorrupt reports bytes that no version of this package has written.
var errCorrupt = errors.New("corrupt data")

// appendString appends the length of s and its bytes.
func appendString[S string | []byte](dst []byte, s S) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// counted appends how many things body appends, which is not more than most, and these.
func counted(dst []byte, most int, body func(dst []byte) ([]byte, int)) []byte {
	start, room := len(dst), uvarintSize(uint64(most))
	dst = append(dst, make([]byte, room)...)
	dst, n := body(dst)
	if size := uvarintSize(uint64(n)); size < room {
		dst = append(dst[:start+size], dst[start+room:]...)
	}
	binary.PutUvarint(dst[start:], uint64(n))
	return dst
}

// appendHeaders appends headers in a fixed order, so that equal records have equal bytes.
func appendHeaders(dst []byte, h stream.Headers) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(h)))
	if len(h) == 0 {
		return dst
	}
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		dst = appendString(dst, name)
		dst = binary.AppendUvarint(dst, uint64(len(h[name])))
		for _, value := range h[name] {
			dst = appendString(dst, value)
		}
	}
	return dst
}

// decoder reads what the append functions wrote. The first error sticks; every read after it gives a zero value, so that
// a caller checks once. It never reads beyond its data and never allocates more than the data can justify.
type decoder struct {
	data []byte
	err  error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", errCorrupt, what)
	}
	d.data = nil
}

func (d *decoder) byte() byte {
	if len(d.data) == 0 {
		d.fail("a byte is missing")
		return 0
	}
	b := d.data[0]
	d.data = d.data[1:]
	return b
}

// fixed reads a number of 8 bytes.
func (d *decoder) fixed() uint64 {
	if len(d.data) < 8 {
		d.fail("a number is cut off")
		return 0
	}
	v := binary.BigEndian.Uint64(d.data)
	d.data = d.data[8:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.fail("a number is cut off or too large")
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.data)
	if n <= 0 {
		d.fail("a number is cut off or too large")
		return 0
	}
	d.data = d.data[n:]
	return v
}

// count reads the number of items that follow; each takes at least one byte, which bounds it.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.data)) {
		d.fail("a count is larger than the data")
		return 0
	}
	return int(n)
}

// small reads a number that must fit a non-negative int32, such as a partition.
func (d *decoder) small() int {
	n := d.uvarint()
	if n > 1<<31-1 {
		d.fail("a number is out of range")
		return 0
	}
	return int(n)
}

// bytes returns a slice of the data itself, not a copy.
func (d *decoder) bytes() []byte {
	n := d.count()
	b := d.data[:n:n]
	d.data = d.data[n:]
	return b
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) headers() stream.Headers {
	n := d.count()
	if n == 0 {
		return nil
	}
	h := make(stream.Headers, n)
	for range n {
		name := d.string()
		values := make([]string, d.count())
		for i := range values {
			values[i] = d.string()
		}
		if d.err != nil {
			return nil
		}
		h[name] = values
	}
	return h
}
