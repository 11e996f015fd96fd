package engine

// StoreSize is what a store, or the timers of an operator, hold.
type StoreSize struct {
	Name  string
	Rows  int
	Bytes int // of the rows that have been committed, as the journal has them
}

// StoreSizes returns what each store holds, in the order in which they were made. It costs O(1) per store.
func (t *Task) StoreSizes() []StoreSize {
	sizes := make([]StoreSize, len(t.stores))
	for i, s := range t.stores {
		sizes[i] = StoreSize{Name: s.Name(), Rows: s.rowCount(), Bytes: s.liveBytes()}
	}
	return sizes
}

func (s *KeyValue[V]) rowCount() int { return s.Len() }
func (s *Window[V]) rowCount() int   { return s.Len() }
func (s *Timers) rowCount() int      { return s.rows.rows } // with those whose cancellation waits for a commit
