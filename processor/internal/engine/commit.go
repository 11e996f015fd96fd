package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"slices"

	"github.com/rossby-streams/rossby/stream"
)

// commitVersion is the format of the messages in a journal.
//
//	1: version, owner, number, delivered, stream time, positions {topic, next, index, seen {task, commit, index}}, stores
//	   with their changes
//	   {name, changes {kind, key, time, seq, value unless deleted}}, outbox {topic, partition, key, headers, data}
//	2: after delivered comes the number of the oldest commit that is needed, then the shape of the state; after the index of a
//	   position comes when the partition was made and when the message before it was stored. These have 8 bytes each, 0 being unknown
const commitVersion = 2

// enoughSteps is how many records a commit must have to tell how much state the next ones will have.
const enoughSteps = 64

// Commit is one transaction of a task: what its journal keeps, and what is to be published once it does.
type Commit struct {
	Number    uint64
	Data      []byte
	Outbox    []stream.Outgoing
	Positions []Position
	disk      *diskCommit
}

// Commit returns everything that has happened since the last one as one transaction, or nil if nothing has. owner names the
// instance that commits. With force there is a commit even if it is empty: that is how a new owner fences the old one.
func (t *Task) Commit(owner string, force bool) (*Commit, error) {
	if t.err != nil {
		return nil, t.err
	}
	if !t.changed && !force {
		return nil, nil
	}
	t.keep()
	number := t.journal.last + 1
	t.rideAlong()
	dst := make([]byte, 0, t.journal.sizeHint())
	positions := t.Positions()
	dst = t.appendHead(dst, owner, number, positions)
	if t.disk != nil {
		t.disk.head = append(t.disk.head[:0], dst...)
	}
	before := len(dst)
	dst = t.appendStores(dst, number)
	if t.err != nil {
		return nil, t.err
	}
	if t.steps >= enoughSteps {
		t.stateBytes = (len(dst) - before) / t.steps
	}
	t.steps = 0
	messages := t.outbox.messages
	kept := messages
	if t.attempt != "" {
		kept = nil // they are out when the commit is stored
	}
	dst = t.appendOutbox(dst, kept)
	t.outbox.reset()
	t.changed = false
	t.journal.add(number, len(dst))
	t.journal.recorded = t.journal.delivered
	if len(kept) > 0 {
		t.journal.withOutbox = number
	}
	c := &Commit{Number: number, Data: dst, Positions: positions}
	if t.attempt == "" {
		c.Outbox = outgoing(t.plan, t.ID(), number, messages)
	} else {
		c.Outbox = t.unnamed(number, messages)
	}
	if t.disk != nil {
		c.disk = t.disk.commit(t.journal.known(dst))
	}
	return c, nil
}

// appendHead appends what comes before the stores.
func (t *Task) appendHead(dst []byte, owner string, number uint64, positions []Position) []byte {
	dst = append(dst, commitVersion)
	dst = appendString(dst, owner)
	dst = binary.AppendUvarint(dst, number)
	dst = binary.AppendUvarint(dst, t.journal.delivered)
	dst = binary.AppendUvarint(dst, t.journal.oldest(number))
	dst = binary.BigEndian.AppendUint64(dst, t.plan.Shape)
	dst = binary.AppendVarint(dst, t.now)
	dst = binary.AppendUvarint(dst, uint64(len(positions)))
	for i, p := range positions {
		dst = appendString(dst, p.Topic)
		dst = binary.AppendUvarint(dst, p.Next)
		dst = binary.AppendUvarint(dst, uint64(p.Index))
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.Made))
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.Stored))
		dst = appendSeen(dst, &t.inputs[i].seen)
	}
	return dst
}

