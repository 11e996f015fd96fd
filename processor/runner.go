package processor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

const (
	// batchRecords, batchBytes and batchAge are when a commit is due although there is more to process. When the inputs have run dry it is
	// due at once.
	batchRecords = 10_000
	batchBytes   = 1 << 20
	batchAge     = 100 * time.Millisecond
	// batchLimit is where a task waits for the commit in flight rather than letting the next one grow.
	batchLimit = 4 * batchRecords
	// slice is how many records are processed between two looks at the rest of the world.
	slice = 512
	// stopTimeout is the default of Config.StopTimeout.
	stopTimeout = 10 * time.Second
)

// runner runs one task: it owns the task's goroutine, its readers and its journal. It may follow the task's owner first, until it
// is the owner itself.
type runner struct {
	app     *App
	sub     *subTopology
	task    *engine.Task
	log     *zap.Logger
	inbox   *inbox
	readers []*stream.Reader
	commits commitState
	cleared []bool        // per input: it is hungry, and was caught up after everything in hand had been stored
	owned   chan struct{} // closed when the task is this instance's; until then it follows
	warm    func()        // called when it could take over at once
	began   func()        // called when it has taken over
	control chan func()   // called in the task's goroutine while it waits
	active  time.Time     // when a record was last processed
	stored  []storedEntry // the journal's entries, until the task has been taken over
	worked  uint64        // records processed, and times moved, so far
	sizes   atomic.Pointer[[]engine.StoreSize]
	gauges  gauges
	told    time.Time       // when progress of a restore was told last
	passed  bool            // the app's gate: it may take records
	desk    *desk           // nil: nobody can ask
	journal *stream.Journal // opened by follow
	entered bool            // it has been the owner
	onDisk  bool            // the task has its share of the state database
}

func newRunner(a *App, sub *subTopology, partition int) *runner {
	message := int(a.client.MaxPayload())
	task := engine.NewTask(sub.plan, partition, message)
	if a.cfg.Guarantee == AtLeastOnce {
		task.AtLeastOnce(rand.Text())
	}
	r := &runner{
		app: a, sub: sub, task: task,
		log:     a.cfg.Logger.With(zap.String("task", a.topology.app+"/"+task.ID())),
		inbox:   newInbox(len(sub.plan.Inputs)),
		cleared: make([]bool, len(sub.plan.Inputs)),
		owned:   make(chan struct{}),
		warm:    func() {},
		began:   func() {},
		control: make(chan func()),
		commits: commitState{jobs: make(chan job, 1), results: make(chan result, 1), limit: min(batchBytes, message*3/4)},
	}
	r.desk = newDesk(r)
	s := &r.gauges.s
	s.SubTopology, s.Partition, s.State, s.Since, s.Wait = sub.name, partition, TaskFollowing, time.Now(), WaitOwnership
	for _, in := range sub.plan.Inputs {
		s.Inputs = append(s.Inputs, InputStats{Topic: in.Topic.Name})
	}
	r.gauges.asked = make([]stream.GroupOffset, len(s.Inputs))
	return r
}

// run takes the task over, works until ctx ends or something fails, and gives it back in order. commits ends the last of it.
func (r *runner) run(ctx, commits context.Context) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("task %s: %w", r.task.ID(), err)
		}
		r.enter(TaskEnded, err)
		r.task.CloseDisk()
	}()
	err = r.follow(ctx)
	var c *committer
	if err == nil && ctx.Err() == nil {
		err = r.app.evolved.activate(ctx)
	}
	if err == nil && ctx.Err() == nil {
		c, err = r.takeOver(ctx)
	}
	if ctx.Err() != nil && c == nil {
		return nil // asked to stop before it had begun
	}
	if err != nil {
		return err
	}
	r.entered = true
	r.tookOver(c)
	r.began()
	commitCtx, stop := context.WithCancel(commits)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { c.serve(commitCtx, r.commits.jobs, r.commits.results) })
	showing, quiet := context.WithCancel(commitCtx)
	wg.Go(func() { c.shown.serve(showing, commitCtx) })
	defer wg.Wait()
	defer quiet()
	defer close(r.commits.jobs)
	defer r.closeReaders()
	if err := r.openReaders(ctx); err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // asked to stop
		}
		return err
	}
	defer r.desk.close()
	if err := r.desk.open(false); err != nil {
		return err
	}
	r.active = time.Now()
	r.attach(ctx)
	r.enter(TaskRunning, nil)
	defer r.pass(false)
	err = r.loop(ctx)
	r.task.Rest()
	if err == nil {
		err = r.task.Err() // of what drain has made it do
	}
	if err != nil {
		limit := time.AfterFunc(r.app.cfg.StopTimeout, stop)
		defer limit.Stop()
		r.abandon() // what has not been committed is processed again
		if errors.Is(err, engine.ErrInterrupted) {
			return nil
		}
		return r.timeUp(commitCtx, err)
	}
	if err = r.finish(); err == nil {
		return r.noteDelivered(commitCtx)
	}
	return r.timeUp(commitCtx, err)
}

// timeUp says so if a task has ended with an error because the time to stop is over. ctx is that of its commits.
func (r *runner) timeUp(ctx context.Context, err error) error {
	if !errors.Is(context.Cause(ctx), errTimeUp) {
		return err
	}
	return fmt.Errorf("what was processed last could not be committed within %v (Config.StopTimeout), and is left to the next owner: %w", r.app.cfg.StopTimeout, err)
}

