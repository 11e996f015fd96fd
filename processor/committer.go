package processor

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// lease is how long an owner that has just heard from its journal may take for granted that it is still the owner. One that
// has slept longer looks at the journal before it publishes anything.
const lease = 5 * time.Second

// offsetsEvery is how often the group's durable consumers, which people look at, follow the commits.
const offsetsEvery = time.Second

// showTimeout is how long that may take until it is told and tried again.
const showTimeout = 10 * time.Second

// committer makes the commits of one task durable and delivers their outboxes, one at a time, in order. Its methods run in
// the goroutine of the runner until start, then in its own.
type committer struct {
	journal   *stream.Journal
	outbox    *stream.Outbox
	guarantee Guarantee
	internal  map[string]bool // the repartition topics among the sinks
	external  map[string]*deliverer
	log       *zap.Logger
	letters   string // the topic of dead letters; empty: there are none
	shown     *shown

	heard       time.Time // when the journal last confirmed that it is ours
	redelivered int       // records that a former owner had left
}

// job is one commit, and where the journal may be trimmed to by then.
type job struct {
	commit  *engine.Commit // nil: only make sure that the task is ours
	trim    uint64         // 0: not now
	answers []told         // that say what is committed then

	stored, delivered time.Duration // how long that took
}

// result is what became of a job.
type result struct {
	number uint64
	seq    uint64
	err    error

	bytes, produced, letters int           // what it was
	stored, delivered        time.Duration // how long that took
}

// serve works off the jobs until the channel is closed.
func (c *committer) serve(ctx context.Context, jobs <-chan job, results chan<- result) {
	for j := range jobs {
		results <- c.commit(ctx, j)
	}
}

// commit appends, delivers, and lets the rest of the world follow.
func (c *committer) commit(ctx context.Context, j job) result {
	if j.commit == nil {
		return c.confirm(ctx, j.answers)
	}
	steps := [2]func(context.Context, *job) error{c.append, c.deliverCommit}
	if c.guarantee == AtLeastOnce {
		steps = [2]func(context.Context, *job) error{c.deliverCommit, c.append}
	}
	for _, step := range steps {
		if err := step(ctx, &j); err != nil {
			tell(j.answers, err)
			return result{err: err}
		}
	}
	if err := j.commit.Store(c.journal.Head()); err != nil {
		return result{err: err}
	}
	c.shown.set(j.commit.Positions)
	if j.trim > 0 {
		if err := c.journal.Trim(ctx, j.trim); err != nil {
			c.log.Warn("the journal could not be trimmed; it is tried again later", zap.Error(err))
		}
	}
	return result{
		number: j.commit.Number, seq: c.journal.Head(), stored: j.stored, delivered: j.delivered,
		bytes: len(j.commit.Data), produced: len(j.commit.Outbox), letters: c.lettersAmong(j.commit.Outbox),
	}
}

// confirm looks whose the task is, for answers that need no commit.
func (c *committer) confirm(ctx context.Context, answers []told) result {
	err := c.verify(ctx, true)
	tell(answers, err)
	if err != nil {
		return result{err: fmt.Errorf("look whose the task is: %w", err)}
	}
	return result{}
}

func (c *committer) append(ctx context.Context, j *job) error {
	started := time.Now()
	_, err := c.journal.Append(ctx, j.commit.Data)
	tell(j.answers, err)
	j.answers = nil
	if err != nil {
		return fmt.Errorf("commit %d: %w", j.commit.Number, err)
	}
	c.heard = started // when it was asked: the answer may have waited for a machine that slept
	j.stored = time.Since(started)
	return nil
}

func (c *committer) deliverCommit(ctx context.Context, j *job) error {
	started := time.Now()
	if err := c.deliver(ctx, j.commit.Outbox); err != nil {
		return fmt.Errorf("deliver the records of commit %d: %w", j.commit.Number, err)
	}
	j.delivered = time.Since(started)
	return nil
}

// lettersAmong counts dead letters.
func (c *committer) lettersAmong(outbox []stream.Outgoing) (n int) {
	if c.letters == "" {
		return 0
	}
	for i := range outbox {
		if outbox[i].Topic.Name == c.letters {
			n++
		}
	}
	return n
}

// deliver publishes an outbox, and hands over what is for no topic.
func (c *committer) deliver(ctx context.Context, outbox []stream.Outgoing) error {
	outbox, parcels := c.sort(outbox)
	if err := c.outbox.Publish(ctx, outbox); err != nil {
		return err
	}
	return c.handOver(ctx, parcels, c.outbox.Publish)
}

