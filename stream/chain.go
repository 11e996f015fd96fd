package stream

import (
	"cmp"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// chain binds messages of a lane to their places in the partition: the server stores such a message only right behind the one that is named, and
// refuses it for ever once anything else stands there. So a chain needs no ids, and neither time nor a restart of the server can make a second copy of
// it; but whoever else writes to the partition breaks it.
type chain struct {
	kind  chainKind
	after uint64 // the lane's message n, counted from 0, is bound to stand right behind position after+n
}

type chainKind uint8

const (
	unbound  chainKind = iota // the messages may stand anywhere
	anchored                  // the first one is bound
	chained                   // all are
)

// binds says whether message n is bound to its place.
func (c chain) binds(n uint64) bool {
	return c.kind == chained || c.kind == anchored && n == 0
}

// trail follows the messages of one writer through a partition: those that carry its marks; those with its ids; and those of its chains,
// of which only the first of each session says its id.
type trail struct {
	prefix string            // of marks; empty: the messages have ids
	ids    map[string]uint64 // the numbers, from 1, of the messages that are looked for
	first  RecordID          // the first of these and the last one, if their ids are such
	final  RecordID

	last  uint64 // the highest number that was seen; 0: none
	older bool   // a message was seen that the writer made before these
	newer bool   // one that it made after them

	at, n uint64 // position and number of the message before, if that was one of these; else at is 0
}

// see takes the next message.
func (t *trail) see(position uint64, h nats.Header) {
	if t.prefix != "" {
		m := marks{prefix: t.prefix}
		t.last = max(t.last, m.number(h.Get(MarkHeader)))
		return
	}
	if n, own := t.recognize(position, h); own {
		t.at, t.n = position, n
		t.last = max(t.last, n)
	} else {
		t.at = 0
	}
}

// recognize gives the number of a message that is looked for.
func (t *trail) recognize(position uint64, h nats.Header) (n uint64, own bool) {
	if id := cmp.Or(h.Get(jetstream.MsgIDHeader), h.Get(chainHeader)); id != "" {
		if n, own = t.ids[id]; !own {
			t.place(id)
		}
		return n, own
	}
	if t.at == 0 || h.Get(jetstream.ExpectedLastSeqHeader) != strconv.FormatUint(position-1, 10) {
		return 0, false
	}
	return t.n + position - t.at, true
}

// place notes whether an id that is not looked for is one of the writer's, from before or after.
func (t *trail) place(id string) {
	if t.first.Writer == "" {
		return
	}
	if r, ok := ParseRecordID(id); ok && r.Writer == t.first.Writer {
		t.older = t.older || t.first.After(r)
		t.newer = t.newer || r.After(t.final)
	}
}
