package engine

import "sync/atomic"

// calls says which operator's user function is running, for somebody who wants to know from outside why a task does not come to
// an end. Entering the operator that is noted already costs nothing but a look.
type calls struct {
	at    atomic.Pointer[string]
	depth int
}

// Enter notes that a user function of the named operator is about to be called; what it returns is for Leave.
func (t *Task) Enter(operator *string) (outer *string) {
	c := &t.calls
	if outer = c.at.Load(); outer != operator {
		c.at.Store(operator)
	}
	c.depth++
	return outer
}

// Leave notes that the function has returned to the one that it was called in, if any.
func (t *Task) Leave(outer *string) {
	c := &t.calls
	if c.depth--; c.depth > 0 {
		c.at.Store(outer)
	}
}

// Rest notes that no user function runs. Without it, Calling names the last one.
func (t *Task) Rest() { t.calls.at.Store(nil) }

// Calling returns the operator whose function has been entered last, or nil after Rest. It may be called from any goroutine.
func (t *Task) Calling() *string { return t.calls.at.Load() }
