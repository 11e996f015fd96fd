package processor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// storedEntry is when the server stored an entry of the journal.
type storedEntry struct {
	seq uint64
	at  time.Time
}

func (e storedEntry) compare(seq uint64) int { return cmp.Compare(e.seq, seq) }

// beginsEvery is after how many entries a follower with stores on disk asks where the journal begins, so that it can forget what is before.
const beginsEvery = 1000

// follow opens the journal and keeps the task's state as its owner has committed it, until the task is this instance's or ctx ends.
func (r *runner) follow(ctx context.Context) (err error) {
	if err := r.task.Err(); err != nil {
		return err
	}
	if r.journal, err = r.app.client.OpenJournal(ctx, journalOf(r.app.topology.app, r.task.ID())); err != nil {
		return err
	}
	select {
	case <-r.owned:
		return nil
	default:
	}
	r.enter(TaskFollowing, nil)
	until, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		select {
		case <-r.owned:
			r.desk.hurry()
			stop()
		case <-until.Done():
			r.desk.hurry()
		}
	})
	err = r.keepCopy(until)
	stop()
	r.desk.close()
	return err
}

// keepCopy applies what is in the journal, and what comes, to this instance's copy of the task.
func (r *runner) keepCopy(ctx context.Context) error {
	from, err := r.openDisk()
	if err != nil {
		return err
	}
	err = r.apply(ctx, from)
	if r.isOther(from, err) {
		if err := r.forgetDisk(from); err != nil {
			return err
		}
		err = r.apply(ctx, 0)
	}
	return err
}

// apply follows the journal from a position on until ctx ends.
func (r *runner) apply(ctx context.Context, from uint64) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var own error
	fail := func(err error) bool {
		own = err
		stop()
		return false
	}
	entries := 0
	err := r.journal.Follow(ctx, from, stream.Follower{
		Entry: func(e stream.Entry) error {
			r.restoring(e)
			r.stored = append(r.stored, storedEntry{e.Seq, e.Stored})
			if err := r.desk.applying(func() error { return r.task.Follow(e.Seq, e.Data) }); err != nil {
				return err
			}
			r.desk.applied(e)
			if e.Pending == 0 {
				if !r.task.Confirmed() {
					return engine.ErrOtherJournal
				}
				if err := r.checkWhole(); err != nil {
					return err
				}
			}
			first, _ := slices.BinarySearchFunc(r.stored, r.task.Oldest(), storedEntry.compare)
			r.stored = r.stored[first:]
			if entries++; entries%beginsEvery != 0 || !r.task.NeedsDisk() {
				return nil
			}
			begins, err := r.journal.First(ctx)
			if err == nil {
				r.task.JournalBegins(begins)
			}
			return err
		},
		CaughtUp: func(entries int) bool {
			if !r.task.Confirmed() {
				if entries == 0 { // nothing will come that could confirm it
					return fail(engine.ErrOtherJournal)
				}
				return false
			}
			r.log.Info("follows the task's owner", zap.Int("journal_entries", entries))
			r.tell(nil)
			r.warm()
			if err := r.desk.open(true); err != nil {
				return fail(err)
			}
			return true
		},
		Current: r.desk.current,
	})
	return errors.Join(err, own)
}

// takeOver restores what is missing of the task, fences whoever had it before, and delivers what they did not.
func (r *runner) takeOver(ctx context.Context) (*committer, error) {
	r.enter(TaskRestoring, nil)
	entries, err := r.replay(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	if err := r.checkLost(ctx, r.journal); err != nil {
		return nil, err
	}
	undelivered, err := r.task.Restored()
	if err != nil {
		return nil, err
	}
	// After a reset no number comes again, unless there was more than one commit a millisecond, for all the task's life.
	r.task.NumberFrom(uint64(time.Now().UnixMilli()))
	c := r.newCommitter(r.journal)
	fence, err := r.task.Commit(r.app.owner, true)
	if err != nil {
		return nil, err
	}
	asked := time.Now()
	entry, err := r.journal.Append(ctx, fence.Data)
	if err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	if err := r.app.evolved.begin(ctx, r.task.ID()); err != nil {
		return nil, err
	}
	r.task.Appended(fence.Number, entry.Seq)
	r.measure()
	c.heard = asked
	c.shown.set(fence.Positions)
	for _, u := range undelivered {
		if err := r.findFormerSinks(ctx, u.Outbox); err != nil {
			return nil, err
		}
		i, _ := slices.BinarySearchFunc(r.stored, u.Seq, storedEntry.compare)
		if err := c.redeliver(ctx, u, r.stored[i].at); err != nil {
			return nil, fmt.Errorf("deliver the records of commit %d, which the last owner had left: %w", u.Number, err)
		}
	}
	if err := fence.Store(entry.Seq); err != nil {
		return nil, err
	}
	r.stored = nil
	r.task.Delivered(fence.Number)
	r.log.Info("took over", zap.Int("journal_entries", entries), zap.Int("redelivered", c.redelivered))
	return c, nil
}

func (r *runner) newCommitter(journal *stream.Journal) *committer {
	c := &committer{
		journal: journal, guarantee: r.app.cfg.Guarantee,
		internal: make(map[string]bool), external: make(map[string]*deliverer), log: r.log,
		shown: &shown{client: r.app.client, group: r.app.topology.app, partition: r.task.Partition(), inputs: r.sub.plan.Inputs, log: r.log},
	}
	if r.sub.sendsDeadLetters() {
		c.letters = r.app.topology.deadLetters.Name
	}
	for _, sink := range r.sub.plan.Sinks {
		if sink.Internal {
			c.internal[sink.Topic.Name] = true
		}
	}
	c.outbox = r.app.client.NewOutbox(c.verify, slices.Collect(maps.Keys(c.internal))...)
	for _, v := range r.sub.vertices {
		if v.kind == kindDeliver {
			c.external[externalTopic(v.name)] = &deliverer{vertex: v, owned: c.verify, letters: r.app.topology.deadLetters, log: r.log, calling: &r.commits.calling}
		}
	}
	return c
}
