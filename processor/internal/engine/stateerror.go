package engine

import "fmt"

// StateError says that what a journal holds cannot be restored: it is damaged, written by another version, or made of values that the
// topology's types cannot take. The task does not start, and the journal stays as it is.
type StateError struct {
	Task  string // sub-topology and partition
	Entry uint64 // its place in the journal; 0: not known
	Err   error  // names the store and the key where there is one
}

// Error says what, where and the ways out that are always there.
func (e *StateError) Error() string {
	return fmt.Sprintf("the state of task %s cannot be restored from journal entry %d: %v (run the version that wrote it, restore the journal's stream from a backup, or give the app a new name to begin anew)", e.Task, e.Entry, e.Err)
}

// Unwrap gives the reason.
func (e *StateError) Unwrap() error { return e.Err }

func (t *Task) stateError(seq uint64, err error) error {
	return &StateError{Task: t.ID(), Entry: seq, Err: err}
}

// rowError says in which commit the row is that cannot be read.
type rowError struct {
	home uint64
	err  error
}

func (e *rowError) Error() string { return e.err.Error() }

func (e *rowError) Unwrap() error { return e.err }
