package processor

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// TaskState is what an instance does with a task.
type TaskState string

const (
	// TaskFollowing keeps a copy of the state of a task that another instance runs.
	TaskFollowing TaskState = "following"
	// TaskRestoring reads what is missing of the state, fences the last owner, and delivers what that one has not.
	TaskRestoring TaskState = "restoring"
	// TaskRunning processes records.
	TaskRunning TaskState = "running"
	// TaskEnded is only told to Config.OnTask: the instance has nothing to do with the task any more.
	TaskEnded TaskState = "ended"
)

// Wait is why a task processes nothing at the moment.
type Wait string

const (
	// WaitNone: it does.
	WaitNone Wait = ""
	// WaitRecords: it has processed, committed and delivered all that has come. Only this is idleness.
	WaitRecords Wait = "records"
	// WaitInput: an input has more that has not come yet, or has to be asked whether it has. Records of other inputs wait, so that all are
	// processed by their time. TaskStats.WaitsFor is the topic.
	WaitInput Wait = "input"
	// WaitCommit: the commit in flight is being stored, or its records in their topics; there is nothing else to do, or as much has been processed
	// since as may be.
	WaitCommit Wait = "commit"
	// WaitDelivery: as WaitCommit, but the records are with a function of Stream.Deliver, or have the pause before it is called again.
	// TaskStats.WaitsFor is the operator.
	WaitDelivery Wait = "delivery"
	// WaitRetry: a record has failed and has its pause before another attempt. TaskStats.WaitsFor is the operator.
	WaitRetry Wait = "retry"
	// WaitResume: the app is paused.
	WaitResume Wait = "resume"
	// WaitConnection: the client has no connection to a server, so it is not known what there is to do.
	WaitConnection Wait = "connection"
	// WaitOwnership: the task is another instance's, or still has to be taken by this one.
	WaitOwnership Wait = "ownership"
	// WaitRestore: the state is being restored, and what the last owner has left is being delivered.
	WaitRestore Wait = "restore"
)

// TaskStats is what an instance knows of one of its tasks. Counts are of this instance since it began to run the task.
type TaskStats struct {
	// SubTopology and Partition name the task.
	SubTopology string
	Partition   int
	// State is what is done with it here, and Since is since when.
	State TaskState
	Since time.Time
	// Wait is why it processes nothing, and WaitsFor which topic or operator it waits for, if it is one.
	Wait     Wait
	WaitsFor string
	// StreamTime is the largest event time that the task has seen; zero: none yet.
	StreamTime time.Time
	// Inputs are its partitions.
	Inputs []InputStats
	// Records is how many records have been processed. Failures is how many attempts have failed that were tried again, and Skipped how many
	// records were skipped in the end. Late is how many came after all their windows had closed, in an aggregate or a join.
	Records, Failures, Skipped, Late uint64
	// Commits is how many commits have been stored and delivered, with how many Bytes in the journal and how many Produced records, of which
	// so many were DeadLetters.
	Commits, Bytes, Produced, DeadLetters uint64
	// Processing is how long slices of up to 512 records took, Storing how long a commit took to be stored in the journal, and Delivering how long
	// its records then took to be stored in their topics.
	Processing, Storing, Delivering Latencies
	// Restored is how many entries of the journal have been read, and ToRestore how many there are still to read: how far a restore has come, or how
	// far a copy is behind the task's owner.
	Restored, ToRestore uint64
	// TakeOvers is how often this App has taken the task over, and Redelivered how many records of its former owner had to be published, or
	// handed over, then.
	TakeOvers, Redelivered uint64
	// JournalCommits is how many commits the journal holds that are not trimmed yet, and JournalBytes how large they are: what a restore reads, but
	// for what a store on disk has already.
	JournalCommits, JournalBytes int
	// Err is why the task has ended; nil: it was asked to. Only Config.OnTask is told.
	Err error
}

// InputStats is how far a task has come in a partition of a topic.
type InputStats struct {
	Topic string
	// Next is the offset of the first message that has not been processed.
	Next uint64
	// Lag is how many messages are known to be there from Next on. Messages of repartition topics hold many records each. While the task runs it is as
	// of the last message that has come; while another instance runs it, it is restored, or it has more waiting than fits its memory, the server
	// is asked, every 5 seconds. Client.Committed asks it at any time, for all partitions.
	Lag uint64
}

