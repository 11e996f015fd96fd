package engine

import (
	"encoding/binary"
	"slices"

	"github.com/rossby-streams/rossby/stream"
)

// msgID is the header in which a message carries its identity.
const msgID = "Nats-Msg-Id"

// seen remembers, for every task that writes to a repartition topic, the last of its messages that has been consumed. A task
// delivers its commits in order, so whatever is not after that has come before: a message that a take-over has sent again is
// passed over, however long ago the first one was, and although it may have been purged.
type seen struct {
	last map[string]stream.RecordID
}

// has reports whether m has been consumed. A message without an identity is always new.
func (s *seen) has(m *stream.Message) bool {
	id, ok := stream.ParseRecordID(m.Headers.Get(msgID))
	if !ok {
		return false
	}
	last, ok := s.last[id.Writer]
	return ok && !id.After(last)
}

func (s *seen) note(m *stream.Message) {
	id, ok := stream.ParseRecordID(m.Headers.Get(msgID))
	if !ok {
		return
	}
	if s.last == nil {
		s.last = make(map[string]stream.RecordID)
	}
	if id.After(s.last[id.Writer]) {
		s.last[id.Writer] = id
	}
}

// appendSeen appends s in a fixed order.
func appendSeen(dst []byte, s *seen) []byte {
	tasks := make([]string, 0, len(s.last))
	for task := range s.last {
		tasks = append(tasks, task)
	}
	slices.Sort(tasks)
	dst = binary.AppendUvarint(dst, uint64(len(tasks)))
	for _, task := range tasks {
		dst = appendString(dst, task)
		dst = binary.AppendUvarint(dst, s.last[task].Commit)
		dst = binary.AppendUvarint(dst, s.last[task].Index)
	}
	return dst
}

// readSeen reads what appendSeen wrote.
func (d *decoder) readSeen() seen {
	n := d.count()
	if n == 0 {
		return seen{}
	}
	s := seen{last: make(map[string]stream.RecordID, n)}
	for range n {
		task := d.string()
		s.last[task] = stream.RecordID{Writer: task, Commit: d.uvarint(), Index: d.uvarint()}
		if d.err != nil {
			return seen{}
		}
	}
	return s
}
