package processor

import (
	"context"
	"fmt"
	"time"
)

// ready makes sure that the next record may be chosen by its time: every input has one in hand, or is known to have had none
// left when those in hand had been stored already. It reports false when the task must wait.
func (r *runner) ready(ctx context.Context) (bool, error) {
	for {
		hungry, fed, err := r.refill()
		switch {
		case err != nil:
			return false, err
		case fed:
			// What has come is younger than the moment at which other inputs were found empty.
			clear(r.cleared)
		case hungry == 0:
			return true, nil
		case hungry < len(r.cleared):
			ok, again, err := r.clearHungry(ctx)
			if err != nil || !again {
				return ok, err
			}
		case r.anyCleared():
			clear(r.cleared) // look into those, too
		default:
			return false, nil // all have run dry
		}
	}
}

// refill gives the task what has come in inputs that have run dry. It reports how many are dry still, and whether any is not
// any more.
func (r *runner) refill() (hungry int, fed bool, err error) {
	for i, cleared := range r.cleared {
		if !r.task.Hungry(i) {
			continue
		}
		if !cleared {
			messages, err := r.inbox.take(i)
			if err != nil {
				return 0, false, err
			}
			if len(messages) > 0 {
				r.task.Feed(i, messages)
				r.active = time.Now()
				fed = true
				continue
			}
		}
		hungry++
	}
	return hungry, fed, nil
}

func (r *runner) anyCleared() bool {
	for _, cleared := range r.cleared {
		if cleared {
			return true
		}
	}
	return false
}

// clearHungry asks the server whether the inputs that have run dry have more, since others have not run dry. ok: none has.
// again: one had, and what it had has come. Neither: there is more to wait for.
func (r *runner) clearHungry(ctx context.Context) (ok, again bool, err error) {
	for i := range r.cleared {
		if r.cleared[i] || !r.task.Hungry(i) {
			continue
		}
		if r.inbox.behind(i) {
			return false, false, nil
		}
		caughtUp, err := r.inputCaughtUp(ctx, i)
		if err != nil || !caughtUp {
			return false, false, err
		}
		if !r.inbox.empty(i) {
			return false, true, nil
		}
		r.cleared[i] = true
	}
	return true, false, nil
}

// inputCaughtUp reports whether everything that an input's partition held when it was called has been delivered.
func (r *runner) inputCaughtUp(ctx context.Context, i int) (bool, error) {
	r.waits(WaitInput, r.sub.plan.Inputs[i].Topic.Name)
	ok, err := r.readers[i].CaughtUp(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return false, nil //nolint:nilerr // asked to stop
		}
		return false, fmt.Errorf("topic %s: is there more to read: %w", r.sub.plan.Inputs[i].Topic.Name, err)
	}
	return ok, nil
}

// caughtUp reports whether the task has processed all that there was in its inputs when it was called.
func (r *runner) caughtUp(ctx context.Context) (bool, error) {
	for i := range r.cleared {
		if !r.task.Hungry(i) {
			return false, nil
		}
		ok, err := r.inputCaughtUp(ctx, i)
		if err != nil || !ok || !r.inbox.empty(i) {
			return false, err
		}
	}
	return true, nil
}
