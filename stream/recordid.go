package stream

import (
	"strconv"
	"strings"
)

// RecordID says which record of which writer a message is. A writer's records come in the order of their ids, and the same record has
// the same id whoever publishes it: the writer, or who has taken its place. In the header Nats-Msg-Id it is "writer/commit/index".
type RecordID struct {
	// Writer is the writer's name for itself; it may have slashes.
	Writer string
	// Commit and Index are the record's place in what the writer has made.
	Commit, Index uint64
}

// After reports whether the record comes after b, which is of the same writer.
func (a RecordID) After(b RecordID) bool {
	return a.Commit > b.Commit || a.Commit == b.Commit && a.Index > b.Index
}

// ParseRecordID takes "writer/commit/index" apart; ok is false if it is something else.
func ParseRecordID(s string) (id RecordID, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return id, false
	}
	j := strings.LastIndexByte(s[:i], '/')
	if j < 0 {
		return id, false
	}
	commit, err1 := strconv.ParseUint(s[j+1:i], 10, 64)
	index, err2 := strconv.ParseUint(s[i+1:], 10, 64)
	return RecordID{Writer: s[:j], Commit: commit, Index: index}, err1 == nil && err2 == nil
}
