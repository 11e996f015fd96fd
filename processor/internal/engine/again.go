package engine

import "slices"

// Rewire makes the operators of a task anew around the stores that there are, for a task that has been run to its end in order (everything is
// committed and delivered) and is to follow another owner, or to run again. It reports false if the operators have not asked for the same
// stores: then the task must not be used any more.
func (t *Task) Rewire() bool {
	t.former = t.stores
	t.stores, t.views, t.calls.names = nil, nil, nil
	t.current, t.world = nil, idleWorld()
	for i := range t.inputs {
		in := &t.inputs[i]
		*in = input{Input: in.Input, next: in.next, index: in.index, seen: in.seen}
	}
	t.plan.Wire(t)
	same := slices.Equal(t.former, t.stores)
	t.former = nil
	return same
}

// formerStore returns the store of that name that Rewire has found.
func formerStore[S store](t *Task, name string) (found S, ok bool) {
	for _, s := range t.former {
		if s.Name() == name {
			found, ok = s.(S)
			return found, ok
		}
	}
	return found, false
}

// Head returns the place in the journal of the newest commit that the task has, 0 if there is none.
func (t *Task) Head() uint64 { return t.journal.lastSeq() }

// Fence returns a commit by which a new owner fences the former one: as Commit with force, but nothing rides along, so that it may be withdrawn.
func (t *Task) Fence(owner string) (*Commit, error) {
	before := t.journal
	bare := !slices.ContainsFunc(t.stores, store.isDirty)
	t.fencing = true
	c, err := t.Commit(owner, true)
	t.fencing = false
	if c != nil && bare {
		c.before = &before
	}
	return c, err
}

// Withdraw takes back a commit of Fence that the journal has not taken, so that the task can go on reading where it was. It reports false if the
// commit holds state: then the task must not be used any more.
func (t *Task) Withdraw(c *Commit) bool {
	if c.before == nil {
		return false
	}
	n := len(c.before.commits)
	c.before.commits = t.journal.commits[:n]
	t.journal = *c.before
	if t.disk != nil {
		t.disk.batch = c.disk.batch
	}
	return true
}
