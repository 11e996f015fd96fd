package engine

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/rossby-streams/rossby/stream"
)

// msgID is the header in which a message carries its identity.
const msgID = "Nats-Msg-Id"

// seen remembers, for every task that writes to a repartition topic, the last of its messages that has been consumed. A task
// delivers its commits in order, so whatever is not after that has come before: a message that a take-over has sent again is
// passed over, however long ago the first one was, and although it may have been purged.
type seen struct {
	last map[string]messageID
}

// messageID is the place of a message in what its task has produced.
type messageID struct {
	commit uint64
	index  uint64
}

func (a messageID) after(b messageID) bool {
	return a.commit > b.commit || a.commit == b.commit && a.index > b.index
}

// has reports whether m has been consumed. A message without an identity is always new.
func (s *seen) has(m *stream.Message) bool {
	task, id, ok := parseID(m.Headers.Get(msgID))
	if !ok {
		return false
	}
	last, ok := s.last[task]
	return ok && !id.after(last)
}

func (s *seen) note(m *stream.Message) {
	task, id, ok := parseID(m.Headers.Get(msgID))
	if !ok {
		return
	}
	if s.last == nil {
		s.last = make(map[string]messageID)
	}
	if id.after(s.last[task]) {
		s.last[task] = id
	}
}

// parseID takes "app/task/commit/index" apart.
func parseID(id string) (task string, at messageID, ok bool) {
	i := strings.LastIndexByte(id, '/')
	if i < 0 {
		return "", at, false
	}
	j := strings.LastIndexByte(id[:i], '/')
	if j < 0 {
		return "", at, false
	}
	var err1, err2 error
	at.commit, err1 = strconv.ParseUint(id[j+1:i], 10, 64)
	at.index, err2 = strconv.ParseUint(id[i+1:], 10, 64)
	return id[:j], at, err1 == nil && err2 == nil
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
		dst = binary.AppendUvarint(dst, s.last[task].commit)
		dst = binary.AppendUvarint(dst, s.last[task].index)
	}
	return dst
}

// readSeen reads what appendSeen wrote.
func (d *decoder) readSeen() seen {
	n := d.count()
	if n == 0 {
		return seen{}
	}
	s := seen{last: make(map[string]messageID, n)}
	for range n {
		task := d.string()
		s.last[task] = messageID{commit: d.uvarint(), index: d.uvarint()}
		if d.err != nil {
			return seen{}
		}
	}
	return s
}
