package processor

import (
	"fmt"
	"iter"
	"time"
)

// Windows says into which windows an aggregation divides time. Make one with Tumbling, Hopping, Sliding, Session, Daily, Weekly or
// Monthly. The zero value is no windows: one aggregate for each key, for ever.
type Windows struct {
	kind      windowKind
	size      time.Duration // of tumbling, hopping and sliding windows, the gap of sessions
	advance   time.Duration // of hopping and tumbling windows
	maxLength time.Duration // of sessions; 0: none
	loc       *time.Location
	first     time.Weekday
}

type windowKind uint8

const (
	noWindows windowKind = iota
	hopping
	sliding
	session
	daily
	weekly
	monthly
)

// Tumbling divides time into windows of that size that follow on one another: [0, size), [size, 2*size) and so on from 1970-01-01
// 00:00 UTC. The start belongs to the window, the end does not.
func Tumbling(size time.Duration) Windows { return Windows{kind: hopping, size: size, advance: size} }

// Hopping divides time into windows of that size of which one starts every advance: a record belongs to size/advance windows. They
// are aligned as those of Tumbling. advance is more than zero and not more than size.
func Hopping(size, advance time.Duration) Windows {
	return Windows{kind: hopping, size: size, advance: advance}
}

// Sliding looks at all records that are at most difference apart. A record at t belongs to the window [t-difference, t] that ends with
// it and to those that began with an earlier record; both ends belong to a window. There is one window for each distinct set of
// records, as in Kafka Streams, and event times count in whole milliseconds, as there.
func Sliding(difference time.Duration) Windows { return Windows{kind: sliding, size: difference} }

// Session puts records of one key together that follow one another after no more than gap. A session starts with its first record and
// ends with its last one; both belong to it. A record between two sessions makes them one.
func Session(gap time.Duration) Windows { return Windows{kind: session, size: gap} }

// MaxLength keeps sessions from growing longer than d, from the first record to the last one: a record that would make its session
// longer begins another, although no gap lies between. One between two sessions joins the earlier one if it can, else the later. d of
// zero is no limit.
func (w Windows) MaxLength(d time.Duration) Windows {
	w.maxLength = d
	return w
}

// Daily divides time into the days of a place: from midnight to midnight, 23 or 25 hours where clocks are changed. nil is UTC.
func Daily(loc *time.Location) Windows { return Windows{kind: daily, loc: loc} }

// Weekly divides time into the weeks of a place, each from midnight of that weekday on. nil is UTC.
func Weekly(loc *time.Location, first time.Weekday) Windows {
	return Windows{kind: weekly, loc: loc, first: first}
}

// Monthly divides time into the months of a place. nil is UTC.
func Monthly(loc *time.Location) Windows { return Windows{kind: monthly, loc: loc} }

// longestWindow keeps sums of spans far from overflow.
const longestWindow = 100 * 366 * 24 * time.Hour

// problems returns what is wrong with the windows and their grace.
func (w Windows) problems(grace time.Duration) []string {
	var p []string
	add := func(format string, args ...any) { p = append(p, fmt.Sprintf(format, args...)) }
	span := func(name string, d, least time.Duration) {
		if d < least || d > longestWindow {
			add("%s must be from %v to %v, got %v", name, least, longestWindow, d)
		}
	}
	span("the grace", grace, 0)
	switch w.kind {
	case hopping:
		span("the size of the windows", w.size, 1)
		if w.advance <= 0 || w.advance > w.size {
			add("the advance of the windows must be more than zero and not more than their size of %v, got %v", w.size, w.advance)
		}
	case sliding:
		span("the difference of sliding windows", w.size, 0)
		if w.size%time.Millisecond != 0 {
			add("the difference of sliding windows must be whole milliseconds, got %v", w.size)
		}
	case session:
		span("the gap of sessions", w.size, 0)
	case weekly:
		if w.first < time.Sunday || w.first > time.Saturday {
			add("the first day of the week must be a weekday, got %d", w.first)
		}
	case noWindows:
		if grace != 0 {
			add("without windows nothing is late: leave Grace at zero")
		}
	}
	if w.maxLength != 0 && w.kind != session {
		add("MaxLength is for sessions")
	}
	if w.maxLength < 0 {
		add("MaxLength must be zero or more, got %v", w.maxLength)
	}
	return p
}

// longest returns the length that no window exceeds.
func (w Windows) longest() time.Duration {
	switch w.kind {
	case daily:
		return 25 * time.Hour
	case weekly:
		return 7*24*time.Hour + time.Hour
	case monthly:
		return 31*24*time.Hour + time.Hour
	}
	return w.size
}

// span is a window [start, end) in nanoseconds since 1970.
type span struct{ start, end int64 }

// spans yields the windows that hold an event time, by their start (rule 8). They are those of tumbling, hopping and calendar windows.
func (w Windows) spans(at int64) iter.Seq[span] {
	return func(yield func(span) bool) {
		if w.kind != hopping {
			yield(w.calendar(at))
			return
		}
		size, advance := int64(w.size), int64(w.advance)
		for start := max(0, at-size+advance) / advance * advance; start <= at; start += advance {
			if !yield(span{start, start + size}) {
				return
			}
		}
	}
}

// endingAt returns the window that ends there.
func (w Windows) endingAt(end int64) span {
	if w.kind == hopping {
		return span{end - int64(w.size), end}
	}
	return w.calendar(end - 1)
}
