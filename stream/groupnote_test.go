package stream_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Of those who write the note of a group at the same time one succeeds; the others learn that they have to look again.
func TestGroupNoteIsComparedAndSet(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	note, revision, err := c.GroupNote(ctx, "app.a")
	require.NoError(t, err)
	require.Nil(t, note)
	require.Zero(t, revision)
	for round := range 5 {
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				ok, err := c.SetGroupNote(ctx, "app.a", json.RawMessage(fmt.Sprintf(`{"round":%d,"by":%d}`, round, i)), revision)
				if err != nil {
					t.Error(err)
				}
				if ok {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, won.Load())
		note, revision, err = c.GroupNote(ctx, "app.a")
		require.NoError(t, err)
		require.Contains(t, string(note), fmt.Sprintf(`"round":%d`, round))
	}
	other, _, err := c.GroupNote(ctx, "app.b")
	require.NoError(t, err)
	require.Nil(t, other)
}
