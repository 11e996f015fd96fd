package processor

import "time"

// calendar returns the day, week or month that holds an event time.
func (w Windows) calendar(at int64) span {
	t := time.Unix(0, at).In(w.place())
	n := 0
	start := w.boundary(t, n)
	for start.UnixNano() > at { // a clock that was set back over midnight
		n--
		start = w.boundary(t, n)
	}
	end := w.boundary(t, n+1)
	for end.UnixNano() <= at {
		n++
		start, end = end, w.boundary(t, n+1)
	}
	return span{start.UnixNano(), end.UnixNano()}
}

func (w Windows) place() *time.Location {
	if w.loc == nil {
		return time.UTC
	}
	return w.loc
}

// boundary returns the start of the day, week or month of t, n further on.
func (w Windows) boundary(t time.Time, n int) time.Time {
	year, month, day := t.Date()
	switch w.kind {
	case weekly:
		back := (int(t.Weekday()) - int(w.first) + 7) % 7
		return midnight(year, month, day-back+7*n, t.Location())
	case monthly:
		return midnight(year, month+time.Month(n), 1, t.Location())
	default:
		return midnight(year, month, day+n, t.Location())
	}
}

// midnight returns the first instant of a day. Where clocks are set forward at midnight, the day begins when they have been.
func midnight(year int, month time.Month, day int, loc *time.Location) time.Time {
	t := time.Date(year, month, day, 0, 0, 0, 0, loc)
	noon := time.Date(year, month, day, 12, 0, 0, 0, loc)
	if t.Day() != noon.Day() { // there is no midnight, and t is on the day before
		_, t = t.ZoneBounds()
	}
	return t
}
