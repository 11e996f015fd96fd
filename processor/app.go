package processor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/processor/internal/disk"
	"github.com/rossby-streams/rossby/stream"
)

// Config says where and how an App runs. The zero value of every field is its default.
type Config struct {
	// Logger is told of what an operator should know: take-overs, redeliveries, skipped records. Nil: nobody is told.
	Logger *zap.Logger
	// Bounded says that the input is complete: Run reads every topic to its end, closes every window, delivers what comes of
	// it and returns nil. It takes all tasks over and shares them with nobody. The default is to run until the context ends.
	Bounded bool
	// Instance is a static name for this instance among those that share the app: one that comes back under it within SessionTimeout
	// gets again the tasks that it had, and nothing moves meanwhile. Empty: a name of its own for each Run, and a clean stop hands
	// over at once.
	Instance string
	// SessionTimeout is after how much silence the other instances take over the tasks of this one. 0: stream.DefaultSessionTimeout.
	SessionTimeout time.Duration
	// Standby makes this instance follow tasks that others run, so that it goes on at once when one of them dies, however large its state: each task
	// is followed by a second instance, of those with Standby. It costs the memory, or the room on disk, of another copy. Instances with and
	// without it may share an app, so it can be turned on or off by restarting one after the other.
	Standby bool
	// Guarantee is what becomes of results when an instance dies. The default is ExactlyOnce. It may be changed from one run to the next.
	Guarantee Guarantee
	// Queries makes this instance answer what others ask of the stores of its tasks: see Query.
	Queries bool
	// OnTask is told when this instance begins to follow, restore or run a task and when it has ended, and how a restore goes on, or a copy that is
	// behind, about once a second, and when a copy is behind no more. It is called by the goroutine of the task, or of many at once, which waits for it: it must return soon. nil: nobody is told.
	OnTask func(TaskStats)
	// StopTimeout is how long the calls of user functions that are under way, the last commits and their delivery may take in all, once Run
	// has been asked to stop or a task has failed. Run then returns within a few seconds, whoever does not answer: the server or a user
	// function (*BlockedError). 0: 10 s.
	StopTimeout time.Duration
	// StateDir is the folder of the database for stores on disk (see Medium); it is created when it is missing. One process at a time
	// can use it, with one App. It is needed if the topology has such a store, and not used otherwise. There is no default.
	StateDir string
	// StateMemory is how much memory stores on disk take, all together, in bytes: a quarter for values used lately, divided evenly among
	// them, a quarter for what the database has read, half for what it has not written yet. 0: 256 MiB.
	StateMemory int64
}

// App runs a topology. It is made by NewApp and run once.
type App struct {
	client   *stream.Client
	topology *Topology
	cfg      Config
	owner    string
	globals  map[string]any // by topic; set by Run
	running  sync.Map       // every *runner that has not ended
	state    *disk.DB       // nil: no store is on disk; set by Run
	evolved  *evolution     // set by Run
	gate     gate
	filled   atomic.Pointer[globals] // nil: Run has not begun to fill them
	taken    sync.Map                // task to *atomic.Uint64: how often it was taken over
	service  *stream.Service         // nil: nobody asks; set by Run
}

// NewApp returns an app that runs t through client. It starts nothing.
func NewApp(client *stream.Client, t *Topology, cfg Config) *App {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.StopTimeout <= 0 {
		cfg.StopTimeout = stopTimeout
	}
	return &App{client: client, topology: t, cfg: cfg, owner: rand.Text()}
}

// Run creates the topics that are missing and joins the other instances of the app. It restores the tasks that fall to it, and
// processes records until ctx ends; then it commits, delivers, leaves and returns nil. It returns an error when a record fails
// under the policy Stop, when somebody takes tasks over who has not joined (stream.ErrFenced), when a topic differs from its declaration
// or vanishes, when retention has overtaken a position or a topic was made anew (but see Stream.OnOffsetGone), when state is lost
// (*StateLostError), or when the topology cannot go on with the state that an earlier one has left (*EvolutionError, *NoteLostError). A user function that does not return in time after ctx has ended is a
// *BlockedError: Run returns without it, and its goroutine ends when it does. Whatever ends it, a new Run goes on where the last
// commit was, as if nothing had happened.
func (a *App) Run(ctx context.Context) (err error) {
	globals, err := a.prepare(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // asked to stop before it had begun
		}
		return fmt.Errorf("app %s: %w", a.topology.app, err)
	}
	defer globals.close()
	a.globals = globals.rows
	if err := a.openState(); err != nil {
		return fmt.Errorf("app %s: %w", a.topology.app, err)
	}
	defer func() { err = errors.Join(err, a.closeState()) }()
	if err := a.openDesks(); err != nil {
		return fmt.Errorf("app %s: %w", a.topology.app, err)
	}
	defer a.closeDesks()
	// Commits outlive ctx: being asked to stop is no reason to lose what has been processed.
	commits, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	defer giveUp(nil)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	run := a.share
	if a.cfg.Bounded {
		run = a.drain
	}
	g := newGroup(a.topology.tasks(), a.cfg.StopTimeout, func() { giveUp(errTimeUp) })
	g.start(nil, func() error { return globals.watch(ctx) })
	g.start(nil, func() error { return a.keepLag(ctx) })
	if err := run(ctx, commits, cancel, g); err != nil {
		return fmt.Errorf("app %s: %w", a.topology.app, err)
	}
	return nil
}

