package join_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

var (
	orders    = stream.Topic[string]{Name: "orders"}
	customers = stream.Topic[string]{Name: "customers", Compact: true}
	addresses = stream.Topic[string]{Name: "addresses", Compact: true}
	joined    = stream.Topic[string]{Name: "joined"}
)

func pairLeft(l string, r *string) string { return l + "," + orNull(r) }

func pairOuter(l, r *string) string { return orNull(l) + "," + orNull(r) }

// driverOf runs a topology; describe says what it is.
func driverOf(t testing.TB, describe func(*processor.Builder)) *processortest.Driver {
	b := processor.NewBuilder("app")
	describe(b)
	topology, err := b.Build()
	require.NoError(t, err)
	return processortest.New(t, topology)
}

// set sends a record, or a tombstone for the value "-".
func set(d *processortest.Driver, topic stream.Topic[string], key, value string, when int) {
	if value == "-" {
		processortest.Delete(d, topic, key, at(when))
		return
	}
	processortest.Pipe(d, topic, processor.Record[string]{Key: key, Value: value, Time: at(when)})
}

// told renders what has come out: key, value, time.
func told(d *processortest.Driver) []string {
	got := []string{}
	for _, r := range processortest.ReadTable(d, joined) {
		value := "-"
		if r.Value != nil {
			value = *r.Value
		}
		got = append(got, fmt.Sprintf("%s %s %d", r.Key, value, ms(r.Time)))
	}
	return got
}

func TestStreamTableJoin(t *testing.T) {
	for name, describe := range map[string]func(processor.Stream[string], processor.Table[string]) processor.Stream[string]{
		"inner": func(l processor.Stream[string], r processor.Table[string]) processor.Stream[string] {
			return join.Table(l, r, join.Lookup{Name: "j"}, pair)
		},
		"left": func(l processor.Stream[string], r processor.Table[string]) processor.Stream[string] {
			return join.TableLeft(l, r, join.Lookup{Name: "j"}, pairLeft)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := driverOf(t, func(b *processor.Builder) {
				describe(processor.From(b, orders), processor.TableFrom(b, customers)).To(joined)
			})
			set(d, orders, "k", "a", 1)
			set(d, customers, "k", "ann", 2) // triggers nothing
			d.Crash()
			set(d, orders, "k", "b", 1)
			set(d, customers, "k", "bob", 1) // by offset, not by time
			set(d, orders, "k", "c", 3)
			set(d, customers, "k", "-", 4)
			set(d, orders, "k", "d", 5)
			want := []string{"k b,ann 1", "k c,bob 3"}
			if name == "left" {
				want = []string{"k a,null 1", "k b,ann 1", "k c,bob 3", "k d,null 5"}
			}
			require.Equal(t, want, told(d))
			set(d, orders, "", "e", 6)
			set(d, orders, "k", "-", 7)
			require.Len(t, d.DeadLetters(), 2, "a record without a key, and one without a value")
		})
	}
}

func TestResultsOfLookupsKeepHeaders(t *testing.T) {
	d := driverOf(t, func(b *processor.Builder) {
		orders, customers := processor.From(b, orders), processor.TableFrom(b, customers)
		join.TableLeft(orders, customers, join.Lookup{Name: "j", History: time.Second, Grace: millis(5)}, pairLeft).To(joined)
	})
	processortest.Pipe(d, orders, processor.Record[string]{Key: "k", Value: "a", Time: at(1), Headers: stream.Headers{"Trace": {"7"}}})
	d.Crash()
	set(d, orders, "other", "b", 6)
	got := processortest.Read(d, joined)
	require.Len(t, got, 1)
	require.Equal(t, "7", got[0].Headers.Get("Trace"))
}

