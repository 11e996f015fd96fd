package engine

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/rossby-streams/rossby/stream"
)

// NoTime is the stream time of a task that has not processed a record yet. It is lower than every event time.
const NoTime = int64(math.MinInt64)

// Plan is what all tasks of one sub-topology share. It does not change once tasks run.
type Plan struct {
	App    string
	Name   string                     // of the sub-topology; with the partition it names the task
	Inputs []Input                    // in the order in which ties of event time are resolved
	Sinks  []Sink                     // where Emit may send
	Wire   func(*Task)                // makes the operators of one task; calls Bind for every input
	Failed func(*Task, Failure) error // the policy for failed records; an error stops the task
	Shape  uint64                     // fingerprint of what the state of the app depends on; 0: not known
}

// Input is one topic that a sub-topology reads.
type Input struct {
	Topic    stream.TopicSpec
	Internal bool // a repartition topic: each message is a batch of records
}

// Sink is one topic that a sub-topology writes.
type Sink struct {
	Topic    stream.TopicSpec
	Internal bool
	External bool // it is no topic: only the name counts
}

// Failure is a record that could not be processed, or a timer whose work failed.
type Failure struct {
	Operator string
	Err      error
	Record   *Raw // nil: there was no record in hand (a timer)
	Tries    int  // how often the operator was called; 0 where there was none
	Partial  bool // the rest of the record's work stays
}

// Source turns the raw records of one input into typed ones.
type Source struct {
	// Decode reads the record and returns its event time in nanoseconds. The typed value waits inside for Process.
	Decode func(*Raw) (int64, error)
	// Process hands the record decoded last to the operators.
	Process func()
	// Failed is told why the record in hand could not be decoded. Nil: the plan's Failed is.
	Failed func(error)
}

// store is what the task needs of a store or of timers, whatever their types.
type store interface {
	Name() string
	flush(dst []byte, number uint64, refused func(error)) []byte
	restore(d *decoder, number uint64) error
	restored(now int64) error
	prune(now int64)
	advance(now int64)
	oldest() uint64
	rideAlong(budget int) int
	settle() // ends a commit, whether the store has changed or not
	liveBytes() int
	isDirty() bool
	rowCount() int
	shape() shape
}

// Task is one sub-topology on one partition. See the package documentation.
type Task struct {
	plan       *Plan
	partition  int
	maxMessage int
	inputs     []input
	stores     []store
	disk       *diskState // nil: no store is on disk
	timers     timerFamily
	wallTimers timerFamily
	now        int64
	current    *Raw      // the record in hand, nil in a timer
	cause      cause     // of the timers that fire
	changes    []changer // what the record in hand, or the timer, has changed, in order
	doom       func()    // the record in hand is given up; what to do instead
	inWall     bool      // a timer by the clock is firing
	outbox     outbox
	journal    ledgerOfCommits
	attempt    string // not empty: outputs go out before their commit, and this tells attempts apart
	changed    bool
	steps      int // records processed since the last commit
	stateBytes int // of state, for each record of the last commit
	late       uint64
	err        error
	world      World
	calls      calls
	views      map[string]any // what Expose was given
}

// cause is the record that moves stream time.
type cause struct {
	raw   *Raw
	trace stream.Headers
	known bool // trace is that of the record
}

// Trace returns the trace context of the record in hand, or, while timers fire because a record has moved stream time, that of this one; nil:
// there is none.
func (t *Task) Trace() stream.Headers {
	c := &t.cause
	if c.raw != nil && !c.known {
		c.trace, c.known = c.raw.Headers.Trace(), true
	}
	return c.trace
}

// World is what a task has of the world beside its records: nothing but the clock and the patience to wait.
type World struct {
	// Now is the clock.
	Now func() time.Time
	// Pause waits for that long after a failure; it reports false when the task has been asked to stop meanwhile.
	Pause func(Failure, time.Duration) bool
	// Skipped is told of failures that leave no other trace.
	Skipped func(Failure)
	// Globals are the rows of global tables, by topic.
	Globals map[string]any
}

// NewTask returns the task of a partition, empty, with its operators made. maxMessage is the largest message that the
// server accepts, in bytes.
func NewTask(plan *Plan, partition, maxMessage int) *Task {
	t := &Task{plan: plan, partition: partition, maxMessage: maxMessage, now: NoTime, world: World{
		Now: func() time.Time { return time.Time{} }, Pause: func(Failure, time.Duration) bool { return true }, Skipped: func(Failure) {},
	}}
	t.inputs = make([]input, len(plan.Inputs))
	for i := range t.inputs {
		t.inputs[i] = input{Input: plan.Inputs[i], next: 1}
	}
	t.outbox.init(len(plan.Sinks))
	plan.Wire(t)
	return t
}