// Stats returns what the tasks of this instance do, by sub-topology and partition. It may be called at any time, and costs the tasks
// next to nothing. See StoreStats for what they hold.
func (a *App) Stats() []TaskStats {
	var stats []TaskStats
	for key := range a.running.Range {
		stats = append(stats, key.(*runner).snapshot())
	}
	slices.SortFunc(stats, func(a, b TaskStats) int {
		return cmp.Or(cmp.Compare(a.SubTopology, b.SubTopology), cmp.Compare(a.Partition, b.Partition))
	})
	return stats
}

// gauges are the TaskStats of a runner, for others to see. Its methods are called once per slice, commit or wait, never per record.
type gauges struct {
	mu    sync.Mutex
	s     TaskStats
	asked []stream.GroupOffset // what the server has said of the inputs; zero: it was not asked
}

func (r *runner) snapshot() TaskStats {
	r.gauges.mu.Lock()
	s := r.gauges.s
	s.Inputs = slices.Clone(s.Inputs)
	asked := slices.Clone(r.gauges.asked)
	r.gauges.mu.Unlock()
	for i := range s.Inputs {
		s.Inputs[i].Lag += r.inbox.lag(i)
		if r.isBlind(s.State, i) {
			s.Inputs[i].correct(asked[i])
		}
	}
	if n, ok := r.app.taken.Load(r.task.ID()); ok {
		s.TakeOvers = n.(*atomic.Uint64).Load()
	}
	s.Wait, s.WaitsFor = r.refined(s.Wait, s.WaitsFor)
	return s
}

// lagEvery is how often the server is asked for the lag of tasks that do not know it.
const lagEvery = 5 * time.Second

