package processor

import (
	"time"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// Record is one value on its way through a topology.
type Record[V any] struct {
	// Key decides the partition. Keyed operators (joins, alarms, repartitioning) refuse an empty one.
	Key   string
	Value V
	// Time is the event time: when it happened, not when it arrived. Precision is a nanosecond, range 1970 to 2262.
	Time time.Time
	// Headers travel with the record; nil means none. They must not be changed, only replaced. W3C trace context (traceparent,
	// tracestate, baggage) travels so too: through repartitioning, to what an aggregation emits OnUpdate, and to what a join makes of
	// its left record. What an aggregation emits OnClose has the trace context, and nothing else, of the record that has moved stream time to the
	// window's close, of whatever key. None is ever made up.
	Headers stream.Headers
	// Window is the window of a windowed result; the zero value means that there is none.
	Window Window
}

// Window is the span of event time that a windowed result speaks of.
type Window struct {
	Start, End time.Time
	// Closes is the window's end plus grace: once stream time has passed it, no further result for this window follows.
	Closes time.Time
}

// With returns a record with another value and the same key, time, headers and window.
func With[V, O any](r Record[V], value O) Record[O] {
	return Record[O]{Key: r.Key, Value: value, Time: r.Time, Headers: r.Headers, Window: r.Window}
}

func fromNanos(ns int64) time.Time { return time.Unix(0, ns).UTC() }

func windowFromEngine(w engine.Window3) Window {
	if w == (engine.Window3{}) {
		return Window{}
	}
	return Window{Start: fromNanos(w.Start), End: fromNanos(w.End), Closes: fromNanos(w.Closes)}
}

func windowToEngine(w Window) engine.Window3 {
	if w == (Window{}) {
		return engine.Window3{}
	}
	return engine.Window3{Start: w.Start.UnixNano(), End: w.End.UnixNano(), Closes: w.Closes.UnixNano()}
}
