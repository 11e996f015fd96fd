package engine

// heapOf is a heap of values, lowest first: what container/heap is, without a call through an interface for each comparison. Each has
// four below it, so that fewer lines of memory are read.
type heapOf[T ordered[T]] []T

// ordered is what has an order.
type ordered[T any] interface{ before(other T) bool }

func (h *heapOf[T]) push(v T) {
	*h = append(*h, v)
	s := *h
	i := len(s) - 1
	for i > 0 {
		above := (i - 1) / 4
		if !v.before(s[above]) {
			break
		}
		s[i] = s[above]
		i = above
	}
	s[i] = v
}

// pop takes the lowest out; there is one.
func (h *heapOf[T]) pop() T {
	s := *h
	lowest, last := s[0], len(s)-1
	v := s[last]
	var none T
	s[last] = none
	*h = s[:last]
	if last > 0 {
		s[:last].sink(0, v)
	}
	return lowest
}

// order makes a heap of any slice.
func (h heapOf[T]) order() {
	for i := (len(h) - 2) / 4; i >= 0; i-- {
		if i < len(h) {
			h.sink(i, h[i])
		}
	}
}

// sink puts v where it belongs, at i or below.
func (h heapOf[T]) sink(i int, v T) {
	for {
		first := 4*i + 1
		if first >= len(h) {
			break
		}
		low := first
		for j := first + 1; j < min(first+4, len(h)); j++ {
			if h[j].before(h[low]) {
				low = j
			}
		}
		if !h[low].before(v) {
			break
		}
		h[i] = h[low]
		i = low
	}
	h[i] = v
}
