package engine

import (
	"github.com/rossby-streams/rossby/stream"
)

// Raw is one record as an input holds it. A message of a user's topic is one record; one of a repartition topic is many.
type Raw struct {
	stream.Message
	Topic  string
	Index  int   // of the record in its message
	Time   int64 // event time in nanoseconds; only Internal records carry one
	Window Window3
	// Internal says that the record comes from a repartition topic, which carries time and window beside the value.
	Internal bool
}

// Window3 is the window of a windowed result: start, end, and the stream time after which no further result follows; all
// in nanoseconds. The zero value means that there is no window.
type Window3 struct{ Start, End, Closes int64 }

// input is the task's side of one input: what has been fed and not been processed yet, and the position in the topic.
type input struct {
	Input
	source  Source
	pending []stream.Message
	pos     int    // of the message at the head
	next    uint64 // the offset to read next
	index   int    // records of the message at next that have been processed already
	made    int64  // when what next is an offset in was made, in nanoseconds; 0: not known
	stored  int64  // when the message before next was stored, in nanoseconds; 0: not known
	batch   batchReader
	head    Raw
	ready   bool // head has been decoded
	ts      int64
	seen    seen // internal inputs only
}

// Position is where a task resumes in one input.
type Position struct {
	Topic string
	Next  uint64 // offset of the next message
	Index int    // records of that message that are done
	// Made is when the partition was made, Stored when the message before Next was stored, both in nanoseconds and 0 if that is not
	// known: a topic that is made anew has neither, one that is restored from a backup has the latter.
	Made, Stored int64
	// Internal says that the topic is a repartition topic, which nobody needs before Next.
	Internal bool
}

// Positions returns where the task stands in each input: everything before has been processed.
func (t *Task) Positions() []Position {
	p := make([]Position, len(t.inputs))
	for i := range t.inputs {
		in := &t.inputs[i]
		p[i] = Position{Topic: in.Topic.Name, Next: in.next, Index: in.index, Made: in.made, Stored: in.stored, Internal: in.Internal}
	}
	return p
}

// Made tells the task when the partition was made that is its input.
func (t *Task) Made(i int, at int64) { t.inputs[i].made = at }

// Skip lets the task go on elsewhere in an input, before anything of it has been fed.
func (t *Task) Skip(i int, next uint64) {
	in := &t.inputs[i]
	in.next, in.index, in.made, in.stored = next, 0, 0, 0
	t.changed = true
}

// Progress returns where the task stands in an input, and how many messages of it from there on are in hand.
func (t *Task) Progress(i int) (next uint64, inHand uint64) {
	in := &t.inputs[i]
	return in.next, uint64(len(in.pending) - in.pos)
}

// Feed hands messages of an input to the task, in offset order. Messages before the input's position are passed over.
func (t *Task) Feed(i int, messages []stream.Message) {
	in := &t.inputs[i]
	if in.pos == len(in.pending) {
		in.pending, in.pos = messages, 0
	} else {
		in.pending = append(in.pending[in.pos:len(in.pending):len(in.pending)], messages...)
		in.pos = 0
	}
	for in.pos < len(in.pending) && in.pending[in.pos].Offset < in.next {
		in.pos++
	}
}

// Hungry reports whether the task has nothing left of an input.
func (t *Task) Hungry(i int) bool {
	in := &t.inputs[i]
	return !in.ready && in.pos == len(in.pending)
}

// Step processes the record with the lowest event time among the heads of the inputs; the first input wins a tie. It
// reports whether there was one. The caller decides before whether an input that is hungry must be waited for.
func (t *Task) Step() (bool, error) {
	best := -1
	for i := range t.inputs {
		in := &t.inputs[i]
		if !in.ready && !t.decodeHead(in) {
			continue
		}
		if best < 0 || in.ts < t.inputs[best].ts {
			best = i
		}
	}
	if best < 0 || t.err != nil {
		return false, t.err
	}
	in := &t.inputs[best]
	t.pass(in)
	t.steps++
	t.current, t.cause = nil, cause{raw: &in.head}
	t.moveTo(in.ts)
	t.begin(&in.head)
	in.source.Process()
	t.settle()
	t.current = nil
	t.fireUntil(t.now) // what the record has set for now or before
	t.cause = cause{}
	return true, t.err
}

// decodeHead makes the next record of in ready. Records that cannot be decoded fail and are passed over.
func (t *Task) decodeHead(in *input) bool {
	for t.err == nil && t.nextRaw(in) {
		ts, err := in.source.Decode(&in.head)
		if err == nil {
			in.ts, in.ready = ts, true
			return true
		}
		t.pass(in)
		t.begin(&in.head)
		if in.source.Failed != nil {
			in.source.Failed(err)
		} else {
			t.Fail("source "+in.Topic.Name, err)
		}
		t.settle()
		t.current = nil
	}
	return false
}

// nextRaw sets in.head to the next raw record.
func (t *Task) nextRaw(in *input) bool {
	for in.pos < len(in.pending) {
		m := &in.pending[in.pos]
		if m.Offset > in.next { // offsets have gaps where records were compacted or purged
			in.next, in.index, in.stored = m.Offset, 0, 0
		}
		if !in.Internal {
			in.head = Raw{Message: *m, Topic: in.Topic.Name}
			return true
		}
		if !in.batch.open && in.index == 0 && in.seen.has(m) {
			t.passMessage(in)
			continue
		}
		if t.nextOfBatch(in, m) {
			return true
		}
	}
	return false
}

// nextOfBatch sets in.head to the next record of the batch m, or moves on to the next message.
func (t *Task) nextOfBatch(in *input, m *stream.Message) bool {
	if !in.batch.open {
		in.batch.reset(m.Data)
		for range in.index { // done before a restart
			in.batch.skip()
		}
	}
	if in.batch.next(&in.head) {
		in.head.Partition, in.head.Offset, in.head.Stored = m.Partition, m.Offset, m.Stored
		in.head.Topic, in.head.Index, in.head.Internal = in.Topic.Name, in.index, true
		return true
	}
	if err := in.batch.err(); err != nil {
		in.head = Raw{Message: *m, Topic: in.Topic.Name, Index: in.index, Internal: true}
		t.current = &in.head
		t.Fail("source "+in.Topic.Name, err)
		t.current = nil
	}
	t.passMessage(in)
	return false
}

// pass moves the position of in behind its head.
func (t *Task) pass(in *input) {
	in.ready = false
	if in.Internal && in.batch.left() {
		in.index++
		t.changed = true
		return
	}
	t.passMessage(in)
}

func (t *Task) passMessage(in *input) {
	m := &in.pending[in.pos]
	if in.Internal {
		in.seen.note(m)
	}
	in.next, in.index, in.stored = m.Offset+1, 0, 0
	if !m.Stored.IsZero() {
		in.stored = m.Stored.UnixNano()
	}
	*m = stream.Message{} // let go of its bytes
	in.pos++
	in.batch.open = false
	t.changed = true
}
