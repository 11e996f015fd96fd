package engine

// SessionRow is what a store of sessions keeps of a session, at the time of its end.
type SessionRow[V any] struct {
	Start int64 `json:"s"` // in nanoseconds
	Value V     `json:"v"`
}

// Version is what a versioned store keeps: a value, or a deletion, and since when it counts.
type Version[V any] struct {
	From  int64 `json:"f"` // in nanoseconds
	Value V     `json:"v"`
	Dead  bool  `json:"d,omitzero"`
}
