package join

import "github.com/rossby-streams/rossby/processor"

// AsOf joins each left record with the latest right record that is not later than it: the one with the greatest time r for which
// t - Before <= r <= t, of equal ones the last to arrive; joiner gets nil where there is none. It emits once for each left record,
// when stream time has passed t + Grace, so that right records that come out of order by no more than Grace are seen. The result has
// the left record's key, time, headers and window.
//
// w.Before is how far back a right record counts, and how long it is kept. Within and After must be zero, and so must Emit.
func AsOf[L, R, V any](left processor.Upstream[L], right processor.Upstream[R], w Window, joiner func(L, *R) V) Result[L, R, V] {
	switch {
	case joiner == nil:
		report(left, right, "AsOf %s: the joiner is nil", w.Name)
	case w.Within != 0 || w.After != 0:
		report(left, right, "AsOf %s: it looks back only: give the window Before and no After", w.Name)
	case w.Emit != OnClose:
		report(left, right, "AsOf %s: what was the latest is known when the window has closed, so leave Emit at zero", w.Name)
	}
	return collectJoin(left, right, w, collectVerb[L, R, V]{name: "AsOf", joiner: func(l L, rights found[R]) V {
		if r, ok := rights.last(); ok {
			return joiner(l, &r)
		}
		return joiner(l, nil)
	}})
}

func (f found[R]) last() (R, bool) { return f.rows.Last(f.key, f.w.Start, f.w.End) }
