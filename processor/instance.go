package processor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/stream"
)

// instance is one of those that share the tasks of an app. It runs the tasks that the membership gives it, and follows those that are
// to come. All methods but join, leave and release run in the goroutine that is in group.wait.
type instance struct {
	app     *App
	group   *group
	ctx     context.Context // ends when the app is asked to stop
	commits context.Context // ends when it has stopped
	member  *stream.Membership
	places  map[string]place
	tasks   map[string]*share
	copies  map[string]bool // the tasks to follow
}

// place is what a task is about.
type place struct {
	sub       *subTopology
	partition int
}

// share is a task that this instance runs or follows.
type share struct {
	runner     *runner
	stop, kill context.CancelFunc
	owned      bool
	taken      uint64 // by which claim, if it is owned
	ending     bool   // it has been stopped
	lost       bool   // somebody else has it
	release    bool   // it has been asked back
	next       wish   // what to do when it has ended
}

// wish is what this instance is to do with a task.
type wish int

const (
	wishNothing wish = iota
	wishFollow
	wishRun
)

func newInstance(ctx, commits context.Context, a *App, g *group) *instance {
	in := &instance{app: a, group: g, ctx: ctx, commits: commits, places: make(map[string]place), tasks: make(map[string]*share)}
	for _, sub := range a.topology.subs {
		for p := range sub.partitions {
			in.places[sub.plan.TaskID(p)] = place{sub, p}
		}
	}
	g.over = in.over
	return in
}

// join makes this instance a member of those that share the app's tasks.
func (in *instance) join(ctx context.Context) error {
	cfg := stream.MembershipConfig{
		Name: membership(in.app.topology.app), Level: in.app.evolved.level, Member: in.app.cfg.Instance, SessionTimeout: in.app.cfg.SessionTimeout, Standby: in.app.cfg.Standby,
		Assigned: func(claims []stream.Claim) {
			for _, c := range claims {
				in.group.todo.add(func() { in.assigned(c.Item) })
			}
		},
		Revoke: func(items []string) { in.group.todo.add(func() { in.each(items, in.revoked) }) },
		Lost:   func(items []string) { in.group.todo.add(func() { in.each(items, in.lost) }) },
		Follow: func(items []string) { in.group.todo.add(func() { in.follow(items) }) },
		Failed: func(err error) {
			in.group.todo.add(func() { in.group.start(nil, func() error { return err }) })
		},
	}
	for id := range in.places {
		cfg.Items = append(cfg.Items, id)
	}
	member, err := in.app.client.Join(ctx, cfg)
	if err != nil {
		return fmt.Errorf("share the tasks with other instances: %w", err)
	}
	in.member = member
	return nil
}

// leaveTimeout is how long saying goodbye may take.
const leaveTimeout = time.Second

func (in *instance) leave() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(in.ctx), leaveTimeout)
	defer cancel()
	in.member.Leave(ctx)
}

func (in *instance) each(items []string, do func(string)) {
	for _, item := range items {
		do(item)
	}
}

// assigned runs a task, or makes its follower the owner.
func (in *instance) assigned(id string) {
	s := in.tasks[id]
	switch {
	case s == nil:
		in.start(id, wishRun)
	case s.ending:
		s.next = wishRun
	case !s.owned:
		s.owned, s.taken = true, in.member.Taken(id)
		close(s.runner.owned)
	}
}

// revoked stops a task in order, so that another instance can go on with it.
func (in *instance) revoked(id string) {
	if s := in.tasks[id]; s != nil {
		s.runner.log.Info("the task is handed over to another instance")
		s.release, s.next = true, wishNothing
		if in.copies[id] {
			s.next = wishFollow
		}
		s.end()
	} else {
		in.release(id)
	}
}

// lost stops a task that another instance has taken.
func (in *instance) lost(id string) {
	if s := in.tasks[id]; s != nil && s.owned {
		s.lost, s.next = true, wishNothing
		s.end()
		s.kill()
	}
}

// follow is told of all tasks to follow. Those that run here it is to follow when they have been asked back.
func (in *instance) follow(ids []string) {
	in.copies = make(map[string]bool, len(ids))
	for _, id := range ids {
		in.copies[id] = true
		s := in.tasks[id]
		switch {
		case s == nil:
			in.start(id, wishFollow)
		case s.ending && s.next == wishNothing:
			s.next = wishFollow
		}
	}
	for id, s := range in.tasks {
		if in.copies[id] {
			continue
		}
		if s.next == wishFollow {
			s.next = wishNothing
		}
		if !s.owned {
			s.end()
		}
	}
}

func (s *share) end() {
	s.ending = true
	s.stop()
}

// start begins to run or to follow a task. It begins anew: what a runner that has ended here had in memory is not kept (ADR 34).
func (in *instance) start(id string, how wish) {
	if in.ctx.Err() != nil {
		return
	}
	at := in.places[id]
	r := newRunner(in.app, at.sub, at.partition)
	r.warm = func() { in.member.Ready(id) }
	ctx, stop := context.WithCancel(in.ctx)
	commits, kill := context.WithCancel(in.commits)
	s := &share{runner: r, stop: stop, kill: kill, owned: how == wishRun}
	in.tasks[id] = s
	if s.owned {
		s.taken = in.member.Taken(id)
		close(r.owned)
	}
	in.group.start(r, func() error { return r.runLabelled(ctx, commits) })
}

// over is called when a task has ended here.
func (in *instance) over(r *runner, err error) error {
	id := r.task.ID()
	s := in.tasks[id]
	delete(in.tasks, id)
	if in.ctx.Err() == nil {
		in.app.running.Delete(r)
	}
	s.stop()
	s.kill()
	switch {
	case err != nil && s.lost:
		r.log.Info("another instance has this task now; what had not been committed here is processed there", zap.Error(err))
	case errors.Is(err, stream.ErrTrimmed):
		if s.ending { // it is not wanted any more, or else next says so
			break
		}
		s.next = wishFollow
		if s.owned {
			s.next = wishRun
		}
		r.log.Info("the journal was trimmed while it was read; it is read again", zap.Error(err))
	case r.mayGoOn(err):
		if !s.ending {
			s.next = wishRun
		}
	case errors.Is(err, stream.ErrFenced) && !r.entered && !s.ending:
		s.next = wishRun
		r.log.Info("the last owner has committed once more while the task was taken over; it is taken over again", zap.Error(err))
	case errors.Is(err, stream.ErrFenced):
		in.group.start(nil, func() error { return in.fenced(id, s.taken, err) })
	case err != nil:
		return err
	}
	if s.release {
		in.release(id)
	}
	if s.next != wishNothing {
		in.start(id, s.next)
	}
	return nil
}

// fenced tells an owner that the members have agreed on from one that does not care for them. taken is the claim under which the task ran: if there is
// another one now, somebody else has had the task meanwhile, and it begins again with what this instance is told of that.
func (in *instance) fenced(id string, taken uint64, err error) error {
	var lost *stream.ClaimLostError
	if errors.As(in.member.Commit(in.commits, id, 0), &lost) || in.member.Taken(id) != taken {
		return nil
	}
	return err
}

// releaseAgain is the pause before a task is released again when the server could not be reached.
const releaseAgain = 100 * time.Millisecond

// release gives a task back that has ended here.
func (in *instance) release(id string) {
	in.group.start(nil, func() error {
		for in.ctx.Err() == nil {
			err := in.member.Release(in.ctx, id, 0)
			var lost *stream.ClaimLostError
			if err == nil || errors.As(err, &lost) {
				break
			}
			timer := time.NewTimer(releaseAgain)
			select {
			case <-in.ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		}
		return nil
	})
}
