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

// chainHeader is the id of the first record of a session whose records are bound to their places: the others follow from it. It is not the header that the
// server keeps ids of: a copy that was taken for a duplicate would open its session, and let what comes behind it in.
const chainHeader = "Rossby-Chain"

const (
	// markSize is the most that a mark adds to a message.
	markSize = len("NATS/1.0\r\n\r\n") + len(MarkHeader) + len(": \r\n") + markID + len(".18446744073709551615")
	// markID is the length of a lane's name for itself.
	markID = 11
	// idRoom is the most that an id adds to a message, beside its own length: it may come with a place.
	idRoom = len("NATS/1.0\r\n\r\n") + len(jetstream.MsgIDHeader) + len(": \r\n") +
		len(jetstream.ExpectedLastSeqHeader) + len(": 18446744073709551615\r\n")
)

// marks are the headers by which a lane's messages are known in their partition: a
// producer's marks; the ids of the messages; or, of a chain, the place that each must
// take. The zero value marks messages that have ids with these.
type marks struct {
	prefix string // of a producer's marks; empty: there are none
	chain  chain
	// One map for all messages: one for each would cost more than all else that is done for them here.
	header        nats.Header
	kinds         kinds // that header has, beside what was the message's own
	own           bool  // it has such
	mark, id, seq []string
	buf           []byte
}

// kinds says which headers a message is given.
type kinds struct{ mark, id, opens, seq bool }

// newProducerMarks makes the marks of one lane of a producer.
func newProducerMarks() marks {
	id := nuid.Next()
	return marks{prefix: id[len(id)-markID:] + "."}
}

// headers gives the headers of m, the lane's message n counted from 0, which are valid
// until the next call. opens says that it opens a session.
func (k *marks) headers(m *outMsg, n uint64, opens bool) nats.Header {
	want := kinds{mark: k.prefix != "", seq: k.chain.binds(n)}
	want.id = m.id != "" && k.chain.kind != chained
	want.opens = m.id != "" && k.chain.kind == chained && opens
	if want == (kinds{}) {
		return m.headers
	}
	k.begin(want, m.headers)
	if want.mark {
		k.buf = strconv.AppendUint(append(k.buf[:0], k.prefix...), n+1, 10)
		k.mark[0] = string(k.buf)
	}
	if want.id || want.opens {
		k.id[0] = m.id
	}
	if want.seq {
		k.buf = strconv.AppendUint(k.buf[:0], k.chain.after+n, 10)
		k.seq[0] = string(k.buf)
	}
	return k.header
}

// begin makes header have what is wanted, beside the message's own.
func (k *marks) begin(want kinds, own nats.Header) {
	if k.header == nil {
		k.header = make(nats.Header)
		k.mark, k.id, k.seq = make([]string, 1), make([]string, 1), make([]string, 1)
	}
	if k.kinds == want && !k.own && len(own) == 0 {
		return
	}
	clear(k.header)
	maps.Copy(k.header, own)
	k.kinds, k.own = want, len(own) > 0
	if want.mark {
		k.header[MarkHeader] = k.mark
	}
	if want.id {
		k.header[jetstream.MsgIDHeader] = k.id
	}
	if want.opens {
		k.header[chainHeader] = k.id
	}
	if want.seq {
		k.header[jetstream.ExpectedLastSeqHeader] = k.seq
	}
}

// number reads a producer's mark; 0 when it is none of this lane.
func (k *marks) number(mark string) uint64 {
	digits, own := strings.CutPrefix(mark, k.prefix)
	if !own {
		return 0
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// withoutMarks removes what a message is known by: it is no header of the record's. The id
// stays, for whoever wants to know what comes twice.
func withoutMarks(h Headers) Headers {
	if len(h) == 0 {
		return h
	}
	delete(h, MarkHeader)
	delete(h, jetstream.ExpectedLastSeqHeader)
	delete(h, chainHeader)
	if len(h) == 0 {
		return nil
	}
	return h
}
