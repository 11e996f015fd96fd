package processor

import (
	"errors"
	"fmt"
	"time"

	"github.com/rossby-streams/rossby/processor/internal/engine"
)

// Handler is what an operator does in one task.
type Handler[In any] struct {
	// Record is called with every record, in order. An error, or a panic, makes it a failed record; what the call has done to
	// its stores until then stays.
	Record func(Record[In]) error
	// Timer is called when stream time has reached a timer of this operator. Needed only where timers are set.
	Timer func(Timer) error
}

// Timer is an event-time timer that fires.
type Timer struct {
	Key string
	At  time.Time
}

// Context is what an operator has of its task: the way on, the time, timers and, with KeyValueStore and WindowStore, state.
// It belongs to the task's goroutine and must not be used elsewhere, nor outside of the calls of its Handler but for making
// stores.
type Context[Out any] struct {
	op     *operator
	vertex *vertex
	w      *wiring
	next   func(*Record[Out])
	timers *engine.Timers
	slot   Record[Out]
}

// Process is the one effectful verb, and the seam on which joins and alarms are built: make is called once for every task
// (and once by Build, to learn which stores there are) and returns what that task does. name is the name of the operator,
// unique in the topology; state is kept under it, so renaming it loses the state.
func Process[In, Out any](in Upstream[In], name string, make func(*Context[Out]) Handler[In]) Stream[Out] {
	s := in.AsStream()
	if s.n == nil {
		return Stream[Out]{}
	}
	at := callSite()
	out := derive[Out](s.b, kindProcess, name, at, s.n.vertex)
	if !legalName.MatchString(name) {
		s.b.mistake(at, "Process: the name %q must be made of letters, digits, '-' and '_'", name)
	}
	s.n.takers = append(s.n.takers, func(w *wiring) func(*Record[In]) {
		c := &Context[Out]{op: out.n.operator(w), vertex: out.n.vertex, w: w}
		h := make(c)
		if h.Record == nil {
			h.Record = func(Record[In]) error { return nil }
			if w.probe != nil {
				w.probe.mistake(at, "Process %s: the handler has no Record function", name)
			}
		}
		c.bindTimers(h.Timer)
		c.next = out.n.wire(w)
		call := func(r Record[In]) error { return h.Record(r) }
		return func(r *Record[In]) {
			if err, ok := guard(c.op, call, *r); ok && err != nil {
				c.op.fail(err)
			}
		}
	})
	return out
}

// errNoTimer is the error of an operator that sets a timer and has no function for it.
var errNoTimer = errors.New("a timer was set, but the handler has no Timer function")

func (c *Context[Out]) bindTimers(fire func(Timer) error) {
	if fire == nil {
		return
	}
	c.timers = engine.NewTimers(c.w.task, c.vertex.name+".timers", func(key string, at int64) {
		if err, ok := guard(c.op, fire, Timer{Key: key, At: fromNanos(at)}); ok && err != nil {
			c.op.fail(fmt.Errorf("timer of key %q at %s: %w", key, fromNanos(at).Format(time.RFC3339Nano), err))
		}
	})
}

// Forward hands a record on. It returns when everything below is done with it.
func (c *Context[Out]) Forward(r Record[Out]) {
	c.slot = r
	c.next(&c.slot)
}

// StreamTime returns the highest event time that the task has processed, the record in hand included; in a timer it is the
// time of the timer. It is the zero time before the first record.
func (c *Context[Out]) StreamTime() time.Time {
	if now := c.op.task.StreamTime(); now != engine.NoTime {
		return fromNanos(now)
	}
	return time.Time{}
}

// Schedule sets a timer of the handler: it fires once stream time has reached at, before the record that moved it is
// processed, or, if that is past already, as soon as the record in hand is done. Setting it twice is setting it once. Timers are
// state: they survive restarts. In a timer, at must be later than the timer's own time.
func (c *Context[Out]) Schedule(key string, at time.Time) error {
	if c.timers == nil {
		return errNoTimer
	}
	ns, err := checkTime(at)
	if err != nil {
		return fmt.Errorf("schedule a timer: %w", err)
	}
	if c.op.task.Current() == nil && ns <= c.op.task.StreamTime() {
		return fmt.Errorf("a timer may only set timers later than its own time %s, not %s",
			c.StreamTime().Format(time.RFC3339Nano), at.UTC().Format(time.RFC3339Nano))
	}
	c.timers.Set(key, ns)
	return nil
}

// Cancel removes a timer; it is no error if there is none.
func (c *Context[Out]) Cancel(key string, at time.Time) {
	if c.timers == nil {
		return
	}
	if ns, err := checkTime(at); err == nil {
		c.timers.Cancel(key, ns)
	}
}

// Partition returns the partition of the task.
func (c *Context[Out]) Partition() int { return c.op.task.Partition() }

// Origin is where a record was read.
type Origin struct {
	Topic     string
	Partition int
	Offset    uint64
}

// Origin returns where the record in hand was read; ok is false in a timer.
func (c *Context[Out]) Origin() (o Origin, ok bool) {
	raw := c.op.task.Current()
	if raw == nil {
		return Origin{}, false
	}
	return Origin{Topic: raw.Topic, Partition: raw.Partition, Offset: raw.Offset}, true
}
