package join

import "github.com/rossby-streams/rossby/processor"

// Limit bounds how many right records a result of CollectUpTo carries. The first ones by time are kept.
type Limit[R any] struct {
	// Rows is how many at most. 0: any number.
	Rows int
	// Bytes is how large they may be together, as Size says. 0: of any size.
	Bytes int
	// Size gives the size of a right record in bytes. Required with Bytes.
	Size func(R) int
}

// Some are the right records of a window, up to a Limit, and how many there are beyond it.
type Some[R any] struct {
	// Rows are the first records of the window. Never nil; to be read, not changed.
	Rows []R
	// More is how many records of the window are not among Rows.
	More int
}

// CollectUpTo is Collect with a bound on what one result carries: joiner gets the first right records of the window and the number of
// those that were left out. A window that fills without end does not make results that no topic takes. Of the rows themselves the
// join keeps all: they belong to several windows.
func CollectUpTo[L, R, V any](left processor.Upstream[L], right processor.Upstream[R], c Collecting[R], joiner func(L, Some[R]) V) Result[L, R, V] {
	limit := c.Limit
	switch {
	case joiner == nil:
		report(left, right, "CollectUpTo %s: the joiner is nil", c.Window.Name)
	case limit.Rows < 0 || limit.Bytes < 0:
		report(left, right, "CollectUpTo %s: a limit must be zero or more, got %d rows and %d bytes", c.Window.Name, limit.Rows, limit.Bytes)
	case limit.Bytes > 0 && limit.Size == nil:
		report(left, right, "CollectUpTo %s: a limit in bytes needs the Size of a right record", c.Window.Name)
	}
	return Collect(left, right, c.Window, func(l L, rows []R) V {
		n := limit.fits(rows)
		return joiner(l, Some[R]{Rows: rows[:n:n], More: len(rows) - n})
	})
}

// Collecting is what CollectUpTo does: a window and a limit.
type Collecting[R any] struct {
	Window Window
	Limit  Limit[R]
}

// fits returns how many of the rows are within the limit.
func (l Limit[R]) fits(rows []R) int {
	n := len(rows)
	if l.Rows > 0 {
		n = min(n, l.Rows)
	}
	if l.Bytes == 0 {
		return n
	}
	size := 0
	for i := range n {
		if size += l.Size(rows[i]); size > l.Bytes {
			return i
		}
	}
	return n
}
