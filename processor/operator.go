package processor

import (
	"fmt"
	"runtime/debug"

	"github.com/rossby-streams/rossby/processor/internal/engine"
)

// operator is a vertex in one task: where its failures go.
type operator struct {
	task *engine.Task
	name string
}

func (v *vertex) operator(w *wiring) *operator {
	name := string(v.kind)
	if v.name != "" {
		name += " " + v.name
	}
	return &operator{task: w.task, name: name + " (" + v.at + ")"}
}

func (o *operator) fail(err error) { o.task.Fail(o.name, err) }

// PanicError is the error of a record on which a user function panicked.
type PanicError struct {
	Value any    // what the function panicked with
	Stack []byte // of the goroutine at that moment
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// guard calls a user function with one record. A panic becomes a failure of that record, at that operator; ok is false.
func guard[A, B any](o *operator, f func(A) B, a A) (b B, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			o.fail(&PanicError{Value: p, Stack: debug.Stack()})
			ok = false
		}
	}()
	return f(a), true
}