// Attach gives the task its world; without it, time stands still and no wait takes any.
func (t *Task) Attach(w World) { t.world = w }

// World returns what Attach was given.
func (t *Task) World() *World { return &t.world }

// ID returns the name of the task within its app: sub-topology and partition.
func (t *Task) ID() string { return t.plan.TaskID(t.partition) }

// TaskID returns the name of the task of a partition.
func (p *Plan) TaskID(partition int) string { return fmt.Sprintf("%s-%d", p.Name, partition) }

// Partition returns the partition of the task.
func (t *Task) Partition() int { return t.partition }

// StreamTime returns the highest event time processed so far, in nanoseconds, or NoTime.
func (t *Task) StreamTime() int64 { return t.now }

// Current returns the record in hand, or nil while a timer fires.
func (t *Task) Current() *Raw { return t.current }

// Bind gives the task the typed side of an input. Plan.Wire calls it.
func (t *Task) Bind(input int, s Source) { t.inputs[input].source = s }

// Store returns the store of that name, or nil.
func (t *Task) Store(name string) any {
	for _, s := range t.stores {
		if s.Name() == name {
			return s
		}
	}
	return nil
}

// CountLate counts the record in hand as one that has come too late.
func (t *Task) CountLate() { t.late++ }

// Late returns how many there were.
func (t *Task) Late() uint64 { return t.late }

func (t *Task) addStore(s store) { t.stores = append(t.stores, s) }

// Fail hands a failure to the policy. It is called by the operators.
func (t *Task) Fail(operator string, err error) {
	if t.err != nil {
		return
	}
	if err := t.plan.Failed(t, Failure{Operator: operator, Err: err, Record: t.current}); err != nil {
		t.Stop(err)
	}
}

// Err returns what has ended the task, or nil.
func (t *Task) Err() error { return t.err }

// ErrInterrupted is the error of a task that was asked to stop while it waited to try something again. Its last commit counts.
var ErrInterrupted = errors.New("asked to stop while waiting for another attempt")

// Advance moves stream time to now, if that is later, and fires the timers on the way.
func (t *Task) Advance(now int64) error {
	if now > t.now {
		t.current = nil
		t.moveTo(now)
		t.changed = true
	}
	return t.err
}

// CloseAll moves stream time to the last timer that is set, again and again until none is: the end of bounded input.
func (t *Task) CloseAll() error {
	for t.err == nil {
		if _, ok := t.NextTimer(); !ok {
			break
		}
		if err := t.Advance(t.timers.last(t.now)); err != nil {
			return err
		}
	}
	return t.err
}

// moveTo steps through the timers that are due at now, each with stream time at its own time, so that the results do not
// depend on how far one record jumps.
func (t *Task) moveTo(now int64) {
	t.fireUntil(now)
	if now > t.now {
		t.setNow(now)
	}
}

func (t *Task) fireUntil(now int64) {
	for t.err == nil {
		timers, r, ok := t.timers.pop(now)
		if !ok {
			return
		}
		timers.spent(&r)
		if r.at > t.now {
			t.setNow(r.at)
		}
		t.changed = true
		timers.fire(string(r.key), r.at)
		t.keep()
	}
}

// AdvanceWall fires the timers by the clock that are due at now, in order of time, operator and key, and says whether one was.
func (t *Task) AdvanceWall(now int64) (fired bool, err error) {
	t.current = nil
	defer t.wallTimers.rest()
	for n := t.wallTimers.waiting(); n > 0 && t.err == nil; n-- { // those set meanwhile come next time
		timers, r, ok := t.wallTimers.pop(now)
		if !ok {
			break
		}
		timers.spent(&r)
		t.changed, fired, t.inWall = true, true, true
		timers.fire(string(r.key), r.at)
		t.inWall = false
		t.keep()
		t.fireUntil(t.now) // what it has set for event times that are past
	}
	return fired, t.err
}

// InWallTimer reports whether a timer by the clock is firing.
func (t *Task) InWallTimer() bool { return t.inWall }

func (t *Task) setNow(now int64) {
	t.now = now
	for _, s := range t.stores {
		s.advance(now)
	}
}