func (t *Task) appendStores(dst []byte, number uint64) []byte {
	dirty := 0
	for _, s := range t.stores {
		if s.isDirty() {
			dirty++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(dirty))
	for _, s := range t.stores {
		if !s.isDirty() {
			continue
		}
		dst = appendString(dst, s.Name())
		start := len(dst)
		dst = s.flush(dst, number, func(err error) { t.Fail("store "+s.Name(), err) })
		if t.disk != nil {
			d := &decoder{data: dst[start:]}
			n := d.count()
			t.disk.mirror(s, d.data, n, number)
		}
	}
	for _, s := range t.stores {
		s.settle()
	}
	return dst
}

func (t *Task) appendOutbox(dst []byte, messages []outMessage) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(messages)))
	for _, m := range messages {
		dst = appendString(dst, t.plan.Sinks[m.sink].Topic.Name)
		dst = binary.AppendUvarint(dst, uint64(m.partition))
		dst = appendString(dst, m.key)
		dst = appendHeaders(dst, m.headers)
		dst = appendString(dst, m.data)
	}
	return dst
}

// head is what a commit begins with.
type head struct {
	version           byte
	number, delivered uint64
	oldest, shape     uint64 // 0: not known, as in version 1
	now               int64
}

func readHead(d *decoder) (h head, err error) {
	h.version = d.byte()
	if d.err == nil && (h.version < 1 || h.version > commitVersion) {
		return h, fmt.Errorf("it has format %d, this program reads formats 1 to %d: run the version that wrote it", h.version, commitVersion)
	}
	_ = d.string() // owner
	h.number, h.delivered = d.uvarint(), d.uvarint()
	if h.version > 1 {
		h.oldest, h.shape = d.uvarint(), d.fixed()
	}
	h.now = d.varint()
	return h, d.err
}

// ShapeOf reads from a commit what shape of the state it is of, and its format; 0: it does not say.
func ShapeOf(commit []byte) (shape uint64, err error) {
	h, err := readHead(&decoder{data: commit})
	return h.shape, err
}

// readPosition reads where a task stands in a topic.
func (h head) readPosition(d *decoder) (topic string, in input) {
	topic = d.string()
	in.next, in.index = d.uvarint(), d.small()
	if h.version > 1 {
		in.made, in.stored = int64(d.fixed()), int64(d.fixed())
	}
	in.seen = d.readSeen()
	return topic, in
}

// Restore applies one commit of the journal, in order. seq is where the journal holds it. After the last one, call
// Restored.
func (t *Task) Restore(seq uint64, data []byte) error {
	if err := t.restore(seq, data); err != nil {
		return t.stateError(seq, err)
	}
	return nil
}

func (t *Task) restore(seq uint64, data []byte) error {
	d := &decoder{data: data}
	h, err := readHead(d)
	if err != nil {
		return err
	}
	at := place64{number: h.number, seq: seq}
	if t.disk != nil {
		at.crc = crc64.Checksum(data, crcTable)
		if done, err := t.disk.meet(at); err != nil {
			return err
		} else if done {
			return t.passCommit(d, h)
		}
	}
	if t.journal.last != 0 && h.number != t.journal.last+1 {
		return fmt.Errorf("%w: commit %d follows commit %d", errCorrupt, h.number, t.journal.last)
	}
	if err := t.restorePositions(d, h); err != nil {
		return err
	}
	top := data[:len(data)-len(d.data)]
	if err := t.restoreStores(d, h.number); err != nil {
		return err
	}
	t.now = max(t.now, h.now)
	if t.journal.last == 0 {
		t.journal.first = h.number
	}
	t.journal.add(h.number, len(data))
	t.journal.appended(h.number, seq)
	t.unneeded(h.oldest)
	t.journal.delivered = max(t.journal.delivered, h.delivered)
	t.journal.keepOutbox(h.number, d.data)
	if t.disk != nil {
		return t.disk.replayed(t.journal.known(data), top)
	}
	return nil
}

// passCommit takes only the outbox of a commit whose changes the database has.
func (t *Task) passCommit(d *decoder, h head) error {
	for range d.count() {
		h.readPosition(d)
	}
	for range d.count() {
		s, err := t.storeOf(d)
		if err != nil {
			return err
		}
		for range d.count() {
			s.shape().take(d)
		}
	}
	if d.err == nil {
		t.disk.pass(h.number, d.data)
		t.unneeded(h.oldest)
	}
	return d.err
}

