package join_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// event is one thing that happens in a random history: a record, a crash, or time that moves by itself.
type event struct {
	kind  string // "left", "right", "crash", "idle"
	key   string
	value string
	time  int
}

// rules is a window and its model: the join by definition, which looks at every pair of records.
type rules struct {
	verb                 verb
	before, after, grace int
	partitions           int
}

// part is what the model knows of one partition.
type part struct {
	now     int
	done    []event // joined so far, in order of arrival
	closed  map[string]bool
	told    map[string]bool // has met a partner, or was told without one
	results []string
	late    map[string][]string
}

func (m rules) window() join.Window {
	return join.Window{Before: millis(m.before), After: millis(m.after), Grace: millis(m.grace)}
}

func (m rules) closes(e event) int {
	if e.kind == "left" {
		return e.time + max(m.after, 0) + m.grace
	}
	return e.time + max(m.before, 0) + m.grace
}

func (m rules) meet(l, r event) bool {
	return l.kind == "left" && r.kind == "right" && l.key == r.key && l.time-m.before <= r.time && r.time <= l.time+m.after
}

// byTime returns the events that please, in order of time, then of arrival.
func (p *part) byTime(pleases func(event) bool) []event {
	var found []event
	for _, e := range p.done {
		if pleases(e) {
			found = append(found, e)
		}
	}
	slices.SortStableFunc(found, func(a, b event) int { return cmp.Compare(a.time, b.time) })
	return found
}

func (m rules) emit(p *part, l event, value string, at int) {
	p.results = append(p.results, fmt.Sprintf("%s@%d in %d..%d until %d from %s",
		value, at, l.time-m.before, l.time+m.after, m.closes(l), l.value))
}

func (m rules) collect(p *part, l event) {
	values := []string{}
	for _, r := range p.byTime(func(r event) bool { return m.meet(l, r) }) {
		values = append(values, r.value)
	}
	if m.verb == asOf {
		m.emit(p, l, pair(l.value, append([]string{"null"}, values...)[len(values)]), l.time)
		return
	}
	if m.verb == collectUpTo {
		n, size := 0, 0
		for n < min(len(values), fewest.Rows) && size+len(values[n]) <= fewest.Bytes {
			size += len(values[n])
			n++
		}
		m.emit(p, l, fmt.Sprintf("%s and %d more", gather(l.value, values[:n]), len(values)-n), l.time)
		return
	}
	m.emit(p, l, gather(l.value, values), l.time)
}

func (m rules) advance(p *part, now int) {
	if now <= p.now {
		return
	}
	p.now = now
	due := p.byTime(func(e event) bool { return e.kind == "left" && !p.closed[e.value] && m.closes(e) < now })
	slices.SortStableFunc(due, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.key, b.key))
	})
	for _, l := range due {
		p.closed[l.value] = true
		if m.verb == collectOnClose || m.verb == collectUpTo || m.verb == asOf {
			m.collect(p, l)
		}
	}
	m.tell(p)
}

// known is when it is known that a record has no partner (departure D3).
func (m rules) known(e event) int {
	if e.kind == "left" {
		return e.time + m.after + m.grace
	}
	return e.time + m.before + m.grace
}

func (m rules) speaksOf(e event) bool {
	return m.verb >= leftOnClose && m.verb <= absence && e.kind == "left" || e.kind == "right" && (m.verb == outerOnClose || m.verb == outerOnUpdate)
}

// tell emits the records without partner whose windows have closed.
func (m rules) tell(p *part) {
	if m.verb == leftOnUpdate || m.verb == outerOnUpdate {
		return
	}
	due := p.byTime(func(e event) bool { return m.speaksOf(e) && !p.told[e.value] && m.known(e) < p.now })
	slices.SortStableFunc(due, func(a, b event) int {
		return cmp.Or(cmp.Compare(m.known(a), m.known(b)), cmp.Compare(a.key, b.key), cmp.Compare(a.kind, b.kind))
	})
	for _, e := range due {
		m.alone(p, e)
	}
}

