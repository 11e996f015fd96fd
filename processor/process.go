package processor

import (
	"errors"
	"fmt"
	"time"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// Handler is what an operator does in one task.
type Handler[In any] struct {
	// Record is called with every record, in order. An error, or a panic, makes it a failed record: what the call has done to
	// stores and timers, and what it has forwarded, is taken back. See FailurePolicy for what happens then, and Partial for
	// errors that speak of less than the record.
	Record func(Record[In]) error
	// Timer is called when stream time has reached a timer of this operator. Needed only where timers are set. An error or a
	// panic takes back what the call has done, but not that the timer has fired.
	Timer func(Timer) error
	// WallTimer is called when the clock has reached a timer set with ScheduleWall. What is said of Timer holds here too.
	WallTimer func(Timer) error
}

// Timer is a timer that fires.
type Timer struct {
	Key string
	// At is the time that was asked for.
	At time.Time
}

// Context is what an operator has of its task: the way on, the time, timers and, with KeyValueStore and WindowStore, state.
// It belongs to the task's goroutine and must not be used elsewhere, nor outside of the calls of its Handler but for making
// stores.
type Context[Out any] struct {
	op     *operator
	vertex *vertex
	w      *wiring
	next   func(*Record[Out])
	made   bool           // the function given to Process has returned
	timers *engine.Timers // nil: the handler has no Timer
	wall   *engine.Timers // nil: the handler has no WallTimer
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
	out.needs(make == nil, "Process "+name)
	if !legalName.MatchString(name) {
		s.b.mistake(at, "Process: the name %q must be made of letters, digits, '-' and '_'", name)
	}
	s.n.takers = append(s.n.takers, func(w *wiring) func(*Record[In]) {
		c := &Context[Out]{op: out.n.operator(w), vertex: out.n.vertex, w: w}
		h, err := attempt(c.op, infallible(make), c)
		if err != nil {
			w.notMade(out.n.vertex, err)
			return func(*Record[In]) {}
		}
		c.made = true
		if h.Record == nil {
			h.Record = func(Record[In]) error { return nil }
			if w.probe != nil {
				w.probe.mistake(at, "Process %s: the handler has no Record function", name)
			}
		}
		c.timers = bindTimers(c, engine.NewTimers, timersName, h.Timer)
		c.wall = bindTimers(c, engine.NewWallTimers, wallTimersName, h.WallTimer)
		c.next = out.n.wire(w)
		call := func(r Record[In]) (struct{}, error) { return struct{}{}, h.Record(r) }
		return func(r *Record[In]) { guard(c.op, call, *r) }
	})
	return out
}

// errNoTimer is the error of an operator that sets a timer and has no function for it.
var errNoTimer = errors.New("a timer was set, but the handler has no function for it: set Timer, or WallTimer for ScheduleWall")

// The names under which timers are kept, beside the operator's stores.
const (
	timersName     = "timers"
	wallTimersName = "wall-timers"
)

type newTimers = func(t *engine.Task, name string, fire func(key string, at int64)) *engine.Timers

// bindTimers makes timers of one kind for the operator, if there is a function for them.
func bindTimers[Out any](c *Context[Out], timers newTimers, name string, fire func(Timer) error) *engine.Timers {
	if fire == nil {
		return nil
	}
	call := func(tm Timer) (struct{}, error) { return struct{}{}, fire(tm) }
	return timers(c.w.task, c.vertex.name+"."+name, func(key string, at int64) {
		tm := Timer{Key: key, At: fromNanos(at)}
		if _, tries, err := persist(c.op, call, tm); err != nil {
			c.op.fail(timerError(tm, err), tries)
		}
	})
}

// timerError says which timer has failed: there is no record to say it.
func timerError(tm Timer, err error) error {
	of := fmt.Errorf("timer of key %q at %s: %w", tm.Key, tm.At.Format(time.RFC3339Nano), err)
	if isPartial(err) {
		return Partial(of)
	}
	return of
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
	task := c.op.task
	if task.Current() == nil && !task.InWallTimer() && ns <= task.StreamTime() {
		return fmt.Errorf("a timer may only set timers later than its own time %s, not %s",
			c.StreamTime().Format(time.RFC3339Nano), at.UTC().Format(time.RFC3339Nano))
	}
	c.timers.Set(key, ns)
	return nil
}

// Cancel removes a timer; it is no error if there is none.
func (c *Context[Out]) Cancel(key string, at time.Time) { cancelTimer(c.timers, key, at) }

func cancelTimer(timers *engine.Timers, key string, at time.Time) {
	if timers == nil {
		return
	}
	if ns, err := checkTime(at); err == nil {
		timers.Cancel(key, ns)
	}
}

// ScheduleWall sets a timer by the clock: the handler's WallTimer is called once the clock of the instance that runs the task
// has passed at, between two records, or at once if it has. Setting it twice is setting it once. Such timers are state, too: they
// survive restarts, and what came due while nothing ran fires before the first record. They do not move stream time, a bounded
// app ends without waiting for them, and when they fire is not repeatable as everything else is.
//
// A timer that repeats schedules its next one from Now: after an outage it then fires once and not once for each time missed.
func (c *Context[Out]) ScheduleWall(key string, at time.Time) error {
	if c.wall == nil {
		return errNoTimer
	}
	ns, err := checkTime(at)
	if err != nil {
		return fmt.Errorf("schedule a timer by the clock: %w", err)
	}
	c.wall.Set(key, ns)
	return nil
}

// CancelWall removes a timer by the clock; it is no error if there is none.
func (c *Context[Out]) CancelWall(key string, at time.Time) { cancelTimer(c.wall, key, at) }

// Now returns the time by the clock that ScheduleWall goes by. What is computed from it differs from run to run: a record that a
// crash has undone is processed again at another time.
func (c *Context[Out]) Now() time.Time { return c.op.task.World().Now().UTC() }

// Trace returns the W3C trace context (traceparent, tracestate, baggage) of the record in hand; in a timer, that of the record that has moved stream
// time to it or beyond. nil: there is none, or it was no record, but the clock, or the end of the input. Aggregates that are emitted OnClose have it.
func (c *Context[Out]) Trace() stream.Headers { return c.op.task.Trace() }

// CountLate counts the record in hand in TaskStats.Late: it has come after all its windows had closed. Joins and aggregates do so by themselves.
func (c *Context[Out]) CountLate() { c.op.task.CountLate() }

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