// attach gives the task the clock, and the patience to try again as long as nobody asks it to stop.
func (r *runner) attach(ctx context.Context) {
	r.task.Attach(engine.World{
		Now: time.Now,
		Pause: func(f engine.Failure, d time.Duration) bool {
			d -= mathrand.N(d/2 + 1)
			r.change(func(s *TaskStats) { s.Failures++; s.Wait, s.WaitsFor = WaitRetry, f.Operator })
			defer r.waits(WaitNone, "")
			r.log.Warn("an attempt has failed; there is another one", append(failureFields(f), zap.Duration("pause", d))...)
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-ctx.Done():
				return false
			case <-timer.C:
				return true
			}
		},
		Globals: r.app.globals,
		Skipped: func(f engine.Failure) {
			r.change(func(s *TaskStats) { s.Skipped++ })
			r.log.Warn("a record was skipped", failureFields(f)...)
		},
	})
}

func failureFields(f engine.Failure) []zap.Field {
	fields := []zap.Field{zap.String("operator", f.Operator), zap.Int("attempt", f.Tries), zap.Error(f.Err)}
	if raw := f.Record; raw != nil {
		fields = append(fields, zap.String("topic", raw.Topic), zap.Int("partition", raw.Partition), zap.Uint64("offset", raw.Offset))
	}
	return fields
}

func (r *runner) openReaders(ctx context.Context) error {
	for i := range r.sub.plan.Inputs {
		reader, err := r.openReader(ctx, i)
		if r.mayLeaveOut(i, err) {
			if err = r.leaveOut(ctx, i, err); err == nil {
				reader, err = r.openReader(ctx, i)
			}
		}
		if err != nil {
			return err
		}
		r.task.Made(i, reader.Made().UnixNano())
		r.inbox.expect(i, reader.Behind())
		r.readers = append(r.readers, reader)
	}
	return nil
}

// openReader reads an input from where the task stands in it.
func (r *runner) openReader(ctx context.Context, i int) (*stream.Reader, error) {
	p := r.task.Positions()[i]
	return r.app.client.OpenReader(ctx, r.sub.plan.Inputs[i].Topic, r.task.Partition(), stream.ReaderConfig{
		From: p.Next, Made: knownTime(p.Made), Stored: knownTime(p.Stored),
		Deliver: func(m stream.Message) { r.inbox.deliver(i, m) },
		Failed:  r.inbox.fail,
	})
}

// knownTime is no time if ns is 0.
func knownTime(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return fromNanos(ns)
}

func (r *runner) closeReaders() {
	r.inbox.close()
	for _, reader := range r.readers {
		reader.Close()
	}
}

// loop alternates between processing, committing and waiting.
func (r *runner) loop(ctx context.Context) error {
	tick := time.NewTicker(r.tickEvery())
	defer tick.Stop()
	for ctx.Err() == nil {
		if r.app.Paused() || !r.pass(true) {
			if err := r.rest(ctx); err != nil {
				return err
			}
			continue
		}
		more, err := r.work(ctx)
		if err != nil {
			return err
		}
		if err := r.commitIfDue(!more); err != nil {
			return err
		}
		if more {
			continue
		}
		if err := r.wait(ctx, tick.C); err != nil {
			return err
		}
	}
	return nil
}

// tickEvery is how often a waiting task looks around: whether an input that it waits for has moved, and whether it is idle.
func (r *runner) tickEvery() time.Duration {
	every := 500 * time.Millisecond
	if d := r.app.topology.closeOnIdle; d > 0 {
		every = min(every, max(d/4, 10*time.Millisecond))
	}
	return every
}

// work processes one slice of records; it reports whether there may be more at once.
func (r *runner) work(ctx context.Context) (more bool, err error) {
	defer r.task.Rest()
	started, before := time.Now(), r.commits.records
	defer func() { r.didWork(r.commits.records-before, time.Since(started)) }()
	if err := r.fireWallTimers(); err != nil {
		return false, err
	}
	for range slice {
		if r.app.Paused() || ctx.Err() != nil || r.full() { // a user function may take its time, and may send much
			return true, nil
		}
		ready, err := r.ready(ctx)
		if err != nil || !ready {
			return false, err
		}
		done, err := r.task.Step()
		if err != nil {
			return false, err
		}
		if done {
			r.worked++
			r.commits.records++
		}
	}
	return true, nil
}

// fireWallTimers fires the timers that the clock has reached.
func (r *runner) fireWallTimers() error {
	at, ok := r.task.NextWallTimer()
	if !ok {
		return nil
	}
	now := time.Now().UnixNano()
	if at > now {
		return nil
	}
	r.worked++
	r.commits.records++ // something to commit
	_, err := r.task.AdvanceWall(now)
	return err
}

// wait returns when something has happened that work, commitIfDue or the loop should look at.
func (r *runner) wait(ctx context.Context, tick <-chan time.Time) error {
	r.idles()
	var wall <-chan time.Time
	if at, ok := r.task.NextWallTimer(); ok {
		timer := time.NewTimer(time.Until(time.Unix(0, at)))
		defer timer.Stop()
		wall = timer.C
	}
	select {
	case <-ctx.Done():
	case <-wall:
	case <-r.inbox.wake:
	case res := <-r.commits.results:
		return r.settled(res)
	case do := <-r.control:
		do()
	case <-tick:
		return r.closeIfIdle(ctx)
	}
	return nil
}

// closeIfIdle lets stream time follow the clock when nothing has come for long enough.
func (r *runner) closeIfIdle(ctx context.Context) error {
	d := r.app.topology.closeOnIdle
	if d == 0 || time.Since(r.active) < d {
		return nil
	}
	now := time.Now().Add(-d).UnixNano()
	if next, ok := r.task.NextTimer(); !ok || next > now {
		return nil
	}
	idle, err := r.caughtUp(ctx)
	if err != nil || !idle {
		return err
	}
	r.worked++
	return r.task.Advance(now)
}
