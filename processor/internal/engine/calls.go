package engine

import "sync/atomic"

// calls says which operator's user function is running, for somebody who wants to know from outside why a task does not come to
// an end. Entering the operator that is noted already costs nothing but a look.
type calls struct {
	at    atomic.Int32 // rank of the operator, from 1 on; 0: none
	depth int
	names []string // of the operators; does not change once they are made
}

// Operator registers the name of an operator and returns its rank, for Enter. It is called by Plan.Wire.
func (t *Task) Operator(name string) int32 {
	t.calls.names = append(t.calls.names, name)
	return int32(len(t.calls.names))
}

// Enter notes that a user function of an operator is about to be called; what it returns is for Leave.
func (t *Task) Enter(operator int32) (outer int32) {
	c := &t.calls
	if outer = c.at.Load(); outer != operator {
		c.at.Store(operator)
	}
	c.depth++
	return outer
}

// Leave notes that the function has returned to the one that it was called in, if any.
func (t *Task) Leave(outer int32) {
	c := &t.calls
	if c.depth--; c.depth > 0 {
		c.at.Store(outer)
	}
}

// Rest notes that no user function runs. Without it, Calling names the last one.
func (t *Task) Rest() { t.calls.at.Store(0) }

// Calling returns the operator whose function has been entered last, or "" after Rest. It may be called from any goroutine once
// the task is made.
func (t *Task) Calling() string {
	if at := t.calls.at.Load(); at > 0 {
		return t.calls.names[at-1]
	}
	return ""
}
