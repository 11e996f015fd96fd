package processor

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// commitState is what a runner knows of its commits. One is in flight at most; the next batch is processed meanwhile.
type commitState struct {
	jobs     chan job
	results  chan result
	inFlight bool
	records  int                    // processed since the last commit
	last     time.Time              // when it was
	limit    int                    // bytes
	trim     uint64                 // to where the journal may be trimmed with the next one, 0: not
	calling  atomic.Pointer[vertex] // what hands records over to no topic; nil: nothing
}

// delivering returns which operator hands records over to something that is no topic, or "".
func (c *commitState) delivering() string {
	v := c.calling.Load()
	if v == nil {
		return ""
	}
	return v.place()
}

// commitIfDue commits when the inputs have run dry or the batch has grown large or old enough.
func (r *runner) commitIfDue(dry bool) error {
	c := &r.commits
	full := r.full()
	if c.inFlight {
		select {
		case res := <-c.results:
			if err := r.settled(res); err != nil {
				return err
			}
		default:
			if c.records < batchLimit && !full {
				return nil
			}
			r.waits(WaitCommit, "")
			if err := r.settle(); err != nil {
				return err
			}
		}
	}
	if !dry && !full && !r.desk.isAsked() && c.records < batchRecords && time.Since(c.last) < batchAge {
		return nil
	}
	return r.commit(false)
}

// full reports whether the next commit is as large as one message may be, about: a larger one is several, which the server stores twice.
func (r *runner) full() bool {
	return r.task.Pending() >= r.commits.limit
}

// commit hands what has happened since the last commit to the committer, if anything has or if it is forced. Who has asked for the state
// is answered from what is committed so. Where there is nothing to commit, the journal is asked whose it is.
func (r *runner) commit(force bool) error {
	c := &r.commits
	commit, err := r.task.Commit(r.app.owner, force)
	c.records, c.last = 0, time.Now()
	if err != nil {
		return err
	}
	answers := r.desk.read()
	if commit != nil {
		r.measure()
		c.jobs <- job{commit: commit, trim: c.trim, answers: answers}
		c.inFlight, c.trim = true, 0
	} else if len(answers) > 0 {
		c.jobs <- job{answers: answers}
		c.inFlight = true
	}
	return nil
}

// settled takes note of a commit that is durable and delivered, or has failed.
func (r *runner) settled(res result) error {
	c := &r.commits
	c.inFlight = false
	if res.err != nil {
		return res.err
	}
	if res.number == 0 {
		return nil // nothing was committed
	}
	r.task.Appended(res.number, res.seq)
	r.task.Delivered(res.number)
	if before, ok := r.task.Trim(); ok {
		c.trim = before
	}
	r.didCommit(res)
	return nil
}

// finish commits what has been processed, and waits until it is delivered.
func (r *runner) finish() error {
	if err := r.settle(); err != nil {
		return err
	}
	if err := r.commit(false); err != nil {
		return err
	}
	return r.settle()
}

// noteDelivered lets the journal say that everything is delivered, so that the next owner need not look. It is the last thing that a task
// does. ctx is that of its commits: when the time to stop is over, the next owner looks.
func (r *runner) noteDelivered(ctx context.Context) error {
	if r.task.Settled() {
		return nil
	}
	err := r.commit(true)
	if err == nil {
		err = r.settle()
	}
	if err != nil && errors.Is(context.Cause(ctx), errTimeUp) {
		r.log.Warn("the journal could not be told that everything is delivered; the next owner looks itself", zap.Error(err))
		return nil
	}
	return err
}

// settle waits for the commit in flight, if there is one.
func (r *runner) settle() error {
	if !r.commits.inFlight {
		return nil
	}
	return r.settled(<-r.commits.results)
}

// abandon waits for the commit in flight and leaves what came after it to the next owner.
func (r *runner) abandon() {
	if r.commits.inFlight {
		<-r.commits.results
	}
}
