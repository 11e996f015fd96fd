package join

import (
	"fmt"
	"math"
	"time"

	"github.com/rossby-streams/rossby/processor"
)

// Emit says when results are emitted.
type Emit int

const (
	// OnClose emits once, when the result is complete: its window has closed. It is the default of joins that wait.
	OnClose Emit = iota
	// OnUpdate emits at once with what is there, and again whenever more arrives, so that nobody has to wait.
	OnUpdate
)

// Window says which records of two streams belong together: a left record at time t and the right records from t - Before to t +
// After, both ends included.
type Window struct {
	// Name is the name of the join, unique in the topology. State is kept under it. Required.
	Name string
	// Within sets Before and After to the same span. Use either Within or the two.
	Within time.Duration
	// Before and After may be negative as long as their sum is not: After: -time.Minute means at least a minute earlier.
	Before, After time.Duration
	// Grace is how much out of order records may come, in event time, and still be joined. Zero: a record is late as soon as
	// stream time has passed its window.
	Grace time.Duration
	// Emit is when Collect emits, and when Left and Outer speak of a record without a partner. Inner emits each pair as soon as it has
	// both, Absence knows when the window closes; it must be left at zero there.
	Emit Emit
	// MaxRows bounds how many records the join keeps for one partition, of both sides together. One that comes when there are so many
	// is a failed record, with ErrFull: it is not joined, and under the policy DeadLetter it waits for a Redrive. Records are let go
	// as stream time moves, in steps of a sixteenth of Before + After + Grace. 0: as many as come.
	MaxRows int
	// Keep is where the records are kept. Zero: see processor.Builder.KeepState.
	Keep processor.Medium
}

// bounds is a checked window.
type bounds struct {
	before, after, grace time.Duration
	maxRows              int // 0: any number
}

// longest is the longest span that a window may cover: sums of spans must stay far from overflow.
const longest = time.Duration(math.MaxInt64 / 8)

// check returns the bounds of w. What is wrong with it, or with the streams, is reported to their topology; ok is false if
// there is none.
func check[L, R any](left processor.Upstream[L], right processor.Upstream[R], w Window, verb string) (b bounds, ok bool) {
	if !present(left, right, verb, w.Name) {
		return bounds{}, false
	}
	if w.Emit != OnClose && w.Emit != OnUpdate {
		report(left, right, "%s %s: Emit must be OnClose or OnUpdate, got %d", verb, w.Name, w.Emit)
	}
	if w.MaxRows < 0 {
		report(left, right, "%s %s: MaxRows must be zero or more, got %d", verb, w.Name, w.MaxRows)
	}
	b = bounds{before: w.Before, after: w.After, grace: w.Grace, maxRows: w.MaxRows}
	if w.Within != 0 {
		if w.Before != 0 || w.After != 0 {
			report(left, right, "%s %s: give the window either Within or Before and After", verb, w.Name)
		}
		b.before, b.after = w.Within, w.Within
	}
	for _, d := range []time.Duration{b.before, b.after, b.grace} {
		if d > longest || d < -longest {
			report(left, right, "%s %s: spans may be up to %v, got %v", verb, w.Name, longest, d)
			return bounds{}, true
		}
	}
	if b.before+b.after < 0 {
		report(left, right, "%s %s: the window ends before it starts: Before %v and After %v must be zero or more together",
			verb, w.Name, b.before, b.after)
	}
	if b.grace < 0 {
		report(left, right, "%s %s: the grace must be zero or more, got %v", verb, w.Name, b.grace)
	}
	return b, true
}

// describe says what the rows and timers of a join mean: they are of no use to one that says another thing.
func (b bounds) describe(verb string, emit Emit) string {
	when := "on close"
	if emit == OnUpdate {
		when = "on update"
	}
	return fmt.Sprintf("%s, from %v before to %v after, grace %v, emitted %s", verb, b.before, b.after, b.grace, when)
}

// openLeft and openRight are how far stream time may pass a left or right row without closing its window. A window that ends
// before its row, which a negative bound makes, counts as ending with it: a row that comes in order is never late.
func (b bounds) openLeft() time.Duration  { return max(b.after, 0) + b.grace }
func (b bounds) openRight() time.Duration { return max(b.before, 0) + b.grace }

// retention is how long a row may still find a partner, and one instant more: the timer that closes a window runs with stream
// time just behind it.
func (b bounds) retention() time.Duration { return max(b.before, 0) + max(b.after, 0) + b.grace + 1 }

// lateLeft reports whether the window of a left row at t has closed (departure D2).
func (b bounds) lateLeft(t, streamTime time.Time) bool { return t.Add(b.openLeft()).Before(streamTime) }

// lateRight reports whether the windows of all left rows that a right row at t could meet have closed (departure D2).
func (b bounds) lateRight(t, streamTime time.Time) bool {
	return t.Add(b.openRight()).Before(streamTime)
}

// window is the window of a left row at t (departure D8: it travels in the record).
func (b bounds) window(t time.Time) processor.Window {
	return processor.Window{Start: t.Add(-b.before), End: t.Add(b.after), Closes: t.Add(b.openLeft())}
}

// closes is the time of the timer that finds the window of a left row at t closed: the first instant behind it.
func (b bounds) closes(t time.Time) time.Time { return t.Add(b.openLeft() + 1) }

// opened is the time of the left rows whose window closes at that timer.
func (b bounds) opened(timer time.Time) time.Time { return timer.Add(-(b.openLeft() + 1)) }

// windowOfRight is where the left rows that a right row at t could meet lie.
func (b bounds) windowOfRight(t time.Time) processor.Window {
	return processor.Window{Start: t.Add(-b.after), End: t.Add(b.before), Closes: t.Add(b.openRight())}
}

// knownAfterLeft and knownAfterRight are how long after a left or right row's time it is known, in stream time, that it has no partner
// (departure D3): the first instant behind the window and its grace. Where a bound is below zero that may be before the row itself;
// then it is known at once.
func (b bounds) knownAfterLeft() time.Duration  { return b.after + b.grace + 1 }
func (b bounds) knownAfterRight() time.Duration { return b.before + b.grace + 1 }