// share runs the tasks that fall to this instance.
func (a *App) share(ctx, commits context.Context, cancel context.CancelCauseFunc, g *group) error {
	in := newInstance(ctx, commits, a, g)
	err := in.join(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = nil // asked to stop before it had begun
		}
		cancel(err)
	} else {
		defer in.leave()
	}
	return errors.Join(err, g.wait(ctx, cancel))
}

// drain runs all tasks until there is nothing more to do.
func (a *App) drain(ctx, commits context.Context, cancel context.CancelCauseFunc, g *group) error {
	leave, err := a.appear(ctx, g)
	if err != nil {
		if ctx.Err() != nil {
			err = nil // asked to stop before it had begun
		}
		cancel(err)
		return errors.Join(err, g.wait(ctx, cancel))
	}
	defer leave()
	began := make(chan *runner, a.topology.tasks())
	begin := func(r *runner) {
		r.began = func() { began <- r }
		g.start(r, func() error { return r.runLabelled(ctx, commits) })
	}
	g.over = func(r *runner, err error) error {
		if r.entered || !errors.Is(err, stream.ErrFenced) && !errors.Is(err, stream.ErrTrimmed) || ctx.Err() != nil {
			return err
		}
		// Its owner is still at work, or what that one had on its way when it died has come now. The next one reads until there is next to nothing left, so
		// that it is in time.
		r.log.Info("the last owner has committed or trimmed while the task was taken over; it is taken over again", zap.Error(err))
		a.running.Delete(r)
		next := newRunner(a, r.sub, r.task.Partition())
		next.warm = sync.OnceFunc(func() { close(next.owned) })
		begin(next)
		return nil
	}
	for _, r := range a.runners() {
		close(r.owned)
		begin(r)
	}
	g.start(nil, func() error {
		err := drain(ctx, began, a.topology.tasks())
		if ctx.Err() != nil {
			err = nil // asked to stop, or a task has failed and says why
		}
		cancel(nil)
		return err
	})
	return g.wait(ctx, cancel)
}

// appear lets those who reset the app see a bounded run, which is none of the instances that share tasks.
func (a *App) appear(ctx context.Context, g *group) (leave func(), err error) {
	failed := make(chan error, 1)
	member, err := a.client.Join(ctx, stream.MembershipConfig{
		Name: boundedRuns(a.topology.app), SessionTimeout: a.cfg.SessionTimeout,
		Assigned: func([]stream.Claim) {}, Revoke: func([]string) {}, Lost: func([]string) {},
		Failed: func(err error) { failed <- err },
	})
	if err != nil {
		return nil, fmt.Errorf("say that the app runs: %w", err)
	}
	g.start(nil, func() error {
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	})
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
		defer cancel()
		member.Leave(ctx)
	}, nil
}

// prepare makes the topics and fills the global tables.
func (a *App) prepare(ctx context.Context) (*globals, error) {
	var err error
	if a.evolved, err = a.evolve(ctx); err != nil {
		return nil, err
	}
	if err := a.createTopics(ctx); err != nil {
		return nil, err
	}
	if err := a.evolved.enrol(ctx); err != nil {
		return nil, err
	}
	return a.openGlobals(ctx)
}

// createTopics makes every topic of the topology that does not exist yet.
func (a *App) createTopics(ctx context.Context) error {
	done := make(map[string]bool)
	for _, spec := range a.topology.topics() {
		if done[spec.Name] {
			continue
		}
		done[spec.Name] = true
		if err := a.client.CreateTopic(ctx, spec); err != nil {
			return err
		}
	}
	return nil
}

// topics lists all topics that the topology reads or writes; some more than once.
func (t *Topology) topics() []stream.TopicSpec {
	var specs []stream.TopicSpec
	for _, v := range t.globals {
		specs = append(specs, v.topic)
	}
	for _, sub := range t.subs {
		for _, in := range sub.plan.Inputs {
			specs = append(specs, in.Topic)
		}
		for _, out := range sub.plan.Sinks {
			if out.External || out.Topic.Name == t.deadLetters.Name && !t.sendsDeadLetters() {
				continue
			}
			specs = append(specs, out.Topic)
		}
	}
	return specs
}

func (a *App) runners() []*runner {
	var runners []*runner
	for _, sub := range a.topology.subs {
		for p := range sub.partitions {
			runners = append(runners, newRunner(a, sub, p))
		}
	}
	return runners
}

// tasks returns how many tasks the topology has.
func (t *Topology) tasks() int {
	n := 0
	for _, sub := range t.subs {
		n += sub.partitions
	}
	return n
}
