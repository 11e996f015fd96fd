package engine

import (
	"slices"
	"sort"
)

// keyRows are the rows of a key of a DiskWindow that are in memory, in order of (at, seq): all that there are in a span of time, and besides
// those that the database does not have yet.
type keyRows[V any] struct {
	key        string
	rows       []*diskRow[V]
	from, upto int64 // the span, both ends included; none if from > upto
	version    int   // changes when rows come, go or move
	used       bool  // since memory was looked through the last time
}

// diskRow is a row that is in memory.
type diskRow[V any] struct {
	of    *keyRows[V]
	at    int64
	seq   uint64
	value V
	raw   []byte // not nil: the value has not been decoded yet
	home  uint64 // of the last commit that wrote it; 0: one that the database has
	size  int32  // of what was committed of it; 0: there is nothing
	dirty bool   // waits for the next commit
	dead  bool   // deleted
}

func (r *diskRow[V]) isBefore(at int64, seq uint64) bool {
	return r.at < at || r.at == at && r.seq < seq
}

func (k *keyRows[V]) covers(at int64) bool { return k.from <= at && at <= k.upto }

// search returns the place of the first row at or after (at, seq). No row has seq 0.
func (k *keyRows[V]) search(at int64, seq uint64) int {
	n := len(k.rows)
	if n == 0 || k.rows[n-1].isBefore(at, seq) { // the common case: in order
		return n
	}
	return sort.Search(n, func(i int) bool { return !k.rows[i].isBefore(at, seq) })
}

// find returns a row; nil if it is not in memory.
func (k *keyRows[V]) find(at int64, seq uint64) *diskRow[V] {
	i := k.search(at, seq)
	if i == len(k.rows) || k.rows[i].at != at || k.rows[i].seq != seq {
		return nil
	}
	return k.rows[i]
}

func (k *keyRows[V]) insert(r *diskRow[V]) {
	k.rows = slices.Insert(k.rows, k.search(r.at, r.seq), r)
	k.version++
}

// remove takes a row out, if it is there.
func (k *keyRows[V]) remove(r *diskRow[V]) bool {
	i := k.search(r.at, r.seq)
	if i == len(k.rows) || k.rows[i] != r {
		return false
	}
	k.rows = slices.Delete(k.rows, i, i+1)
	k.version++
	return true
}

// adjoins reports whether a span that the one in memory does not overlap begins where that ends, or ends where it begins.
func (k *keyRows[V]) adjoins(from, upto int64) bool {
	if k.from > k.upto {
		return false
	}
	return from < k.from && upto == k.from-1 || from > k.upto && from-1 == k.upto
}

// merge adds rows that the database has. Those that are here already are newer.
func (k *keyRows[V]) merge(rows []*diskRow[V]) (added []*diskRow[V]) {
	added = rows[:0]
	all := make([]*diskRow[V], 0, len(k.rows)+len(rows))
	here := k.rows
	for _, r := range rows {
		for len(here) > 0 && here[0].isBefore(r.at, r.seq) {
			all, here = append(all, here[0]), here[1:]
		}
		if len(here) == 0 || here[0].at != r.at || here[0].seq != r.seq {
			all, added = append(all, r), append(added, r)
		}
	}
	k.rows = append(all, here...)
	k.version++
	return added
}