func (m rules) alone(p *part, e event) {
	p.told[e.value] = true
	if e.kind == "left" {
		m.emit(p, e, pair(e.value, "null"), e.time)
		return
	}
	p.results = append(p.results, fmt.Sprintf("%s@%d in %d..%d until %d from %s",
		pair("null", e.value), e.time, e.time-m.after, e.time+m.before, m.closes(e), e.value))
}

func (m rules) step(p *part, e event) {
	m.advance(p, e.time)
	if m.closes(e) < p.now {
		p.late[e.kind] = append(p.late[e.kind], fmt.Sprintf("%s@%d", e.value, e.time))
		return
	}
	p.done = append(p.done, e)
	if e.kind == "left" && m.verb == collectOnUpdate {
		m.collect(p, e)
	}
	for _, o := range p.byTime(func(o event) bool { return m.meet(o, e) || m.meet(e, o) }) {
		l, r := o, e
		if e.kind == "left" {
			l, r = e, o
		}
		p.told[l.value], p.told[r.value] = true, true
		switch {
		case m.verb == inner || m.verb >= leftOnClose && m.verb < absence:
			m.emit(p, l, pair(l.value, r.value), max(l.time, r.time))
		case m.verb == collectOnUpdate && e.kind == "right" && !p.closed[l.value]:
			m.collect(p, l)
		}
	}
	if (m.verb == leftOnUpdate || m.verb == outerOnUpdate) && m.speaksOf(e) && !p.told[e.value] {
		m.alone(p, e)
	}
	m.tell(p)
}

// expect runs the model and returns the results and the late records, partition by partition.
func (m rules) expect(history []event) (results, late []string) {
	parts := make([]part, m.partitions)
	for i := range parts {
		parts[i] = part{now: math.MinInt, closed: map[string]bool{}, told: map[string]bool{}, late: map[string][]string{}}
	}
	for _, e := range history {
		switch e.kind {
		case "left", "right":
			m.step(&parts[stream.Partition(e.key, m.partitions)], e)
		case "idle":
			for i := range parts {
				m.advance(&parts[i], e.time)
			}
		}
	}
	results, late = []string{}, []string{}
	for i := range parts {
		m.advance(&parts[i], math.MaxInt)
		results = append(results, parts[i].results...)
	}
	for _, kind := range []string{"left", "right"} {
		for i := range parts {
			late = append(late, parts[i].late[kind]...)
		}
	}
	return results, late
}

// run gives the history to a real join.
func (m rules) run(t *testing.T, history []event) (results, late []string) {
	s := newBench(t, m.verb, m.window(), m.partitions)
	for _, e := range history {
		r := processor.Record[string]{Key: e.key, Value: e.value, Time: at(e.time), Headers: stream.Headers{"From": {e.value}}}
		switch e.kind {
		case "left":
			processortest.Pipe(s.Driver, s.lefts, r)
		case "right":
			processortest.Pipe(s.Driver, s.rights, r)
		case "crash":
			s.Crash()
		case "idle":
			s.AdvanceTime(at(e.time))
		}
	}
	s.CloseAll()
	require.NoError(t, s.Err())
	require.Empty(t, s.DeadLetters())
	return s.shown(), s.late()
}

func drawRules(rt *rapid.T, v verb) rules {
	before := rapid.IntRange(-10, 25).Draw(rt, "before")
	if v == asOf {
		return rules{verb: v, before: max(before, 0), grace: rapid.IntRange(0, 15).Draw(rt, "grace"), partitions: rapid.IntRange(1, 2).Draw(rt, "partitions")}
	}
	return rules{
		verb: v, before: before, after: rapid.IntRange(max(-10, -before), 25).Draw(rt, "after"),
		grace: rapid.IntRange(0, 15).Draw(rt, "grace"), partitions: rapid.IntRange(1, 2).Draw(rt, "partitions"),
	}
}

