package engine

// Expose keeps a view of a store under the store's name, for whoever asks the task. The engine does nothing with it. A later view of that name takes
// the place of an earlier one; nil takes it away.
func (t *Task) Expose(store string, view any) {
	if t.views == nil {
		t.views = make(map[string]any)
	}
	t.views[store] = view
	if view == nil {
		delete(t.views, store)
	}
}

// Exposed returns the views of the task's stores. They may be used where the task may be used.
func (t *Task) Exposed() map[string]any { return t.views }
