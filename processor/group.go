package processor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync"
	"time"
)

// BlockedError says that a user function had not returned when an app had to stop. Go cannot end it: its goroutine stays until the
// function returns, and commits nothing then.
type BlockedError struct {
	Task     string // sub-topology and partition
	Operator string // whose function it is, with file and line
	Stack    string // of the task's goroutine, one call a line, innermost first
	Timeout  time.Duration
}

// Error names the operator and where it hangs.
func (e *BlockedError) Error() string {
	return fmt.Sprintf("task %s: a function of %s has not returned for %v after the app was asked to stop; make it return when the app's context ends, or raise Config.StopTimeout; it is at: %s",
		e.Task, e.Operator, e.Timeout, strings.ReplaceAll(strings.TrimSpace(e.Stack), "\n", " < "))
}

// errTimeUp is why the last commits end when the app has not stopped within Config.StopTimeout.
var errTimeUp = errors.New("the time to stop is over")

// stopGrace is how long what has been told that the time to stop is over may take to end.
const stopGrace = 2 * time.Second

// group is the goroutines of an app, and what has become of them.
type group struct {
	timeout time.Duration
	giveUp  func() // ends what outlives the request to stop
	ended   chan ending
	running map[*runner]bool
	others  int
	todo    *todo
	// over, if set, is told of the end of a task, and says which error ends the app.
	over func(*runner, error) error
}

// ending is the end of a goroutine: of a task, or of what goes on beside them.
type ending struct {
	r   *runner // nil: no task
	err error
}

// beside is how many goroutines there are at most that belong to no task.
const beside = 8

// newGroup returns a group for that many tasks at a time, with as much about each.
func newGroup(tasks int, timeout time.Duration, giveUp func()) *group {
	return &group{timeout: timeout, giveUp: giveUp, ended: make(chan ending, 2*tasks+beside), running: make(map[*runner]bool, tasks), todo: newTodo()}
}

// start calls f in a goroutine of its own.
func (g *group) start(r *runner, f func() error) {
	if r == nil {
		g.others++
	} else {
		g.running[r] = true
	}
	go func() { g.ended <- ending{r, f()} }()
}

// wait does what is to do, and returns when all have ended, or when a user function keeps one from ending. The first error ends the
// others.
func (g *group) wait(ctx context.Context, cancel context.CancelCauseFunc) error {
	var errs []error
	var look <-chan time.Time
	var asked time.Time
	stop := ctx.Done()
	for len(g.running) > 0 || g.others > 0 {
		select {
		case e := <-g.ended:
			if e.r == nil {
				g.others--
			}
			delete(g.running, e.r)
			if e.r != nil && g.over != nil {
				e.err = g.over(e.r, e.err)
			}
			if e.err != nil {
				errs = append(errs, e.err)
				cancel(e.err)
			}
		case <-g.todo.wake:
			for _, do := range g.todo.take() {
				do()
			}
		case <-stop:
			stop, asked = nil, time.Now()
			tick := time.NewTicker(max(min(g.timeout, stopGrace)/4, time.Millisecond))
			defer tick.Stop()
			look = tick.C
		case <-look:
			if time.Since(asked) >= g.timeout {
				g.giveUp()
			}
			if blocked := g.blocked(time.Since(asked)); len(blocked) > 0 {
				return errors.Join(append(errs, blocked...)...)
			}
		}
	}
	return errors.Join(errs...)
}

// blocked returns what keeps the tasks from ending, if all that are left are kept: in a function of an operator once the timeout is
// over, anywhere else a little later, since that was told to give up only then.
func (g *group) blocked(since time.Duration) []error {
	var found []error
	for r := range g.running {
		at, in := r.task.Calling(), inLoop
		switch {
		case at != "" && since > g.timeout:
		case since > g.timeout+stopGrace:
			if at = r.commits.delivering(); at != "" {
				in = inDelivery
			} else {
				at = "no operator (the values of a store, or the client)"
			}
		default:
			return nil
		}
		found = append(found, &BlockedError{Task: r.task.ID(), Operator: at, Timeout: since.Round(time.Millisecond), Stack: stackOf(r.label(), in)})
	}
	return found
}

// taskLabel is the profiler label that names the task of a goroutine.
const taskLabel = "rossby_task"

// runLabelled runs a task so that its goroutine can be found.
func (r *runner) runLabelled(ctx, commits context.Context) (err error) {
	r.app.running.Store(r, nil)
	pprof.Do(ctx, pprof.Labels(taskLabel, r.label()), func(ctx context.Context) { err = r.run(ctx, commits) })
	return err
}

func (r *runner) label() string { return r.app.topology.app + "/" + r.task.ID() }

// What the goroutines of a task that may be blocked have among their calls: its own, and that of its committer.
const (
	inLoop     = "processor.(*runner).loop"
	inDelivery = "processor.(*deliverer).deliver"
)

// stackOf returns the calls of a goroutine of the task, innermost first.
func stackOf(task, in string) string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return "unknown: " + err.Error()
	}
	label := fmt.Sprintf("%q:%q", taskLabel, task)
	for _, goroutine := range strings.Split(profile.String(), "\n\n") {
		if !strings.Contains(goroutine, label) || !strings.Contains(goroutine, in) {
			continue
		}
		var calls strings.Builder
		for _, line := range strings.Split(goroutine, "\n") {
			fields := strings.Fields(line) // "#", address, function+offset, file:line
			if len(fields) == 4 && fields[0] == "#" {
				function, _, _ := strings.Cut(fields[2], "+0x")
				calls.WriteString(function + " (" + fields[3] + ")\n")
			}
		}
		return calls.String()
	}
	return "unknown: the goroutine has ended meanwhile"
}

// todo is what others want the goroutine in wait to do. They never wait for it.
type todo struct {
	mu   sync.Mutex
	jobs []func()
	wake chan struct{}
}

func newTodo() *todo { return &todo{wake: make(chan struct{}, 1)} }

func (t *todo) add(do func()) {
	t.mu.Lock()
	t.jobs = append(t.jobs, do)
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *todo) take() []func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	jobs := t.jobs
	t.jobs = nil
	return jobs
}