// drawHistory makes time go on by small steps, with records that lag behind it, some by far too much.
func drawHistory(rt *rapid.T) []event {
	now, n := 50, 0
	one := rapid.Custom(func(rt *rapid.T) event {
		n++
		now += rapid.IntRange(0, 5).Draw(rt, "step")
		lag := rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 15), rapid.IntRange(0, 60)).Draw(rt, "lag")
		return event{
			kind: rapid.SampledFrom([]string{"left", "left", "left", "right", "right", "right", "crash", "idle"}).Draw(rt, "kind"),
			key:  rapid.SampledFrom([]string{"a", "a", "a", "b", "c"}).Draw(rt, "key"), value: fmt.Sprintf("v%d", n), time: now - lag,
		}
	})
	length := rapid.IntRange(1, 30).Draw(rt, "length") // a slice of free length would mostly be a short one
	return rapid.SliceOfN(one, length, length).Draw(rt, "history")
}

// testModel compares a join with its model: the same results and late records, in the same order, whatever happens.
func testModel(t *testing.T, v verb) {
	t.Parallel()
	results, late := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		m, history := drawRules(rt, v), drawHistory(rt)
		wantResults, wantLate := m.expect(history)
		gotResults, gotLate := m.run(t, history)
		require.Equal(rt, wantResults, gotResults)
		require.Equal(rt, wantLate, gotLate)
		results += len(gotResults)
		late += len(gotLate)
	})
	t.Logf("%d results, %d late records", results, late)
	require.NotZero(t, results)
	require.NotZero(t, late)
}

func TestInnerEqualsItsModel(t *testing.T)           { testModel(t, inner) }
func TestCollectOnCloseEqualsItsModel(t *testing.T)  { testModel(t, collectOnClose) }
func TestCollectOnUpdateEqualsItsModel(t *testing.T) { testModel(t, collectOnUpdate) }
func TestCollectUpToEqualsItsModel(t *testing.T)     { testModel(t, collectUpTo) }
func TestLeftOnCloseEqualsItsModel(t *testing.T)     { testModel(t, leftOnClose) }
func TestLeftOnUpdateEqualsItsModel(t *testing.T)    { testModel(t, leftOnUpdate) }
func TestOuterOnCloseEqualsItsModel(t *testing.T)    { testModel(t, outerOnClose) }
func TestOuterOnUpdateEqualsItsModel(t *testing.T)   { testModel(t, outerOnUpdate) }
func TestAsOfEqualsItsModel(t *testing.T)            { testModel(t, asOf) }
func TestAbsenceEqualsItsModel(t *testing.T)         { testModel(t, absence) }

// TestOnUpdateEndsWithWhatOnCloseSays needs no model: the last thing said of each left record is the complete one, and the
// number of the things said is one more than that of its right records, or less by those that were there before.
func TestOnUpdateEndsWithWhatOnCloseSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m, history := drawRules(rt, collectOnUpdate), drawHistory(rt)
		updates, lateOnUpdate := m.run(t, history)
		m.verb = collectOnClose
		final, lateOnClose := m.run(t, history)
		require.Equal(rt, lateOnClose, lateOnUpdate)

		said := map[string][]string{}
		for _, u := range updates {
			left, _, _ := strings.Cut(u, "[")
			said[left] = append(said[left], u)
		}
		require.Len(rt, said, len(final))
		for _, f := range final {
			left, _, _ := strings.Cut(f, "[")
			all := said[left]
			require.NotEmpty(rt, all, f)
			require.Equal(rt, f, all[len(all)-1])
			require.Equal(rt, rights(all[len(all)-1])-rights(all[0])+1, len(all), "one result at once and one for each that came later")
		}
	})
}

func rights(result string) int {
	_, rest, _ := strings.Cut(result, "[")
	list, _, _ := strings.Cut(rest, "]")
	return len(strings.Fields(list))
}
