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
	// Rows are the first records of the window. Never nil; the joiner may keep and change them.
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
	return collectJoin(left, right, c.Window, collectVerb[L, R, V]{name: "CollectUpTo", joiner: func(l L, rights found[R]) V {
		return joiner(l, rights.some(limit))
	}})
}

// Collecting is what CollectUpTo does: a window and a limit.
type Collecting[R any] struct {
	Window Window
	Limit  Limit[R]
}

// some takes out no more than the limit allows, and counts the rest.
func (f found[R]) some(limit Limit[R]) Some[R] {
	s := Some[R]{Rows: []R{}, More: f.rows.Count(f.key, f.w.Start, f.w.End)}
	most := s.More
	if limit.Rows > 0 {
		most = min(most, limit.Rows)
	}
	if most == 0 {
		return s
	}
	size := 0
	for _, r := range f.rows.Range(f.key, f.w.Start, f.w.End) {
		if limit.Bytes > 0 {
			if size += limit.Size(r); size > limit.Bytes {
				break
			}
		}
		if s.Rows = append(s.Rows, r); len(s.Rows) == most {
			break
		}
	}
	s.More -= len(s.Rows)
	return s
}
