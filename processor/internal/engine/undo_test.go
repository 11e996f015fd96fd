package engine

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/stream"
)

// TestRolledBackRecordsLeaveNoBytes sends records, some of which are taken back, to a topic and to a repartition topic: what is
// committed must be what the others alone give, byte for byte, over the edges of batches.
func TestRolledBackRecordsLeaveNoBytes(t *testing.T) {
	sinks := []Sink{{Topic: stream.Topic[string]{Name: "out"}.Spec()}, {Topic: stream.Topic[string]{Name: "again", Partitions: 3}.Spec(), Internal: true}}
	rapid.Check(t, func(t *rapid.T) {
		plan := &Plan{App: "app", Name: "sub", Sinks: sinks, Wire: func(*Task) {}}
		task, want := NewTask(plan, 0, 1<<20), NewTask(plan, 0, 1<<20)
		for range rapid.IntRange(1, 12).Draw(t, "records") {
			mark, failed := task.Mark(), rapid.Bool().Draw(t, "failed")
			for range rapid.IntRange(0, 4).Draw(t, "sent") {
				e := &Emitted{
					Sink: rapid.IntRange(0, 1).Draw(t, "sink"), Key: rapid.StringN(0, 5, 5).Draw(t, "key"),
					Data: make([]byte, rapid.SampledFrom([]int{1, 100, 40_000}).Draw(t, "size")),
				}
				if e.Sink == 1 {
					e.Partition = rapid.IntRange(0, 2).Draw(t, "partition")
				}
				require.NoError(t, task.Emit(e))
				if !failed {
					require.NoError(t, want.Emit(e))
				}
			}
			if failed {
				task.Rollback(mark)
			} else if rapid.Bool().Draw(t, "keep") {
				task.keep()
			}
		}
		c, err := task.Commit("o", true)
		require.NoError(t, err)
		w, err := want.Commit("o", true)
		require.NoError(t, err)
		require.Equal(t, w.Data, c.Data)
	})
}

// TestDoomTakesEverythingBack gives a record up in the middle of its work: what it did before and after must go, what is done
// instead must stay.
func TestDoomTakesEverythingBack(t *testing.T) {
	var kv *KeyValue[string]
	plan := &Plan{App: "app", Name: "sub", Inputs: []Input{{Topic: stream.Topic[string]{Name: "in"}.Spec()}}}
	plan.Wire = func(task *Task) {
		kv = NewKeyValue(task, "op.kv", stream.JSON[string]())
		task.Bind(0, Source{
			Decode: func(raw *Raw) (int64, error) { return int64(raw.Offset), nil },
			Process: func() {
				kv.Put("before", "x")
				kv.Put("stays", "changed")
				task.Doom(func() { kv.Put("instead", string(task.Current().Data)) })
				task.Doom(func() { t.Error("the first failure counts") })
				require.True(t, task.Doomed())
				kv.Put("after", "x")
				kv.Delete("stays")
			},
		})
	}
	task := NewTask(plan, 0, 1<<20)
	kv.Put("stays", "y")
	task.Feed(0, []stream.Message{{Offset: 1, Data: []byte("z")}})
	done, err := task.Step()
	require.NoError(t, err)
	require.True(t, done)
	got := map[string]string{}
	for k, v := range kv.All() {
		got[k] = v
	}
	require.Equal(t, map[string]string{"stays": "y", "instead": "z"}, got)
	require.Equal(t, []Position{{Topic: "in", Next: 2}}, task.Positions())
}

// TestCallingNamesTheInnermostOperator follows nested calls, as Forward makes them.
func TestCallingNamesTheInnermostOperator(t *testing.T) {
	_, task := sample()
	outer, inner := task.Operator("outer"), task.Operator("inner")
	require.Empty(t, task.Calling())
	a := task.Enter(outer)
	b := task.Enter(inner)
	require.Equal(t, "inner", task.Calling())
	task.Leave(b)
	require.Equal(t, "outer", task.Calling())
	task.Leave(a)
	task.Rest()
	require.Empty(t, task.Calling())
}
