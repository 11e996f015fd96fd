package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestArenaAgainstAMap does random things to an arena and to a map, with keys that collide or do not, small values and such that fill
// segments, and compares all that an arena can be asked, the order of homes included.
func TestArenaAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newMemoryBase()
		a.slack = 0
		a.index.mask = rapid.SampledFrom([]uint64{0, 1, 7, ^uint64(0)}).Draw(t, "mask")
		model := map[string]stored{}
		home := uint64(1)
		size := rapid.SampledFrom([]int{0, 1, 20, 100, 200, 300, 1000, 100_000, 400_000, 3_000_000})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				key := fmt.Sprint("k", rapid.IntRange(0, 30).Draw(t, "key"))
				row := stored{at: rapid.Int64().Draw(t, "at"), home: home, value: []byte(strings.Repeat(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "text"), size.Draw(t, "size")))}
				require.NoError(t, a.put([]byte(key), row, stored{size: unknown}))
				model[key] = row
			},
			"remove": func(t *rapid.T) {
				key := fmt.Sprint("k", rapid.IntRange(0, 30).Draw(t, "key"))
				require.NoError(t, a.remove([]byte(key), stored{size: unknown}))
				delete(model, key)
			},
			"commit": func(t *rapid.T) { home++; a.settle() },
			"ride": func(t *rapid.T) {
				type ridden struct {
					key string
					row stored
				}
				var some []ridden
				n := rapid.IntRange(1, 5).Draw(t, "rows")
				for key, row := range a.ride() {
					row.value = slices.Clone(row.value)
					some = append(some, ridden{string(key), row})
					if len(some) == n {
						break
					}
				}
				require.Len(t, some, min(n, len(model)))
				home++
				for _, r := range some {
					for key, row := range model {
						require.True(t, row.home >= r.row.home || slices.ContainsFunc(some, func(o ridden) bool { return o.key == key }), "an older row was left behind")
					}
				}
				for _, r := range some {
					require.Equal(t, model[r.key].home, r.row.home)
					r.row.home = home
					require.NoError(t, a.put([]byte(r.key), r.row, stored{size: unknown}))
					model[r.key] = r.row
				}
				a.settle()
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(model), a.len())
				oldest, live := uint64(0), 0
				for key, want := range model {
					got, ok, err := a.get([]byte(key))
					require.NoError(t, err)
					require.True(t, ok, key)
					require.Equal(t, want.at, got.at)
					require.Equal(t, want.home, got.home)
					require.True(t, string(want.value) == string(got.value))
					live += got.size
					if oldest == 0 || want.home < oldest {
						oldest = want.home
					}
				}
				_, ok, err := a.get([]byte("none"))
				require.NoError(t, err)
				require.False(t, ok)
				require.Equal(t, oldest, a.oldest())
				require.Equal(t, live, a.liveBytes())
				n, last := 0, uint64(0)
				for key, row := range a.all() {
					require.Contains(t, model, string(key))
					require.LessOrEqual(t, last, row.home)
					last = row.home
					n++
				}
				require.Equal(t, len(model), n)
				held, used, garbage := 0, 0, 0
				for _, s := range a.segments {
					held += cap(s.data)
					used += len(s.data)
					garbage += len(s.data) - s.live
				}
				require.Equal(t, used, a.held)
				require.Equal(t, garbage, a.garbage)
				require.LessOrEqual(t, garbage*4, used, "garbage stays")
				require.LessOrEqual(t, held, used*3/2+segmentBytes)
			},
		})
	})
}

// TestArenaForgetsGarbage overwrites a million rows at random: what is held follows what is alive.
func TestArenaForgetsGarbage(t *testing.T) {
	a := newMemoryBase()
	value := make([]byte, 100)
	for i := range 1_000_000 {
		key := fmt.Sprint("k", i*7919%20_000)
		require.NoError(t, a.put([]byte(key), stored{value: value, home: uint64(i/1000 + 1)}, stored{size: unknown}))
	}
	require.Equal(t, 20_000, a.len())
	held := 0
	for _, s := range a.segments {
		held += cap(s.data)
	}
	require.Less(t, held, 2*a.liveBytes()+segmentBytes)
}
