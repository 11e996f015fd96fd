package join_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/join"
)

// TestTimeLines is the drawing in the package documentation.
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