// TestLookupsAreWhatTheySay compares joins of a stream with a table, as it is and as it was, with and without grace, with a model that
// remembers everything.
func TestLookupsAreWhatTheySay(t *testing.T) {
	t.Parallel()
	type update struct {
		at    int
		value string
	}
	type waiting struct {
		key, value string
		at, n      int
	}
	rapid.Check(t, func(rt *rapid.T) {
		history := rapid.SampledFrom([]int{0, 10, 40}).Draw(rt, "history")
		grace := 0
		if history > 0 {
			grace = rapid.IntRange(0, history).Draw(rt, "grace")
		}
		left := rapid.Bool().Draw(rt, "left")
		d := driverOf(t, func(b *processor.Builder) {
			l, r := processor.From(b, orders), processor.TableFrom(b, customers)
			how := join.Lookup{Name: "j", History: millis(history), Grace: millis(grace)}
			if left {
				join.TableLeft(l, r, how, pairLeft).To(joined)
			} else {
				join.Table(l, r, how, pair).To(joined)
			}
		})
		table := map[string][]update{} // in the order of offsets
		var held []waiting
		now := -1 << 40
		want := []string{}
		lookUp := func(w waiting, now int) {
			found := "-"
			if history == 0 {
				if all := table[w.key]; len(all) > 0 {
					found = all[len(all)-1].value
				}
			} else if w.at >= now-history {
				latest := -1 << 40
				for _, u := range table[w.key] {
					if u.at <= w.at && u.at >= latest {
						latest, found = u.at, u.value
					}
				}
			}
			switch {
			case found != "-":
				want = append(want, fmt.Sprintf("%s %s,%s %d", w.key, w.value, found, w.at))
			case left:
				want = append(want, fmt.Sprintf("%s %s,null %d", w.key, w.value, w.at))
			}
		}
		when := 100
		for n := range rapid.IntRange(1, 25).Draw(rt, "steps") {
			when += rapid.IntRange(-30, 30).Draw(rt, "when")
			when = max(when, 0)
			key := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "key")
			what := rapid.SampledFrom([]string{"order", "order", "customer", "customer", "gone", "crash"}).Draw(rt, "what")
			if what == "crash" {
				d.Crash()
				continue
			}
			moved := max(now, when)
			slices.SortStableFunc(held, func(a, b waiting) int { return (a.at-b.at)*1000 + strings.Compare(a.key, b.key) })
			held = slices.DeleteFunc(held, func(w waiting) bool {
				if w.at+grace > moved {
					return false
				}
				lookUp(w, w.at+grace)
				return true
			})
			now = moved
			value := fmt.Sprintf("v%d", n)
			switch what {
			case "order":
				set(d, orders, key, value, when)
				if w := (waiting{key, value, when, n}); when+grace <= now {
					lookUp(w, now)
				} else {
					held = append(held, w)
				}
			default:
				if what == "gone" {
					value = "-"
				}
				set(d, customers, key, value, when)
				if history == 0 || when >= now-history {
					table[key] = append(table[key], update{when, value})
				}
			}
		}
		require.Equal(rt, want, told(d))
	})
}

// TestTablesAreWhatTheySay compares joins of two tables with two maps.
func TestTablesAreWhatTheySay(t *testing.T) {
	t.Parallel()
	type row struct {
		value string
		at    int
	}
	rapid.Check(t, func(rt *rapid.T) {
		kind := rapid.SampledFrom([]string{"inner", "left", "outer"}).Draw(rt, "kind")
		d := driverOf(t, func(b *processor.Builder) {
			l, r := processor.TableFrom(b, customers), processor.TableFrom(b, addresses)
			switch kind {
			case "inner":
				join.Tables(l, r, join.Primary{Name: "j"}, pair).To(joined)
			case "left":
				join.TablesLeft(l, r, join.Primary{Name: "j"}, pairLeft).To(joined)
			default:
				join.TablesOuter(l, r, join.Primary{Name: "j"}, pairOuter).To(joined)
			}
		})
		rows := [2]map[string]row{{}, {}}
		said := map[string]bool{}
		want := []string{}
		for n := range rapid.IntRange(1, 25).Draw(rt, "steps") {
			key := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "key")
			when := rapid.IntRange(0, 100).Draw(rt, "when")
			what := rapid.SampledFrom([]string{"set", "set", "delete", "crash"}).Draw(rt, "what")
			if what == "crash" {
				d.Crash()
				continue
			}
			i := rapid.IntRange(0, 1).Draw(rt, "side")
			value := fmt.Sprintf("v%d", n)
			if what == "delete" {
				value = "-"
			}
			set(d, []stream.Topic[string]{customers, addresses}[i], key, value, when)
			if value == "-" {
				delete(rows[i], key)
			} else {
				rows[i][key] = row{value, when}
			}
			l, hasL := rows[0][key]
			r, hasR := rows[1][key]
			is := map[string]bool{"inner": hasL && hasR, "left": hasL, "outer": hasL || hasR}[kind]
			out := "-"
			if is {
				side := func(r row, has bool) string {
					if !has {
						return "null"
					}
					return r.value
				}
				out = side(l, hasL) + "," + side(r, hasR)
			}
			if is || said[key] {
				latest := when
				if other, ok := rows[1-i][key]; ok {
					latest = max(latest, other.at)
				}
				want = append(want, fmt.Sprintf("%s %s %d", key, out, latest))
			}
			said[key] = is
		}
		require.Equal(rt, want, told(d))
	})
}

func TestLookupMistakes(t *testing.T) {
	b := processor.NewBuilder("app")
	l, r := processor.From(b, orders), processor.TableFrom(b, customers)
	join.Table[string, string, string](l, r, join.Lookup{Name: "a"}, nil).To(joined)
	join.TableLeft(l, r, join.Lookup{Name: "b", History: -1}, pairLeft).To(joined)
	join.TableLeft(l, r, join.Lookup{Name: "c", History: 1, Grace: 2}, pairLeft).To(joined)
	join.Tables[string, string, string](r, r, join.Primary{Name: "d"}, nil).To(joined)
	join.Table(l, processor.Table[string]{}, join.Lookup{Name: "e"}, pair).To(joined)
	four := stream.Topic[string]{Name: "four", Partitions: 4}
	join.Table(l, processor.TableFrom(b, four), join.Lookup{Name: "f"}, pair).To(joined)
	_, err := b.Build()
	for _, want := range []string{
		"tables_test.go", "Table a: the joiner is nil", "must not be negative", "needs a History of as much at least", "Tables d: the joiner is nil",
		"Table e: the right side is a zero Stream or Table", `topic "four" has 4 partitions`,
	} {
		require.ErrorContains(t, err, want)
	}
}
