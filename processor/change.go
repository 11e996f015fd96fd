package processor

// Change is an update of something that has one current value: a row of a table, the aggregate of a key and window. At least one of the
// two is set.
type Change[V any] struct {
	// Old is the value until now; nil when there was none.
	Old *V `json:"old,omitzero"`
	// New is the value from now on; nil when there is none any more: a deleted row, a session that was merged into another.
	New *V `json:"new,omitzero"`
}
