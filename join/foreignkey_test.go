package join_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// reference is the part of a text before the colon.
func reference(value string) string {
	to, _, _ := strings.Cut(value, ":")
	return to
}

func TestForeignKeyJoin(t *testing.T) {
	for _, left := range []bool{false, true} {
		t.Run(fmt.Sprintf("left=%v", left), func(t *testing.T) {
			d := driverOf(t, func(b *processor.Builder) {
				l, r := processor.TableFrom(b, addresses), processor.TableFrom(b, countries)
				f := join.Foreign[string]{Name: "fk", Key: reference}
				if left {
					join.ForeignKeyLeft(l, r, f, pairLeft).To(joined)
				} else {
					join.ForeignKey(l, r, f, pair).To(joined)
				}
			})
			want := func(inner, outer []string) {
				t.Helper()
				if left {
					inner = outer
				}
				require.Equal(t, inner, told(d))
			}
			none := []string{}
			set(d, addresses, "ann", "CH:1", 10)
			want(none, []string{"ann CH:1,null 10"})
			set(d, countries, "CH", "Swiss", 5)
			want([]string{"ann CH:1,Swiss 10"}, []string{"ann CH:1,Swiss 10"})
			d.Crash()
			set(d, addresses, "bob", "CH:2", 11)
			want([]string{"bob CH:2,Swiss 11"}, []string{"bob CH:2,Swiss 11"})
			set(d, countries, "CH", "Suisse", 12)
			got := told(d)
			require.ElementsMatch(t, []string{"ann CH:1,Suisse 12", "bob CH:2,Suisse 12"}, got)
			set(d, addresses, "ann", "IT:3", 13) // refers to nothing that is there
			want([]string{"ann - 13"}, []string{"ann IT:3,null 13"})
			d.Crash()
			set(d, addresses, "ann", "IT:4", 14)
			want(none, []string{"ann IT:4,null 14"})
			set(d, countries, "IT", "Italy", 15)
			want([]string{"ann IT:4,Italy 15"}, []string{"ann IT:4,Italy 15"})
			set(d, addresses, "ann", ":5", 16) // refers to nothing
			want([]string{"ann - 16"}, []string{"ann :5,null 16"})
			set(d, countries, "IT", "Italia", 17)
			want(none, none)
			set(d, countries, "CH", "-", 18)
			want([]string{"bob - 18"}, []string{"bob CH:2,null 18"})
			set(d, addresses, "bob", "-", 19)
			want(none, []string{"bob - 19"})
			require.Empty(t, d.DeadLetters())
		})
	}
}

// TestForeignKeysAreWhatTheySay: after any updates of both tables, with crashes in between, the result is what joining two maps gives, and
// each change tells what stood before.
func TestForeignKeysAreWhatTheySay(t *testing.T) {
	t.Parallel()
	left, right := addresses, customers
	left.Partitions, right.Partitions = 2, 3
	changed := stream.Topic[processor.Change[string]]{Name: "changed", Partitions: 2}
	rapid.Check(t, func(rt *rapid.T) {
		outer := rapid.Bool().Draw(rt, "left join")
		d := driverOf(t, func(b *processor.Builder) {
			l, r := processor.TableFrom(b, left), processor.TableFrom(b, right)
			f := join.Foreign[string]{Name: "fk", Key: reference}
			if outer {
				join.ForeignKeyLeft(l, r, f, pairLeft).Changes().To(changed)
			} else {
				join.ForeignKey(l, r, f, pair).Changes().To(changed)
			}
		})
		lefts, rights, shown := map[string]string{}, map[string]string{}, map[string]string{}
		put := func(rows map[string]string, topic stream.Topic[string], key, value string) {
			set(d, topic, key, value, rapid.IntRange(0, 100).Draw(rt, "when"))
			if rows[key] = value; value == "-" {
				delete(rows, key)
			}
		}
		for n := range rapid.IntRange(1, 25).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				d.Crash()
			case 1, 2:
				to := rapid.SampledFrom([]string{"a", "b", "c", ""}).Draw(rt, "to")
				put(lefts, left, rapid.SampledFrom([]string{"x", "y", "z"}).Draw(rt, "left"), fmt.Sprintf("%s:%d", to, n))
			case 3:
				put(lefts, left, rapid.SampledFrom([]string{"x", "y", "z"}).Draw(rt, "left"), "-")
			case 4:
				put(rights, right, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "right"), fmt.Sprint(n))
			case 5:
				put(rights, right, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "right"), "-")
			}
			for _, r := range processortest.Read(d, changed) {
				old, had := shown[r.Key]
				require.Equal(rt, had, r.Value.Old != nil)
				if had {
					require.Equal(rt, old, *r.Value.Old)
				}
				delete(shown, r.Key)
				if r.Value.New != nil {
					shown[r.Key] = *r.Value.New
				}
			}
			want := map[string]string{}
			for key, l := range lefts {
				if r, ok := rights[reference(l)]; ok {
					want[key] = pair(l, r)
				} else if outer {
					want[key] = l + ",null"
				}
			}
			require.Equal(rt, want, shown)
		}
		require.Empty(rt, d.DeadLetters())
	})
}

func TestForeignKeyMistakes(t *testing.T) {
	b := processor.NewBuilder("app")
	l, r := processor.TableFrom(b, addresses), processor.TableFrom(b, countries)
	join.ForeignKey(l, r, join.Foreign[string]{Name: "a"}, pair).To(joined)
	join.ForeignKeyLeft[string, string, string](l, r, join.Foreign[string]{Name: "b", Key: reference}, nil).To(joined)
	join.ForeignKey(l, processor.Table[string]{}, join.Foreign[string]{Name: "c", Key: reference}, pair).To(joined)
	_, err := b.Build()
	for _, want := range []string{"foreignkey_test.go", "ForeignKey a: the joiner or the Key", "ForeignKey b: the joiner", "ForeignKey c: the right side is a zero"} {
		require.ErrorContains(t, err, want)
	}
}
