package engine

import (
	"encoding/binary"
	"fmt"
)

// batchVersion is the format of messages in repartition topics.
//
//	1: version byte, then per record: key, time, window (three varints, deltas to the time), headers, value
const batchVersion = 1

// appendBatchRecord appends one record to a batch; an empty dst starts one.
func appendBatchRecord(dst []byte, r *Emitted) []byte {
	if len(dst) == 0 {
		dst = append(dst, batchVersion)
	}
	dst = appendString(dst, r.Key)
	dst = binary.AppendVarint(dst, r.Time)
	dst = binary.AppendVarint(dst, r.Window.Start)
	dst = binary.AppendVarint(dst, r.Window.End)
	dst = binary.AppendVarint(dst, r.Window.Closes)
	dst = appendHeaders(dst, r.Headers)
	return appendString(dst, r.Data)
}

// BatchKey is the key of messages in repartition topics.
const BatchKey = "batch"

// EncodeBatch returns a message of a repartition topic that holds one record.
func EncodeBatch(r *Emitted) []byte { return appendBatchRecord(nil, r) }

// batchReader walks through the records of one batch.
type batchReader struct {
	d    decoder
	open bool
}

func (b *batchReader) reset(data []byte) {
	b.open = true
	b.d = decoder{data: data}
	if v := b.d.byte(); b.d.err == nil && v != batchVersion {
		b.d.fail(fmt.Sprintf("a batch of format %d, this program reads format %d", v, batchVersion))
	}
}

// next reads the next record into r; it reports whether there was one.
func (b *batchReader) next(r *Raw) bool {
	if !b.left() {
		return false
	}
	r.Key = b.d.string()
	r.Time = b.d.varint()
	r.Window = Window3{Start: b.d.varint(), End: b.d.varint(), Closes: b.d.varint()}
	r.Headers = b.d.headers()
	r.Data = b.d.bytes()
	return b.d.err == nil
}

func (b *batchReader) skip() {
	var r Raw
	b.next(&r)
}

func (b *batchReader) left() bool { return b.d.err == nil && len(b.d.data) > 0 }

func (b *batchReader) err() error { return b.d.err }
