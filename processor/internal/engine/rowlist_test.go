package engine

import (
	"cmp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestRowListsAreSortedSlices does to the list of a key, of one block and of several, what it does to a sorted slice.
func TestRowListsAreSortedSlices(t *testing.T) {
	longest, shortened := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var (
			lists = rowLists{of: func(ref uint64) uint64 { return ref }}
			ref   uint64
			model []listed
			seq   uint64
			now   int64
		)
		// There is a list as long as there are two rows, or one of them is left.
		list := func() rowList {
			if ref == 0 {
				return nil
			}
			return lists.at(ref)
		}
		shrunk := func(left bool) {
			if len(model) > 0 {
				require.True(t, left)
				return
			}
			require.False(t, left)
			lists.remove(ref)
			ref = 0
			shortened++
		}
		insert := func(at int64) {
			seq++
			r := listed{at: at, ref: seq}
			if ref != 0 {
				ref = lists.insert(ref, r, seq)
			} else {
				first := r
				model = append(model, first)
				seq++
				r = listed{at: at, ref: seq}
				ref = lists.add(first, r, seq)
			}
			i, _ := slices.BinarySearchFunc(model, r, func(a, b listed) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.ref, b.ref)) })
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
					require.Equal(t, model[0], *list().oldest())
					model = model[1:]
					shrunk(lists.dropOldest(ref))
				}
			},
			"take": func(t *rapid.T) {
				step := rapid.IntRange(1, 50).Draw(t, "step")
				for i := 0; i < len(model); i += step {
					r := model[i]
					model = slices.Delete(model, i, i+1)
					shrunk(lists.take(ref, r.at, r.ref))
				}
			},
			"": func(t *rapid.T) {
				list := list()
				longest = max(longest, len(list))
				require.Equal(t, min(len(model), 1), lists.short.len()+lists.long.len())
				var all []listed
				for _, rows := range list {
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
				require.True(t, slices.Equal(model[first:behind], list.between(list.search(lists.of, from, 0), list.search(lists.of, to+1, 0))))
				require.Equal(t, behind-first, list.distance(list.search(lists.of, from, 0), list.search(lists.of, to+1, 0)))
				if behind > 0 {
					require.Equal(t, model[behind-1], *list.before(list.search(lists.of, to+1, 0)))
				} else {
					require.Nil(t, list.before(list.search(lists.of, to+1, 0)))
				}
			},
		})
	})
	require.Greater(t, longest, 3)
	require.Positive(t, shortened)
}

// between returns the entries from p to q.
func (l rowList) between(p, q place) (all []listed) {
	for ; p.block < q.block; p = (place{p.block + 1, 0}) {
		all = append(all, l[p.block][p.index:]...)
	}
	if p.block < len(l) {
		all = append(all, l[p.block][p.index:q.index]...)
	}
	return all
}
