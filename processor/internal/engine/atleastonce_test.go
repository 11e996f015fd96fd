package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/stream"
)

// TestAttemptsShareNoIdentity makes the same commit twice, of other records: nothing of the second one may be taken for something of the
// first one, and the journal has nothing to deliver.
func TestAttemptsShareNoIdentity(t *testing.T) {
	tokens := make(map[string]bool)
	for _, attempt := range []string{"first", "second"} {
		plan, _ := sample()
		plan.Sinks = append(plan.Sinks, Sink{Topic: stream.TopicSpec{Name: "deliver:x"}, External: true})
		task := NewTask(plan, 2, 1<<20)
		task.AtLeastOnce(attempt)
		task.Feed(0, []stream.Message{{Partition: 2, Offset: 7, Key: "k", Data: []byte(attempt), Stored: time.Unix(1, 0)}})
		done, err := task.Step()
		require.NoError(t, err)
		require.True(t, done)
		require.NoError(t, task.Emit(&Emitted{Sink: 2, Key: "k", Data: []byte(attempt)}))
		c, err := task.Commit("owner", false)
		require.NoError(t, err)
		require.EqualValues(t, 1, c.Number)
		require.Len(t, c.Outbox, 3)
		for _, o := range c.Outbox {
			if o.Topic.Name == "deliver:x" {
				require.NotEmpty(t, o.ID)
				require.False(t, tokens[o.ID], "a token comes twice")
				tokens[o.ID] = true
				continue
			}
			require.Empty(t, o.ID)
		}
		require.True(t, task.Settled())
		_, heir := sample()
		require.NoError(t, heir.Restore(1, c.Data))
		undelivered, err := heir.Restored()
		require.NoError(t, err)
		require.Empty(t, undelivered)
	}
}