// keepLag keeps the lag of those tasks right until ctx ends.
func (a *App) keepLag(ctx context.Context) error {
	tick := time.NewTicker(lagEvery)
	defer tick.Stop()
	for {
		for key := range a.running.Range {
			if err := key.(*runner).askLag(ctx); err != nil && ctx.Err() == nil {
				a.cfg.Logger.Debug("the lag of a task is not known", zap.Error(err))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// isBlind reports whether the task does not see what comes in an input.
func (r *runner) isBlind(state TaskState, input int) bool {
	return state != TaskRunning || r.inbox.full(input)
}

// askLag asks the server for the lag that the task does not know.
func (r *runner) askLag(ctx context.Context) error {
	state := r.snapshot().State
	for i := range r.sub.plan.Inputs {
		if !r.isBlind(state, i) {
			continue
		}
		at, err := r.app.client.CommittedAt(ctx, r.sub.plan.Inputs[i].Topic, r.app.topology.app, r.task.Partition())
		if err != nil {
			return err
		}
		r.gauges.mu.Lock()
		r.gauges.asked[i] = at
		r.gauges.mu.Unlock()
	}
	return nil
}

// correct applies what the server has said of a group's position a moment ago; the task may have come further.
func (s *InputStats) correct(asked stream.GroupOffset) {
	if asked.Next == 0 {
		return
	}
	further := max(s.Next, asked.Next) - asked.Next
	s.Next = asked.Next + further
	s.Lag = max(s.Lag, asked.Lag-min(asked.Lag, further))
}

// refined says what a task waits for of which its own goroutine does not know.
func (r *runner) refined(why Wait, what string) (Wait, string) {
	switch why {
	case WaitNone, WaitRetry, WaitResume:
		return why, what
	case WaitCommit, WaitRestore:
		if at := r.commits.delivering(); at != "" {
			return WaitDelivery, at
		}
	}
	if !r.app.client.Connected() {
		return WaitConnection, ""
	}
	return why, what
}

// change changes what others see.
func (r *runner) change(f func(*TaskStats)) {
	r.gauges.mu.Lock()
	defer r.gauges.mu.Unlock()
	f(&r.gauges.s)
}

// enter takes note of another state, and tells who wants to know.
func (r *runner) enter(state TaskState, err error) {
	wait := map[TaskState]Wait{TaskFollowing: WaitOwnership, TaskRestoring: WaitRestore}[state]
	var before TaskStats
	r.change(func(s *TaskStats) {
		before = *s
		s.State, s.Since, s.Wait, s.WaitsFor = state, time.Now(), wait, ""
	})
	r.log.Info("the task is "+string(state), zap.String("was", string(before.State)), zap.Duration("for", time.Since(before.Since)),
		zap.Uint64("restored", before.Restored), zap.Uint64("records", before.Records), zap.Uint64("commits", before.Commits), zap.Error(err))
	r.tell(err)
}

// tookOver takes note of a task that has been taken over.
func (r *runner) tookOver(c *committer) {
	n, _ := r.app.taken.LoadOrStore(r.task.ID(), new(atomic.Uint64))
	n.(*atomic.Uint64).Add(1)
	commits, bytes := r.task.JournalSize()
	r.change(func(s *TaskStats) {
		s.Redelivered = uint64(c.redelivered)
		s.JournalCommits, s.JournalBytes = commits, bytes
	})
}

func (r *runner) tell(err error) {
	if r.app.cfg.OnTask == nil {
		return
	}
	s := r.snapshot()
	s.Err = err
	r.app.cfg.OnTask(s)
}

// waits takes note of why nothing is processed.
func (r *runner) waits(why Wait, topic string) {
	r.change(func(s *TaskStats) { s.Wait, s.WaitsFor = why, topic })
}

// idles says what a task waits for that has nothing to process.
func (r *runner) idles() {
	for i := range r.cleared {
		if r.task.Hungry(i) && r.inbox.lag(i) > 0 || r.blocks(i) {
			r.waits(WaitInput, r.sub.plan.Inputs[i].Topic.Name)
			return
		}
	}
	if r.commits.inFlight {
		r.waits(WaitCommit, "")
		return
	}
	r.waits(WaitRecords, "")
}

// blocks reports whether records of other inputs wait for those of this one.
func (r *runner) blocks(input int) bool {
	if !r.task.Hungry(input) || r.cleared[input] {
		return false
	}
	for other := range r.cleared {
		if !r.task.Hungry(other) {
			return true
		}
	}
	return false
}

// worked takes note of a slice.
func (r *runner) didWork(records int, took time.Duration) {
	now := r.task.StreamTime()
	r.change(func(s *TaskStats) {
		s.Wait, s.WaitsFor = WaitNone, ""
		if now != engine.NoTime {
			s.StreamTime = fromNanos(now)
		}
		for i := range s.Inputs {
			s.Inputs[i].Next, s.Inputs[i].Lag = r.task.Progress(i)
		}
		if records > 0 {
			s.Records += uint64(records)
			s.Processing.add(took)
		}
		s.Late = r.task.Late()
	})
}

// didCommit takes note of a commit that is stored and delivered.
func (r *runner) didCommit(res result) {
	commits, bytes := r.task.JournalSize()
	r.change(func(s *TaskStats) {
		s.JournalCommits, s.JournalBytes = commits, bytes
		s.Commits++
		s.Bytes += uint64(res.bytes)
		s.Produced += uint64(res.produced)
		s.DeadLetters += uint64(res.letters)
		s.Storing.add(res.stored)
		s.Delivering.add(res.delivered)
	})
}

// restoreNews is how often progress of a restore, or of a copy that is behind, is told.
const restoreNews = time.Second

// restoring counts an entry of the journal.
func (r *runner) restoring(e stream.Entry) {
	news := false
	r.change(func(s *TaskStats) {
		s.Restored++
		s.ToRestore = e.Pending
		if s.State != TaskRestoring && e.Pending == 0 {
			return // it keeps up
		}
		if now := time.Now(); now.Sub(r.told) >= restoreNews {
			r.told, news = now, true
		}
	})
	if news {
		s := r.snapshot()
		r.log.Info("restoring", zap.String("state", string(s.State)), zap.Uint64("entries", s.Restored), zap.Uint64("left", s.ToRestore))
		r.tell(nil)
	}
}

// latencyBounds are the upper bounds of the buckets of Latencies.
var latencyBounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
	5 * time.Second, 10 * time.Second,
}

// Latencies is a histogram of durations. The zero value is empty.
type Latencies struct {
	Count   uint64
	Sum     time.Duration
	buckets [len(latencyBounds)]uint64
}

// Buckets returns, for some durations, how many were not longer.
func (l Latencies) Buckets() map[time.Duration]uint64 {
	buckets := make(map[time.Duration]uint64, len(latencyBounds))
	n := uint64(0)
	for i, bound := range latencyBounds {
		n += l.buckets[i]
		buckets[bound] = n
	}
	return buckets
}

func (l *Latencies) add(d time.Duration) {
	l.Count++
	l.Sum += d
	if i, _ := slices.BinarySearch(latencyBounds[:], d); i < len(latencyBounds) {
		l.buckets[i]++
	}
}
