package engine

import "iter"

// RowStore is a store of rows per key, ordered by event time: in memory (Window) or on disk (DiskWindow).
type RowStore[V any] interface {
	// Add appends a row, unless it is older than the retention allows; it reports whether it did.
	Add(key string, at int64, value V) bool
	// Set replaces the value of a row; it reports whether the row is there.
	Set(id RowID, value V) bool
	// Remove deletes a row; it is no error if it is not there.
	Remove(id RowID)
	// Range yields the rows of key with from <= time <= to, in order of time, then of arrival. The store must not be changed meanwhile,
	// but for Set on a row that has been yielded.
	Range(key string, from, to int64) iter.Seq2[RowID, V]
	// Rows returns the values that Range yields as one slice, which is the caller's; nil if there are none.
	Rows(key string, from, to int64) []V
	// Count returns how many rows Range yields.
	Count(key string, from, to int64) int
	// Last returns the value that Range yields last, without visiting the others; ok is false if there is none.
	Last(key string, from, to int64) (value V, ok bool)
	// Len returns the number of rows that have not been dropped yet.
	Len() int
	// Keys yields the keys of which there are rows, in no particular order, and perhaps some more than once or of which there are none any more.
	Keys() iter.Seq[string]
}

// RowID names one row of a RowStore.
type RowID struct {
	Key string
	At  int64
	Seq uint64
}
