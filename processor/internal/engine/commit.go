package engine

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/rossby-streams/rossby/stream"
)

// commitVersion is the format of the messages in a journal.
//
//	1: version, owner, number, delivered, stream time, positions {topic, next, index, seen {task, commit, index}}, stores
//	   with their changes
//	   {name, changes {kind, key, time, seq, value unless deleted}}, outbox {topic, partition, key, headers, data}
const commitVersion = 1

// Commit is one transaction of a task: what its journal keeps, and what is to be published once it does.
type Commit struct {
	Number    uint64
	Data      []byte
	Outbox    []stream.Outgoing
	Positions []Position
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
	dst = append(dst, commitVersion)
	dst = appendString(dst, owner)
	dst = binary.AppendUvarint(dst, number)
	dst = binary.AppendUvarint(dst, t.journal.delivered)
	dst = binary.AppendVarint(dst, t.now)
	positions := t.Positions()
	dst = binary.AppendUvarint(dst, uint64(len(positions)))
	for i, p := range positions {
		dst = appendString(dst, p.Topic)
		dst = binary.AppendUvarint(dst, p.Next)
		dst = binary.AppendUvarint(dst, uint64(p.Index))
		dst = appendSeen(dst, &t.inputs[i].seen)
	}
	dst = t.appendStores(dst, number)
	if t.err != nil {
		return nil, t.err
	}
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
	return c, nil
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
		dst = s.flush(dst, number, func(err error) { t.Fail("store "+s.Name(), err) })
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

// Restore applies one commit of the journal, in order. seq is where the journal holds it. After the last one, call
// Restored.
func (t *Task) Restore(seq uint64, data []byte) error {
	d := &decoder{data: data}
	if v := d.byte(); d.err == nil && v != commitVersion {
		return t.stateError(seq, fmt.Errorf("it has format %d, this program reads format %d: run the version that wrote it", v, commitVersion))
	}
	_ = d.string() // owner
	number := d.uvarint()
	delivered := d.uvarint()
	now := d.varint()
	if err := t.restorePositions(d); err != nil {
		return t.stateError(seq, err)
	}
	if err := t.restoreStores(d, number); err != nil {
		return t.stateError(seq, err)
	}
	if d.err != nil {
		return t.stateError(seq, d.err)
	}
	if number <= t.journal.last {
		return t.stateError(seq, fmt.Errorf("%w: commit %d follows commit %d", errCorrupt, number, t.journal.last))
	}
	t.now = max(t.now, now)
	t.journal.add(number, len(data))
	t.journal.appended(number, seq)
	t.journal.delivered = max(t.journal.delivered, delivered)
	t.journal.keepOutbox(number, d.data)
	return nil
}

func (t *Task) restorePositions(d *decoder) error {
	for range d.count() {
		topic, next, index, seen := d.string(), d.uvarint(), d.small(), d.readSeen()
		if d.err != nil {
			return d.err
		}
		in := t.inputOf(topic)
		if in == nil {
			return fmt.Errorf("the task was reading topic %q, this topology does not: bring the input back", topic)
		}
		in.next, in.index, in.seen = next, index, seen
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
		name := d.string()
		if d.err != nil {
			return d.err
		}
		s, ok := t.Store(name).(store)
		if !ok {
			return fmt.Errorf("there is state of %q, which this topology does not have: bring the operator back under its name", name)
		}
		for range d.count() {
			if err := s.restore(d, number); err != nil {
				return fmt.Errorf("store %s: %w", name, err)
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
	for _, s := range t.stores {
		s.restored(t.now)
	}
	heap.Init(&t.timers)
	heap.Init(&t.wallTimers)
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
