package engine

import (
	"iter"
	"slices"
)

// keyExpiry remembers which keys have rows in which slice of time, so that dropping costs O(1) per row, not a scan.
type keyExpiry struct {
	slice  int64 // length of a slice
	keys   map[int64]map[string]struct{}
	queue  []int64 // slices in use, ascending
	served string  // the last (key, slice) noted: most rows come in runs
	in     int64
}

func newKeyExpiry(retention int64) keyExpiry {
	return keyExpiry{slice: max(retention/16, 1), keys: make(map[int64]map[string]struct{}), in: NoTime}
}

func (e *keyExpiry) note(key string, at int64) {
	slice := at / e.slice
	if slice == e.in && key == e.served {
		return
	}
	e.served, e.in = key, slice
	keys, ok := e.keys[slice]
	if !ok {
		keys = make(map[string]struct{})
		e.keys[slice] = keys
		i, _ := slices.BinarySearch(e.queue, slice)
		e.queue = slices.Insert(e.queue, i, slice)
	}
	keys[key] = struct{}{}
}

// before yields, and forgets, the keys that have been noted in slices of time that are over at horizon.
func (e *keyExpiry) before(horizon int64) iter.Seq[string] {
	return func(yield func(string) bool) {
		for len(e.queue) > 0 && e.queue[0] < horizon/e.slice {
			slice := e.queue[0]
			e.queue = e.queue[1:]
			keys := e.keys[slice]
			delete(e.keys, slice)
			e.in = NoTime
			for key := range keys {
				if !yield(key) {
					return
				}
			}
		}
	}
}

// horizon is the lowest time that is kept at now.
func horizon(now, retention int64) int64 {
	if now == NoTime || now < NoTime+retention {
		return NoTime
	}
	return now - retention
}