// handOver hands over what is for no topic. publish is for dead letters.
func (c *committer) handOver(ctx context.Context, parcels map[string][]stream.Outgoing, publish func(context.Context, []stream.Outgoing) error) error {
	for name, batch := range parcels {
		if err := c.external[name].deliver(ctx, batch, publish); err != nil {
			return err
		}
	}
	return nil
}

// sort takes out what is for no topic.
func (c *committer) sort(outbox []stream.Outgoing) (topics []stream.Outgoing, parcels map[string][]stream.Outgoing) {
	if len(c.external) == 0 {
		return outbox, nil
	}
	parcels = make(map[string][]stream.Outgoing)
	for _, o := range outbox {
		if c.external[o.Topic.Name] == nil {
			topics = append(topics, o)
		} else {
			parcels[o.Topic.Name] = append(parcels[o.Topic.Name], o)
		}
	}
	return topics, parcels
}

// verify makes sure that the task is still ours, unless that is known and does not have to be sure. It asks both clocks how long ago it was known: the
// monotonic one may stand while the machine sleeps, and the other one may be set.
func (c *committer) verify(ctx context.Context, sure bool) error {
	now := time.Now()
	if ago := now.Round(0).Sub(c.heard.Round(0)); !sure && now.Sub(c.heard) <= lease && 0 <= ago && ago <= lease {
		return nil
	}
	if err := c.journal.Verify(ctx); err != nil {
		return err
	}
	c.heard = now
	return nil
}

// redeliver publishes what a former owner may not have delivered: what its topics do not hold. Readers of repartition topics, and receivers that are
// no topics, know for ever what they have had.
func (c *committer) redeliver(ctx context.Context, u engine.Undelivered, stored time.Time) error {
	outbox, parcels := c.sort(u.Outbox)
	var internal, topics []stream.Outgoing
	for _, o := range outbox {
		if c.internal[o.Topic.Name] {
			internal = append(internal, o)
		} else {
			topics = append(topics, o)
		}
	}
	missing, err := c.outbox.Republish(ctx, topics, stored)
	if err != nil {
		return err
	}
	c.log.Info("redelivering the records of a commit", zap.Uint64("commit", u.Number),
		zap.Int("records", len(u.Outbox)), zap.Int("missing", len(u.Outbox)-len(topics)+missing))
	c.redelivered += len(u.Outbox) - len(topics) + missing
	if err := c.outbox.Publish(ctx, internal); err != nil {
		return err
	}
	return c.handOver(ctx, parcels, func(ctx context.Context, letters []stream.Outgoing) error {
		_, err := c.outbox.Republish(ctx, letters, stored)
		return err
	})
}

// shown lets the group's durables follow the commits, and drops what nobody needs any more from repartition topics. That is for people,
// and to save room: the journal is what counts. So it never keeps a commit waiting, and what fails is told and tried again.
type shown struct {
	client    *stream.Client
	group     string
	partition int
	inputs    []engine.Input
	log       *zap.Logger

	mu        sync.Mutex
	positions []engine.Position // of the last commit; nil: they are shown
}

// set takes note of a commit.
func (s *shown) set(positions []engine.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.positions = positions
}

func (s *shown) take() []engine.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	positions := s.positions
	s.positions = nil
	return positions
}

// restore takes note that positions are not shown, unless there are newer ones.
func (s *shown) restore(positions []engine.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.positions == nil {
		s.positions = positions
	}
}

// serve shows the commits, once in a while, until ctx ends, and the last one within a moment, until last ends.
func (s *shown) serve(ctx, last context.Context) {
	tick := time.NewTicker(offsetsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.tell(s.show(last, leaveTimeout))
			return
		case <-tick.C:
			if err := s.show(ctx, showTimeout); ctx.Err() == nil {
				s.tell(err)
			}
		}
	}
}

func (s *shown) tell(err error) {
	if err != nil {
		s.log.Warn("the group's durable consumer could not follow the last commit; it is tried again", zap.Error(err))
	}
}

func (s *shown) show(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	positions := s.take()
	for i, p := range positions {
		if err := s.showOne(ctx, s.inputs[i].Topic, p); err != nil {
			s.restore(positions)
			return err
		}
	}
	return nil
}

func (s *shown) showOne(ctx context.Context, topic stream.TopicSpec, p engine.Position) error {
	if err := s.client.StoreOffset(ctx, topic, s.group, s.partition, p.Next); err != nil {
		return err
	}
	if !p.Internal {
		return nil
	}
	return s.client.Purge(ctx, topic, s.partition, p.Next)
}
