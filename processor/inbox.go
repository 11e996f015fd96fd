package processor

import (
	"sync"

	"github.com/rossby-streams/rossby/stream"
)

// inboxBytes is how much of one input may wait in memory before its reader is held back.
const inboxBytes = 4 << 20

// messageCost is what a waiting message takes beside its data, in bytes, roughly.
const messageCost = 128

// inbox is where the readers of a task's inputs leave their messages. Every input has a bound of its own, so that one which
// is ahead waits and one which is behind never does.
type inbox struct {
	mu struct {
		sync.Mutex
		queues []queue
		closed bool
		err    error
	}
	space *sync.Cond
	wake  chan struct{} // holds a token when something has come since the task looked
}

type queue struct {
	messages []stream.Message
	bytes    int
	behind   uint64 // how many the last message said are stored after it
	begun    bool   // there was one
	expected uint64 // how many there were when the reader began; nothing depends on it, since they may be deleted meanwhile
}

func newInbox(inputs int) *inbox {
	b := &inbox{wake: make(chan struct{}, 1)}
	b.mu.queues = make([]queue, inputs)
	b.space = sync.NewCond(&b.mu)
	return b
}

// deliver appends a message of an input; it blocks while that input's queue is full.
func (b *inbox) deliver(input int, m stream.Message) {
	b.mu.Lock()
	q := &b.mu.queues[input]
	for q.bytes > inboxBytes && !b.mu.closed {
		b.space.Wait()
	}
	first := len(q.messages) == 0
	q.messages = append(q.messages, m)
	q.bytes += len(m.Data) + messageCost
	q.behind, q.begun = m.Pending, true
	b.mu.Unlock()
	if first {
		b.poke()
	}
}

// expect says how many messages an input has when its reader begins.
func (b *inbox) expect(input int, behind uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.queues[input].expected = behind
}

// fail tells the task that a reader has ended for good.
func (b *inbox) fail(err error) {
	b.mu.Lock()
	if b.mu.err == nil {
		b.mu.err = err
	}
	b.mu.Unlock()
	b.poke()
}

func (b *inbox) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take returns all that waits in an input.
func (b *inbox) take(input int) ([]stream.Message, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := &b.mu.queues[input]
	messages := q.messages
	if q.bytes > inboxBytes {
		b.space.Broadcast()
	}
	q.messages, q.bytes = nil, 0
	return messages, b.mu.err
}

// behind reports whether an input is known to have more than what has been delivered.
func (b *inbox) behind(input int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.queues[input].behind > 0
}

// lag returns how many messages of an input are known to have been stored that the task does not have yet.
func (b *inbox) lag(input int) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := &b.mu.queues[input]
	if !q.begun {
		return q.expected
	}
	return uint64(len(q.messages)) + q.behind
}

// full reports whether the reader of an input is held back: then it is not known what has come since.
func (b *inbox) full(input int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.queues[input].bytes > inboxBytes
}

// empty reports whether nothing waits in an input.
func (b *inbox) empty(input int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.mu.queues[input].messages) == 0
}

// close lets every deliver return; what they bring is not looked at any more.
func (b *inbox) close() {
	b.mu.Lock()
	b.mu.closed = true
	b.mu.Unlock()
	b.space.Broadcast()
}
