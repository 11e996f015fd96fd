package engine

import (
	"cmp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestRowListIsASortedSlice does to a list of several blocks what it does to a sorted slice.
func TestRowListIsASortedSlice(t *testing.T) {
	longest := 0
	rapid.Check(t, func(t *rapid.T) {
		var (
			list  rowList
			model []listed
			seq   uint64
			now   int64
		)
		insert := func(at int64) {
			seq++
			r := listed{at: at, seq: seq, ref: seq}
			list.insert(r)
			i, _ := slices.BinarySearchFunc(model, r, func(a, b listed) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.seq, b.seq)) })
			model = slices.Insert(model, i, r)
		}
		many := rapid.IntRange(1, 2*blockRows)
		t.Repeat(map[string]func(*rapid.T){
			"in order": func(t *rapid.T) {
				for range many.Draw(t, "n") {
					now += int64(seq % 3)
					insert(now)
				}
			},
			"out of order": func(t *rapid.T) {
				for range many.Draw(t, "n") {
					insert(int64(seq*0x9E3779B97F4A7C15>>33) % (now + 1))
				}
			},
			"drop": func(t *rapid.T) {
				for range min(many.Draw(t, "n"), len(model)) {
					require.Equal(t, model[0], *list.oldest())
					list.dropOldest()
					model = model[1:]
				}
			},
			"take": func(t *rapid.T) {
				step := rapid.IntRange(1, 50).Draw(t, "step")
				for i := 0; i < len(model); i += step {
					list.take(list.search(model[i].at, model[i].seq))
					model = slices.Delete(model, i, i+1)
				}
			},
			"": func(t *rapid.T) {
				longest = max(longest, len(list.blocks))
				require.Equal(t, len(model) == 0, list.empty())
				var all []listed
				for _, rows := range list.blocks {
					require.NotEmpty(t, rows)
					require.LessOrEqual(t, len(rows), blockRows)
					all = append(all, rows...)
				}
				require.True(t, slices.Equal(model, all))
				if len(model) == 0 {
					return
				}
				from, to := now/3, now/2
				first := slices.IndexFunc(model, func(r listed) bool { return r.at >= from })
				behind := slices.IndexFunc(model, func(r listed) bool { return r.at > to })
				if first < 0 {
					first = len(model)
				}
				if behind < 0 {
					behind = len(model)
				}
				require.True(t, slices.Equal(model[first:behind], list.between(list.search(from, 0), list.search(to+1, 0))))
				require.Equal(t, behind-first, list.distance(list.search(from, 0), list.search(to+1, 0)))
				if behind > 0 {
					require.Equal(t, model[behind-1], *list.before(list.search(to+1, 0)))
				} else {
					require.Nil(t, list.before(list.search(to+1, 0)))
				}
			},
		})
	})
	require.Greater(t, longest, 3)
}

// between returns the entries from p to q.
func (l *rowList) between(p, q place) (all []listed) {
	for ; p.block < q.block; p = (place{p.block + 1, 0}) {
		all = append(all, l.blocks[p.block][p.index:]...)
	}
	if p.block < len(l.blocks) {
		all = append(all, l.blocks[p.block][p.index:q.index]...)
	}
	return all
}
