package engine

// changer is whatever a record changes: a store, timers, the batches of the outbox. It keeps what is needed to take its changes
// back, youngest last.
type changer interface {
	undo()   // takes the youngest change back
	forget() // the changes so far are there to stay
}

// Mark is a moment in the work on one record or timer. It is good until that work ends.
type Mark struct {
	changes int
	outbox  extent
	doom    func()
}

// Mark returns the present moment, for Rollback.
func (t *Task) Mark() Mark {
	return Mark{changes: len(t.changes), outbox: t.outbox.extent(), doom: t.doom}
}

// Rollback takes back every change of stores and timers, and every record sent, since m: what was done leaves no trace.
func (t *Task) Rollback(m Mark) {
	for i := len(t.changes) - 1; i >= m.changes; i-- {
		t.changes[i].undo()
		t.changes[i] = nil
	}
	t.changes = t.changes[:m.changes]
	t.outbox.cut(m.outbox)
	t.doom = m.doom
}

// note remembers that c has changed, and has kept how to take it back.
func (t *Task) note(c changer) { t.changes = append(t.changes, c) }

// keep makes all changes so far final.
func (t *Task) keep() {
	if len(t.changes) == 0 {
		return
	}
	for i, c := range t.changes {
		c.forget()
		t.changes[i] = nil
	}
	t.changes = t.changes[:0]
}

// Doom gives the record in hand up: once its processing has ended, all that it has done is taken back, in every operator, and
// then is called in its place. The first one counts.
func (t *Task) Doom(then func()) {
	if t.doom == nil {
		t.doom = then
	}
}

// Doomed reports whether the record in hand has been given up.
func (t *Task) Doomed() bool { return t.doom != nil }

// settle ends the work on the record in hand.
func (t *Task) settle() {
	if then := t.doom; then != nil {
		t.Rollback(Mark{outbox: t.outbox.before})
		then()
	}
	t.keep()
}

// begin starts the work on a record.
func (t *Task) begin(r *Raw) {
	t.keep()
	t.current = r
	t.outbox.before = t.outbox.extent()
}

// Stop ends the task with err: nothing more is processed, nor committed.
func (t *Task) Stop(err error) {
	if t.err == nil {
		t.err = err
	}
}
