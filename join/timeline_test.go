package join_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// TestTimeLines is the first drawing in the package documentation.
func TestTimeLines(t *testing.T) {
	type results map[int][]string // by the time of the record that has brought them
	w := join.Window{Before: millis(10), After: millis(5), Grace: millis(5)}
	for _, c := range []struct {
		verb  verb
		alone bool // r2 and r3 do not come
		want  results
	}{
		{inner, false, results{20: {"L,r2@20"}, 24: {"L,r3@24"}}},
		{leftOnClose, false, results{20: {"L,r2@20"}, 24: {"L,r3@24"}}},
		{leftOnUpdate, false, results{20: {"L,r2@20"}, 24: {"L,r3@24"}}},
		{outerOnClose, false, results{20: {"L,r2@20"}, 24: {"null,r1@8", "L,r3@24"}}},
		{outerOnUpdate, false, results{8: {"null,r1@8"}, 12: {"null,r2@12"}, 20: {"L,r2@20"}, 24: {"L,r3@24"}, 35: {"null,r4@35"}}},
		{asOf, false, results{35: {"L,r2@20"}}},
		{collectOnClose, false, results{35: {"L[r2 r3]@20"}}},
		{collectOnUpdate, false, results{20: {"L[r2]@20"}, 24: {"L[r2 r3]@20"}}},
		{leftOnClose, true, results{35: {"L,null@20"}}},
		{leftOnUpdate, true, results{20: {"L,null@20"}}},
		{absence, true, results{35: {"L,null@20"}}},
	} {
		own := w
		if c.verb == asOf {
			own.After = 0
		}
		s := newBench(t, c.verb, own, 1)
		for _, r := range []event{{"right", "k", "r1", 8}, {"right", "k", "r2", 12}, {"left", "k", "L", 20}, {"right", "k", "r3", 24}, {"right", "k", "r4", 35}} {
			switch {
			case c.alone && (r.value == "r2" || r.value == "r3"):
				continue
			case r.kind == "left":
				s.left(r.key, r.value, r.time)
			default:
				s.right(r.key, r.value, r.time)
			}
			require.Equal(t, append([]string{}, c.want[r.time]...), s.got(), "verb %d, after %s", c.verb, r.value)
		}
		require.Empty(t, s.late())
	}
}

// TestTimeLinesOfTables is the other two.
func TestTimeLinesOfTables(t *testing.T) {
	type step struct {
		topic stream.Topic[string]
		value string
		time  int
	}
	type (
		describe = func(b *processor.Builder)
		results  = map[int]string // by the time of the record that has brought them
	)
	asStream := func(f func(processor.Stream[string], processor.Table[string]) processor.Stream[string]) describe {
		return func(b *processor.Builder) { f(processor.From(b, orders), processor.TableFrom(b, customers)).To(joined) }
	}
	asTables := func(f func(l, r processor.Table[string]) processor.Table[string]) describe {
		return func(b *processor.Builder) {
			f(processor.TableFrom(b, addresses), processor.TableFrom(b, customers)).To(joined)
		}
	}
	withStream := []step{{customers, "r", 10}, {orders, "l", 20}, {customers, "s", 30}, {orders, "m", 25}, {customers, "-", 40}, {orders, "n", 50}}
	withTable := []step{{addresses, "l", 10}, {customers, "r", 20}, {addresses, "m", 30}, {customers, "-", 40}, {addresses, "-", 50}}
	global := func(b *processor.Builder) processor.GlobalTable[string] {
		return processor.GlobalTableFrom(b, customers)
	}
	foreign := join.Foreign[string]{Name: "j", Key: func(string) string { return "k" }}
	for name, c := range map[string]struct {
		topology describe
		steps    []step
		want     results
	}{
		"Table": {asStream(func(l processor.Stream[string], r processor.Table[string]) processor.Stream[string] {
			return join.Table(l, r, join.Lookup{Name: "j"}, pair)
		}), withStream, results{20: "l,r@20", 25: "m,s@25"}},
		"TableLeft": {asStream(func(l processor.Stream[string], r processor.Table[string]) processor.Stream[string] {
			return join.TableLeft(l, r, join.Lookup{Name: "j"}, pairLeft)
		}), withStream, results{20: "l,r@20", 25: "m,s@25", 50: "n,null@50"}},
		"Table with a History": {asStream(func(l processor.Stream[string], r processor.Table[string]) processor.Stream[string] {
			return join.Table(l, r, join.Lookup{Name: "j", History: millis(100)}, pair)
		}), withStream, results{20: "l,r@20", 25: "m,r@25"}},
		"Global": {func(b *processor.Builder) {
			join.Global(processor.From(b, orders), global(b), join.By[string]{Name: "j"}, pair).To(joined)
		}, withStream, results{20: "l,r@20", 25: "m,s@25"}},
		"GlobalLeft": {func(b *processor.Builder) {
			join.GlobalLeft(processor.From(b, orders), global(b), join.By[string]{Name: "j"}, pairLeft).To(joined)
		}, withStream, results{20: "l,r@20", 25: "m,s@25", 50: "n,null@50"}},
		"Tables": {asTables(func(l, r processor.Table[string]) processor.Table[string] {
			return join.Tables(l, r, join.Primary{Name: "j"}, pair)
		}),
			withTable, results{20: "l,r@20", 30: "m,r@30", 40: "-@40"}},
		"TablesLeft": {asTables(func(l, r processor.Table[string]) processor.Table[string] {
			return join.TablesLeft(l, r, join.Primary{Name: "j"}, pairLeft)
		}),
			withTable, results{10: "l,null@10", 20: "l,r@20", 30: "m,r@30", 40: "m,null@40", 50: "-@50"}},
		"TablesOuter": {asTables(func(l, r processor.Table[string]) processor.Table[string] {
			return join.TablesOuter(l, r, join.Primary{Name: "j"}, pairOuter)
		}),
			withTable, results{10: "l,null@10", 20: "l,r@20", 30: "m,r@30", 40: "m,null@40", 50: "-@50"}},
		"ForeignKey": {asTables(func(l, r processor.Table[string]) processor.Table[string] {
			return join.ForeignKey(l, r, foreign, pair)
		}),
			withTable, results{20: "l,r@20", 30: "m,r@30", 40: "-@40"}},
		"ForeignKeyLeft": {asTables(func(l, r processor.Table[string]) processor.Table[string] {
			return join.ForeignKeyLeft(l, r, foreign, pairLeft)
		}),
			withTable, results{10: "l,null@10", 20: "l,r@20", 30: "m,r@30", 40: "m,null@40", 50: "-@50"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := driverOf(t, c.topology)
			for _, s := range c.steps {
				set(d, s.topic, "k", s.value, s.time)
				got := ""
				for _, r := range processortest.ReadTable(d, joined) {
					value := "-"
					if r.Value != nil {
						value = *r.Value
					}
					got += fmt.Sprintf("%s@%d", value, ms(r.Time))
				}
				require.Equal(t, c.want[s.time], got, "after %s at %d", s.value, s.time)
			}
		})
	}
}
