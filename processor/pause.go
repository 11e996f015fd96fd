package processor

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Pause makes the tasks of this instance stop taking records and firing timers. It returns when all of them have come to rest, with
// what they had processed committed and delivered, or when ctx ends; then they come to rest later: a record whose user function is
// running, or that waits for another attempt, is finished first.
//
// A paused instance stays a member of the app and keeps its tasks. It hands over what others are to have, and what falls to it
// meanwhile begins paused. Its copies of other instances' tasks, and global tables, stay up to date. Other instances go on: pause each
// of them to pause the app. A pause belongs to this App in this process and is not stored: the next one begins unpaused, unless Pause
// is called before Run. A bounded app ends when it has been resumed. To pause or resume twice is to do it once.
func (a *App) Pause(ctx context.Context) error {
	a.gate.close()
	a.pokeTasks()
	if left := a.gate.await(ctx); left > 0 {
		return fmt.Errorf("pause app %s: %d tasks have not come to rest yet; they will, unless Resume is called: %w", a.topology.app, left, ctx.Err())
	}
	return nil
}

// Resume makes the tasks of this instance go on where Pause has stopped them.
func (a *App) Resume() {
	a.gate.open()
	a.pokeTasks()
}

// Paused reports whether the app was asked to pause, and has not been resumed.
func (a *App) Paused() bool { return a.gate.shut.Load() }

// pokeTasks lets tasks that wait see that the gate has moved.
func (a *App) pokeTasks() {
	for key := range a.running.Range {
		key.(*runner).inbox.poke()
	}
}

// gate is what the tasks of an app pass to take records. The zero value is open.
type gate struct {
	shut atomic.Bool // written with the mutex held
	mu   sync.Mutex
	busy int             // tasks that have passed and not left
	idle []chan struct{} // closed when none is busy
}

// enter reports whether a task may take records; it leaves again if so.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut.Load() {
		return false
	}
	g.busy++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy--; g.busy > 0 {
		return
	}
	for _, c := range g.idle {
		close(c)
	}
	g.idle = nil
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut.Store(true)
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut.Store(false)
}

// await returns when no task is busy, with 0, or when ctx ends, with how many are.
func (g *gate) await(ctx context.Context) int {
	g.mu.Lock()
	if g.busy == 0 {
		g.mu.Unlock()
		return 0
	}
	idle := make(chan struct{})
	g.idle = append(g.idle, idle)
	g.mu.Unlock()
	select {
	case <-idle:
		return 0
	case <-ctx.Done():
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.busy
	}
}

// pass lets the task through the gate, or out of it again. It reports whether the task is through.
func (r *runner) pass(want bool) bool {
	switch {
	case want && !r.passed:
		r.passed = r.app.gate.enter()
	case !want && r.passed:
		r.passed = false
		r.app.gate.leave()
	}
	return r.passed
}

// rest brings the task to rest while the app is paused, and returns when it has been resumed or ctx ends.
func (r *runner) rest(ctx context.Context) error {
	if err := r.quieten(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	r.pass(false)
	r.waits(WaitResume, "")
	for ctx.Err() == nil && !r.pass(true) {
		select {
		case <-ctx.Done():
		case res := <-r.commits.results:
			if err := r.settled(res); err != nil {
				return err
			}
		case <-r.inbox.wake:
		case do := <-r.control:
			do()
		}
		if r.desk.isAsked() && !r.commits.inFlight {
			if err := r.commit(false); err != nil {
				return err
			}
		}
	}
	r.active = time.Now() // paused is not idle
	return nil
}

// quieten commits and delivers all that has been processed, and notes that it is, unless ctx ends before.
func (r *runner) quieten(ctx context.Context) error {
	if err := r.settleOr(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	for _, force := range []bool{false, true} {
		if force && r.task.Settled() {
			break
		}
		if err := r.commit(force); err != nil {
			return err
		}
		if err := r.settleOr(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// settleOr waits for the commit in flight, if there is one, as long as nobody asks the task to stop.
func (r *runner) settleOr(ctx context.Context) error {
	if !r.commits.inFlight {
		return nil
	}
	r.waits(WaitCommit, "")
	select {
	case res := <-r.commits.results:
		return r.settled(res)
	case <-ctx.Done():
		return nil
	}
}