// storeOf reads the name of a store.
func (t *Task) storeOf(d *decoder) (store, error) {
	name := d.string()
	if d.err != nil {
		return nil, d.err
	}
	s, ok := t.Store(name).(store)
	if !ok {
		return nil, fmt.Errorf("there is state of %q, which this topology does not have: bring the operator back under its name", name)
	}
	return s, nil
}

func (t *Task) restorePositions(d *decoder, h head) error {
	for range d.count() {
		topic, at := h.readPosition(d)
		if d.err != nil {
			return d.err
		}
		in := t.inputOf(topic)
		if in == nil {
			return fmt.Errorf("the task was reading topic %q, this topology does not: bring the input back", topic)
		}
		in.next, in.index, in.made, in.stored, in.seen = at.next, at.index, at.made, at.stored, at.seen
	}
	return d.err
}

func (t *Task) inputOf(topic string) *input {
	for i := range t.inputs {
		if t.inputs[i].Topic.Name == topic {
			return &t.inputs[i]
		}
	}
	return nil
}

func (t *Task) restoreStores(d *decoder, number uint64) error {
	for range d.count() {
		s, err := t.storeOf(d)
		if err != nil {
			return err
		}
		for range d.count() {
			before := d.data
			if err := s.restore(d, number); err != nil {
				return fmt.Errorf("store %s: %w", s.Name(), err)
			}
			if t.disk != nil {
				t.disk.mirror(s, before[:len(before)-len(d.data)], 1, number)
			}
		}
	}
	return d.err
}

// Undelivered is a commit whose outbox may not have reached its topics.
type Undelivered struct {
	Number uint64
	Seq    uint64 // of its journal entry
	Outbox []stream.Outgoing
}

// Restored ends a series of Restore calls. It returns the commits whose outboxes were not yet known to be delivered.
func (t *Task) Restored() ([]Undelivered, error) {
	if t.disk != nil {
		if err := t.disk.restored(); err != nil {
			return nil, t.stateError(t.journal.lastSeq(), err)
		}
	}
	for _, s := range t.stores {
		if err := s.restored(t.now); err != nil {
			seq := t.journal.lastSeq()
			if row := (*rowError)(nil); errors.As(err, &row) {
				seq = t.journal.seqOf(row.home)
			}
			return nil, t.stateError(seq, err)
		}
	}
	t.keep()
	t.changed = false
	var undelivered []Undelivered
	plan := *t.plan
	plan.Sinks = slices.Clone(plan.Sinks) // and those that this topology does not have any more
	for _, c := range t.journal.commits {
		if c.number <= t.journal.delivered || len(c.outbox) == 0 {
			continue
		}
		messages, err := plan.decodeOutbox(c.outbox)
		if err != nil {
			return nil, t.stateError(c.seq, err)
		}
		if len(messages) > 0 {
			undelivered = append(undelivered, Undelivered{Number: c.number, Seq: c.seq, Outbox: outgoing(&plan, t.ID(), c.number, messages)})
		}
	}
	t.journal.forgetOutboxes()
	return undelivered, nil
}

// decodeOutbox reads an outbox. Topics that p does not write become sinks of which only the name is known.
func (p *Plan) decodeOutbox(data []byte) ([]outMessage, error) {
	d := &decoder{data: data}
	messages := make([]outMessage, 0, d.count())
	for range cap(messages) {
		topic := d.string()
		m := outMessage{partition: d.small(), key: d.string(), headers: d.headers(), data: d.bytes()}
		if d.err != nil {
			return nil, d.err
		}
		m.sink = slices.IndexFunc(p.Sinks, func(s Sink) bool { return s.Topic.Name == topic })
		if m.sink < 0 {
			m.sink = len(p.Sinks)
			p.Sinks = append(p.Sinks, Sink{Topic: stream.TopicSpec{Name: topic}})
		}
		messages = append(messages, m)
	}
	return messages, d.err
}
