package engine

import (
	"iter"
	"slices"
)

// timeline remembers what may be over, and when it is to be looked at: in slices of time, so that dropping costs O(1) per row, not a
// scan. Whatever has rows is noted in the slice of its oldest row or in an earlier one; some of it more than once, or although it has no
// rows any more, until its owner makes a new timeline since there is too much of that.
type timeline[T any] struct {
	slice int64 // length of a slice
	notes map[int64][]T
	queue []int64 // slices in use, ascending
	count int
}

// sliceParts is how many slices of time there are in a retention.
const sliceParts = 16

func newTimeline[T any](retention int64) timeline[T] {
	return timeline[T]{slice: max(retention/sliceParts, 1), notes: make(map[int64][]T)}
}

func (l *timeline[T]) sliceOf(at int64) int64 { return floorDiv(at, l.slice) }

func (l *timeline[T]) note(v T, at int64) {
	slice := l.sliceOf(at)
	notes, ok := l.notes[slice]
	if !ok {
		i, _ := slices.BinarySearch(l.queue, slice)
		l.queue = slices.Insert(l.queue, i, slice)
	}
	l.notes[slice] = append(notes, v)
	l.count++
}

// before yields, and forgets, what has been noted in slices before keep.
func (l *timeline[T]) before(keep int64) iter.Seq[T] {
	return func(yield func(T) bool) {
		for len(l.queue) > 0 && l.queue[0] < keep {
			slice := l.queue[0]
			l.queue = slices.Delete(l.queue, 0, 1)
			notes := l.notes[slice]
			delete(l.notes, slice)
			l.count -= len(notes)
			for _, v := range notes {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// isCrowded reports whether there are many more notes than things to note.
func (l *timeline[T]) isCrowded(things int) bool { return l.count > 2*things+1024 }

// reset forgets all notes.
func (l *timeline[T]) reset() {
	if l.count > 0 {
		clear(l.notes)
		l.queue, l.count = l.queue[:0], 0
	}
}

// horizon is the lowest time that is kept at now.
func horizon(now, retention int64) int64 {
	if now == NoTime || now < NoTime+retention {
		return NoTime
	}
	return now - retention
}

// floorDiv is a/b, rounded down, for b > 0.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a < 0 && q*b != a {
		q--
	}
	return q
}
