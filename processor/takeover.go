package processor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/stream"
)

// storedEntry is when the server stored an entry of the journal.
type storedEntry struct {
	seq uint64
	at  time.Time
}

func (e storedEntry) compare(seq uint64) int { return cmp.Compare(e.seq, seq) }

// follow opens the journal and keeps the task's state as its owner has committed it, until the task is this instance's or ctx ends.
func (r *runner) follow(ctx context.Context) (*stream.Journal, error) {
	if err := r.task.Err(); err != nil {
		return nil, err
	}
	journal, err := r.app.client.OpenJournal(ctx, journalOf(r.app.topology.app, r.task.ID()))
	if err != nil {
		return nil, err
	}
	select {
	case <-r.owned:
		return journal, nil
	default:
	}
	r.enter(TaskFollowing, nil)
	if r.task.NeedsDisk() {
		return journal, r.await(ctx) // its state is on the disk of whoever has had it
	}
	until, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		select {
		case <-r.owned:
			stop()
		case <-until.Done():
		}
	})
	var deskErr error
	err = journal.Follow(until, stream.Follower{
		Entry: func(e stream.Entry) error {
			r.restoring(e)
			r.stored = append(r.stored, storedEntry{e.Seq, e.Stored})
			if err := r.desk.applying(func() error { return r.task.Follow(e.Seq, e.Data) }); err != nil {
				return err
			}
			first, _ := slices.BinarySearchFunc(r.stored, r.task.Oldest(), storedEntry.compare)
			r.stored = r.stored[first:]
			return nil
		},
		CaughtUp: func(entries int) {
			r.log.Debug("follows the task's owner", zap.Int("journal_entries", entries))
			r.warm()
			deskErr = r.desk.open(true)
		},
	})
	stop()
	r.desk.close()
	return journal, errors.Join(err, deskErr)
}

// await returns when the task is this instance's, or ctx has ended. There is nothing to warm up.
func (r *runner) await(ctx context.Context) error {
	r.warm()
	select {
	case <-r.owned:
	case <-ctx.Done():
	}
	return nil
}

// takeOver restores what is missing of the task, fences whoever had it before, and delivers what they did not.
func (r *runner) takeOver(ctx context.Context, journal *stream.Journal) (*committer, error) {
	r.enter(TaskRestoring, nil)
	entries, err := r.replay(ctx, journal)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	if r.task.LastCommit() == 0 {
		if err := r.checkLost(ctx); err != nil {
			return nil, err
		}
	}
	undelivered, err := r.task.Restored()
	if err != nil {
		return nil, err
	}
	// After a reset no number comes again, unless there was more than one commit a millisecond, for all the task's life.
	r.task.NumberFrom(uint64(time.Now().UnixMilli()))
	c := r.newCommitter(journal)
	fence, err := r.task.Commit(r.app.owner, true)
	if err != nil {
		return nil, err
	}
	entry, err := journal.Append(ctx, fence.Data)
	if err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	r.task.Appended(fence.Number, entry.Seq)
	r.measure()
	c.heard = time.Now()
	c.positions, c.behind = fence.Positions, true
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
	r.log.Debug("took over", zap.Int("journal_entries", entries))
	return c, nil
}

func (r *runner) newCommitter(journal *stream.Journal) *committer {
	c := &committer{
		client: r.app.client, journal: journal, group: r.app.topology.app, partition: r.task.Partition(), guarantee: r.app.cfg.Guarantee,
		inputs: r.sub.plan.Inputs, internal: make(map[string]bool), external: make(map[string]*deliverer), log: r.log,
	}
	if r.sub.sendsDeadLetters() {
		c.letters = r.app.topology.deadLetters.Name
	}
	for _, sink := range r.sub.plan.Sinks {
		if sink.Internal {
			c.internal[sink.Topic.Name] = true
		}
	}
	for _, v := range r.sub.vertices {
		if v.kind == kindDeliver {
			c.external[externalTopic(v.name)] = &deliverer{vertex: v, client: c.client, letters: r.app.topology.deadLetters, log: r.log}
		}
	}
	return c
}
