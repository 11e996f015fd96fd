package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// output is what has come out of an operator, or stands in a table.
type output struct {
	Key     string
	Value   *string // nil: null
	Time    time.Time
	Window  *[2]time.Time // nil: none
	Headers map[string][]string
}

// place is what has one current value: a key, or a key and a window.
type place struct {
	key        string
	start, end time.Time
}

func (o *output) place() place {
	p := place{key: o.Key}
	if o.Window != nil {
		p.start, p.end = o.Window[0], o.Window[1]
	}
	return p
}

// String shows the output as a file would have it.
func (o *output) String() string {
	var s strings.Builder
	value := Value{Given: true, Null: o.Value == nil}
	if o.Value != nil {
		value.Text = *o.Value
	}
	fmt.Fprintf(&s, "%q: %s @%s", o.Key, value, millis(o.Time))
	if o.Window != nil {
		fmt.Fprintf(&s, " [%s, %s]", millis(o.Window[0]), millis(o.Window[1]))
	}
	if len(o.Headers) > 0 {
		fmt.Fprintf(&s, " %v", o.Headers)
	}
	return s.String()
}

// millis shows a time in milliseconds; what is finer is no time of the format, and shows.
func millis(t time.Time) string {
	at := time.UnixMilli(t.UnixMilli())
	if rest := t.Sub(at); rest != 0 {
		return fmt.Sprintf("%d+%v", t.UnixMilli(), rest)
	}
	return fmt.Sprint(t.UnixMilli())
}

func (w *wanted) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s: %s", w.Key, w.Value)
	if w.TS != nil {
		fmt.Fprintf(&s, " @%d", *w.TS)
	}
	if w.Window != nil {
		fmt.Fprintf(&s, " [%d, %d]", w.Window[0], w.Window[1])
	}
	if w.Headers != nil {
		fmt.Fprintf(&s, " %v", map[string][]string(w.Headers))
	}
	return s.String()
}

// matches compares the fields that are given.
func (w *wanted) matches(o *output) bool {
	key := &o.Key
	if o.Key == "" && w.Key.Null {
		key = nil
	}
	if !w.Key.matches(key) || !w.Value.matches(o.Value) {
		return false
	}
	if w.TS != nil && !time.UnixMilli(*w.TS).Equal(o.Time) {
		return false
	}
	if w.Window != nil && (o.Window == nil || !time.UnixMilli(w.Window[0]).Equal(o.Window[0]) || !time.UnixMilli(w.Window[1]).Equal(o.Window[1])) {
		return false
	}
	return w.Headers == nil || maps.EqualFunc(w.Headers, o.Headers, slices.Equal)
}

// compare tells how got differs from what is wanted of the outputs; empty: it does not.
func (w *outputsWanted) compare(got []output) string {
	name, want, _ := w.given()
	ok := false
	switch {
	case name == "expect_set":
		ok = sameSet(want, got)
	case name == "expect_latest", w.Order == "latest-per-key":
		ok = pairUp(want, latest(got, windowsGiven(want)), w.Prefix)
	case name == "expect_last":
		ok = len(got) > 0 && want[0].matches(&got[len(got)-1])
	case w.Order == "any-all":
		ok = pairUp(want, got, w.Prefix)
	case w.Order == "any":
		ok = (w.Prefix || len(want) == len(got)) && interleaved(want, queues(got))
	default:
		ok = inOrder(want, got, w.Prefix)
	}
	if ok {
		return ""
	}
	how := name
	if w.Order != "" {
		how += ", order " + w.Order
	}
	if w.Prefix {
		how += ", prefix"
	}
	return difference(how, want, got)
}

// compare tells how the rows of a table differ from what is wanted; empty: they do not.
func (w *tableWanted) compare(rows []output) string {
	// A row that is wanted without a value is one that is not there.
	var want []wanted
	for i := range w.Entries {
		e := &w.Entries[i]
		if !e.Value.Null {
			want = append(want, *e)
			continue
		}
		gone := *e
		gone.Value = Value{}
		if slices.ContainsFunc(rows, func(o output) bool { return gone.matches(&o) }) {
			return difference("expect_table: there must be no such row", []wanted{gone}, rows)
		}
	}
	if pairUp(want, rows, w.Subset) {
		return ""
	}
	return difference("expect_table", want, rows)
}

func difference(how string, want []wanted, got []output) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s:", how)
	for i := range want {
		fmt.Fprintf(&s, "\n    want %v", &want[i])
	}
	if len(want) == 0 {
		s.WriteString("\n    want nothing")
	}
	for i := range got {
		fmt.Fprintf(&s, "\n    got  %v", &got[i])
	}
	if len(got) == 0 {
		s.WriteString("\n    got  nothing")
	}
	return s.String()
}

func inOrder(want []wanted, got []output, prefix bool) bool {
	if len(want) > len(got) || len(want) < len(got) && !prefix {
		return false
	}
	for i := range want {
		if !want[i].matches(&got[i]) {
			return false
		}
	}
	return true
}

// sameSet reports whether each wanted output has come, and nothing that is not wanted, however often.
func sameSet(want []wanted, got []output) bool {
	for i := range want {
		if !slices.ContainsFunc(got, func(o output) bool { return want[i].matches(&o) }) {
			return false
		}
	}
	for i := range got {
		if !slices.ContainsFunc(want, func(w wanted) bool { return w.matches(&got[i]) }) {
			return false
		}
	}
	return true
}

func windowsGiven(want []wanted) bool {
	return slices.ContainsFunc(want, func(w wanted) bool { return w.Window != nil })
}

// latest keeps the last output of every key, or of every key and window.
func latest(got []output, windows bool) []output {
	last := make(map[place]int)
	for i := range got {
		last[placeOf(&got[i], windows)] = i
	}
	var kept []output
	for i := range got {
		if last[placeOf(&got[i], windows)] == i {
			kept = append(kept, got[i])
		}
	}
	return kept
}

func placeOf(o *output, windows bool) place {
	if windows {
		return o.place()
	}
	return place{key: o.Key}
}

// queues sorts outputs by key and window; within one their order stays.
func queues(got []output) [][]output {
	index := make(map[place]int)
	var all [][]output
	for _, o := range got {
		i, ok := index[o.place()]
		if !ok {
			i = len(all)
			index[o.place()] = i
			all = append(all, nil)
		}
		all[i] = append(all[i], o)
	}
	return all
}

// interleaved reports whether want can be taken from the heads of the queues, one after the other.
func interleaved(want []wanted, heads [][]output) bool {
	if len(want) == 0 {
		return true
	}
	for i, q := range heads {
		if len(q) == 0 || !want[0].matches(&q[0]) {
			continue
		}
		heads[i] = q[1:]
		if interleaved(want[1:], heads) {
			return true
		}
		heads[i] = q
	}
	return false
}

// pairUp reports whether every wanted output can be given one of its own among those that have come, and none is left over,
// unless more may be. Outputs may match several wishes, since those need not give all fields.
func pairUp(want []wanted, got []output, more bool) bool {
	if len(want) > len(got) || len(want) < len(got) && !more {
		return false
	}
	taker := make([]int, len(got)) // which wish has an output, counted from 1
	var give func(w int, seen []bool) bool
	give = func(w int, seen []bool) bool {
		for i := range got {
			if seen[i] || !want[w].matches(&got[i]) {
				continue
			}
			seen[i] = true
			if taker[i] == 0 || give(taker[i]-1, seen) {
				taker[i] = w + 1
				return true
			}
		}
		return false
	}
	for w := range want {
		if !give(w, make([]bool, len(got))) {
			return false
		}
	}
	return true
}
