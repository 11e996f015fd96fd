package processor

import (
	"fmt"
	"runtime/debug"

	"github.com/rossby-streams/rossby/processor/internal/engine"
)

// operator is a vertex in one task: whose functions are called, and where its failures go.
type operator struct {
	task   *engine.Task
	sub    *subTopology
	name   string
	policy policy
	rank   int32 // among those whose functions the task calls
}

func (v *vertex) operator(w *wiring) *operator {
	name := v.place()
	return &operator{task: w.task, sub: w.sub, name: name, policy: *v.policy, rank: w.task.Operator(name)}
}

// place names a vertex with file and line.
func (v *vertex) place() string { return v.label() + " (" + v.at + ")" }

// label names a vertex for people, without its place.
func (v *vertex) label() string {
	if v.name == "" {
		return string(v.kind)
	}
	return string(v.kind) + " " + v.name
}

// PanicError is the error of a record on which a user function panicked.
type PanicError struct {
	Value any    // what the function panicked with
	Stack []byte // of the goroutine at that moment
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap gives the error that the function panicked with, if it was one.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

func recoverInto(err *error) {
	if p := recover(); p != nil {
		*err = &PanicError{Value: p, Stack: debug.Stack()}
	}
}

// infallible makes a user function that cannot fail one that may.
func infallible[A, B any](f func(A) B) func(A) (B, error) {
	return func(a A) (B, error) { return f(a), nil }
}

// guard calls a user function with one record, as often as the policy says. ok is false if that has failed: then what it has
// done is taken back, and the policy has been applied.
func guard[A, B any](o *operator, f func(A) (B, error), a A) (b B, ok bool) {
	b, tries, err := persist(o, f, a)
	if err == nil {
		return b, true
	}
	o.fail(err, tries)
	return b, false
}

// persist calls f until it succeeds or the policy has it no more. What a failed call has done is taken back.
func persist[A, B any](o *operator, f func(A) (B, error), a A) (b B, tries int, err error) {
	mark := o.task.Mark()
	for tries = 1; ; tries++ {
		if b, err = attempt(o, f, a); err == nil || isPartial(err) {
			return b, tries, err
		}
		o.task.Rollback(mark)
		if !o.again(err, tries) {
			return b, tries, err
		}
	}
}

func attempt[A, B any](o *operator, f func(A) (B, error), a A) (b B, err error) {
	outer := o.task.Enter(o.rank)
	defer o.leave(outer, &err)
	return f(a)
}

// leave ends a call. A panic is a failure of the record, at this operator.
func (o *operator) leave(outer int32, err *error) {
	o.task.Leave(outer)
	if p := recover(); p != nil {
		*err = &PanicError{Value: p, Stack: debug.Stack()}
	}
}

// again waits for the next attempt; it reports false if there is none.
func (o *operator) again(err error, tries int) bool {
	if !o.policy.retry || tries >= o.policy.attempts || o.task.Doomed() {
		return false
	}
	f := engine.Failure{Operator: o.name, Err: err, Record: o.task.Current(), Tries: tries}
	if !o.task.World().Pause(f, o.policy.pause(tries)) {
		o.task.Stop(engine.ErrInterrupted)
		return false
	}
	return true
}

// fail applies the policy to the record in hand, or to the timer that fires.
func (o *operator) fail(err error, tries int) {
	f := engine.Failure{Operator: o.name, Err: err, Record: o.task.Current(), Tries: tries, Partial: isPartial(err)}
	switch {
	case o.policy.then == Stop:
		o.task.Stop(stopError(f))
	case o.policy.then == Skip:
		o.task.World().Skipped(f)
	case f.Record == nil || f.Partial:
		o.sub.sendDeadLetter(o.task, f)
	default:
		o.task.Doom(func() { o.sub.sendDeadLetter(o.task, f) })
	}
}

// partialError is an error that does not fail the record.
type partialError struct{ err error }

func (e *partialError) Error() string { return e.err.Error() }
func (e *partialError) Unwrap() error { return e.err }

func isPartial(err error) bool {
	_, ok := any(err).(*partialError) // what Partial has returned, and not an error that has it inside
	return ok
}

// Partial makes err, as the result of a Handler's function, speak of a part of its work only: what the call has done stays, is
// not tried again, and the policy is applied to err alone. Under DeadLetter there is a letter, which Redrive passes over, since
// the rest of the record has been processed. Joins use it for the pairs on which their joiner fails. It gives nil for nil.
func Partial(err error) error {
	if err == nil {
		return nil
	}
	return &partialError{err}
}
