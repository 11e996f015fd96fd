package engine

import "iter"

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

// Keys yields the keys of a store from a key on, without decoding values; some twice. last says that none of those to come is lower: a store on disk
// has most of its keys in order. Others do not, and yield lower ones than from as well. A key is good until the next one.
func (s *KeyValue[V]) Keys(from string) iter.Seq2[[]byte, bool] {
	return func(yield func([]byte, bool) bool) {
		for key, e := range s.hot {
			if !e.dead && !s.over(e.at) && !s.inBase(e) && !yield([]byte(key), false) {
				return
			}
		}
		rows, ordered := s.base.all(), false
		if s.disk != nil && s.ttl == 0 {
			rows, ordered = s.disk.from([]byte(from)), true
		}
		for key, row := range rows {
			e, ok := s.hot[string(key)]
			if ok && (e.dead || s.over(e.at)) || !ok && s.over(row.at) {
				continue
			}
			if !yield(key, ordered) {
				return
			}
		}
	}
}

// Keys yields the keys of which there are rows, in no particular order.
func (s *Window[V]) Keys() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, ref := range s.index.all() {
			if !yield(string(s.keyOf(nil, ref))) {
				return
			}
		}
	}
}
