package engine

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRowsOfOneTimeKeepTheirOrder removes rows among many of one key and time, in memory as bytes, until what is left of them has been moved: it
// must be found by its sequence number all the while.
func TestRowsOfOneTimeKeepTheirOrder(t *testing.T) {
	const rows = 4 * blockRows
	for _, hot := range []int{0, hotCount} {
		m := newMachine()
		m.inMemory().hot.most = hot
		value := func(i int) string { return strings.Repeat("v", i%97) }
		for i := range rows {
			require.True(t, m.win.Add("k", 7, value(i)))
		}
		m.task.changed = true
		m.commit(t)
		left := make([]RowID, 0, rows)
		for id := range m.win.Range("k", 7, 7) {
			left = append(left, id)
		}
		require.Len(t, left, rows)
		for len(left) > 0 {
			kept := left[:0]
			held := m.inMemory().rows.held
			for i, id := range left {
				if i%3 == 1 || len(left) < 3 {
					m.win.Remove(id)
				} else {
					kept = append(kept, id)
				}
			}
			left = kept
			m.task.changed = true
			m.commit(t)
			require.Less(t, m.inMemory().rows.held, held)
			i := 0
			for id, v := range m.win.Range("k", 7, 7) {
				require.Equal(t, left[i], id)
				require.Equal(t, value(int(id.Seq)-1), v)
				i++
			}
			require.Equal(t, len(left), i)
		}
		require.Zero(t, m.win.Len())
	}
}
