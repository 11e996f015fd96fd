package processor

import (
	"context"
	"time"
)

// drainEvery is how often a bounded app looks whether all its input has been processed.
const drainEvery = 2 * time.Millisecond

// drain returns when every task has been taken over, has processed and delivered all there is, and no window is open any more.
func drain(ctx context.Context, began <-chan *runner, tasks int) error {
	runners := make([]*runner, tasks)
	for i := range runners {
		select {
		case runners[i] = <-began:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		if err := awaitQuiet(ctx, runners); err != nil {
			return err
		}
		moved, err := closeWindows(ctx, runners)
		if err != nil || !moved {
			return err
		}
	}
}

// awaitQuiet returns when all tasks were idle in two rounds and none has done anything between them: then nothing is on
// its way from one to another either.
func awaitQuiet(ctx context.Context, runners []*runner) error {
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	before, wasIdle := uint64(0), false
	for {
		worked, idle, err := survey(ctx, runners)
		if err != nil {
			return err
		}
		if idle && wasIdle && worked == before {
			return nil
		}
		before, wasIdle = worked, idle
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// survey asks every task how much it has done and whether it has nothing left to do.
func survey(ctx context.Context, runners []*runner) (worked uint64, idle bool, err error) {
	idle = true
	for _, r := range runners {
		var rest bool
		var failed error
		if err := r.do(ctx, func() {
			rest, failed = r.idle(ctx)
			worked += r.worked
		}); err != nil {
			return 0, false, err
		}
		if failed != nil {
			return 0, false, failed
		}
		idle = idle && rest
	}
	return worked, idle, nil
}

// idle reports whether the task has processed, committed and delivered all there was when it was asked.
func (r *runner) idle(ctx context.Context) (bool, error) {
	if r.commits.inFlight || r.commits.records > 0 || !r.passed {
		return false, nil
	}
	return r.caughtUp(ctx)
}

// closeWindows fires every timer that is set; it reports whether there was one.
func closeWindows(ctx context.Context, runners []*runner) (moved bool, err error) {
	for _, r := range runners {
		var failed error
		if err := r.do(ctx, func() {
			if !r.passed { // paused since it was idle
				moved = true
				return
			}
			if _, ok := r.task.NextTimer(); ok {
				moved = true
				r.worked++
				r.commits.records++ // something to commit
				failed = r.task.CloseAll()
			}
		}); err != nil {
			return false, err
		}
		if failed != nil {
			return false, failed
		}
	}
	return moved, nil
}

// do calls f in the goroutine of the task, when it next waits.
func (r *runner) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case r.control <- func() { f(); close(done) }:
		<-done
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
