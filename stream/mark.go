package stream

import (
	"maps"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// MarkHeader says which record of which producer a message is: the producer's
// name for itself in that partition, a dot, and the record's number from 1. By it
// a producer finds out what is stored when the server's answer was lost. Readers
// and consumers of this package do not show it.
const MarkHeader = "Rossby-Mark"

const (
	// markSize is the most that a mark adds to a message.
	markSize = len("NATS/1.0\r\n\r\n") + len(MarkHeader) + len(": \r\n") + markID + len(".18446744073709551615")
	// markID is the length of a lane's name for itself.
	markID = 11
)

// marker makes the marks of one lane. nil makes none.
type marker struct {
	prefix string // of its marks
	header nats.Header
	value  []string // in header
	buf    []byte
}

func newMarker() *marker {
	id := nuid.Next()
	m := &marker{prefix: id[len(id)-markID:] + ".", value: make([]string, 1)}
	m.header = nats.Header{MarkHeader: m.value}
	return m
}

// headers gives the headers of the lane's record n, which are valid until the
// next call.
func (m *marker) headers(h nats.Header, n uint64) nats.Header {
	if m == nil {
		return h
	}
	m.buf = strconv.AppendUint(append(m.buf[:0], m.prefix...), n, 10)
	m.value[0] = string(m.buf)
	if len(h) == 0 {
		return m.header
	}
	h = maps.Clone(h)
	h[MarkHeader] = []string{m.value[0]}
	return h
}

// number reads a mark; 0 when it is none of this lane.
func (m *marker) number(mark string) uint64 {
	digits, own := strings.CutPrefix(mark, m.prefix)
	if !own {
		return 0
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// withoutMark removes the mark: it is no header of the record's.
func withoutMark(h Headers) Headers {
	if len(h) == 0 {
		return h
	}
	if delete(h, MarkHeader); len(h) == 0 {
		return nil
	}
	return h
}

// named gives messages their ids in one header for all of a lane: a map for each costs more than all else that is done for it here.
type named struct {
	header nats.Header
	value  []string // in header
}

// headers gives the headers of a message, which are valid until the next call.
func (d *named) headers(m *outMsg) nats.Header {
	switch {
	case m.id == "":
		return m.headers
	case len(m.headers) > 0:
		return nats.Header(Headers(m.headers).with(jetstream.MsgIDHeader, m.id))
	case d.header == nil:
		d.value = make([]string, 1)
		d.header = nats.Header{jetstream.MsgIDHeader: d.value}
	}
	d.value[0] = m.id
	return d.header
}
