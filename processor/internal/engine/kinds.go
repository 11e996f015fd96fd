package engine

// StoreKind is the name of a store, or of the timers of an operator, and what kind of rows it has.
type StoreKind struct {
	Name string
	Kind string // empty: not known
}

// StoreKinds returns the kinds of all stores, in the order in which they were made.
func (t *Task) StoreKinds() []StoreKind {
	kinds := make([]StoreKind, len(t.stores))
	for i, s := range t.stores {
		kinds[i].Name = s.Name()
		if k, ok := s.(interface{ kind() string }); ok {
			kinds[i].Kind = k.kind()
		}
	}
	return kinds
}

func (s *KeyValue[V]) kind() string { return "key-value" }
func (s *Window[V]) kind() string   { return "window" }
func (s *Timers) kind() string      { return "timer" }
