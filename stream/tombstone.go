package stream

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// markerRemove is what a tombstone says in the server's header for markers: the
// server then leaves no marker of its own when the tombstone's time has come.
const markerRemove = "Remove"

// tombstone gives the headers of a record that deletes its key, and h for any
// other one.
func (s TopicSpec) tombstone(h Headers, data []byte) Headers {
	if !s.Compact || len(data) > 0 {
		return h
	}
	h = h.with(jetstream.MsgTTLHeader, strconv.FormatInt(int64(s.TombstoneTTL/time.Second), 10)+"s")
	h[jetstream.MarkerReasonHeader] = []string{markerRemove}
	return h
}

// withoutMarkers removes what tombstones, the server's own too, are marked with:
// it is no header of the record's, and other topics would refuse it.
func withoutMarkers(h Headers) Headers {
	delete(h, jetstream.MsgTTLHeader)
	delete(h, jetstream.MarkerReasonHeader)
	delete(h, jetstream.MsgRollup)
	if len(h) == 0 {
		return nil
	}
	return h
}
