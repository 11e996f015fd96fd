package engine

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/stream"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files of the formats")

// sample is a task with something of everything, and its plan.
func sample() (*Plan, *Task) {
	plan := &Plan{
		App: "app", Name: "sub",
		Inputs: []Input{{Topic: stream.Topic[string]{Name: "in"}.Spec()}, {Topic: stream.Topic[string]{Name: "again"}.Spec(), Internal: true}},
		Sinks:  []Sink{{Topic: stream.Topic[string]{Name: "out"}.Spec()}, {Topic: stream.Topic[string]{Name: "again"}.Spec(), Internal: true}},
		Failed: func(_ *Task, f Failure) error { return f.Err },
	}
	plan.Wire = func(t *Task) {
		kv := NewKeyValue(t, "op.kv", stream.JSON[int]())
		win := NewWindow(t, "op.win", 1000, stream.JSON[string]())
		timers := NewTimers(t, "op.timers", func(string, int64) {})
		process := func(raw *Raw) {
			kv.Put(raw.Key, len(raw.Data))
			win.Add(raw.Key, raw.Time, string(raw.Data))
			timers.Set(raw.Key, raw.Time+5000)
			_ = t.Emit(&Emitted{Sink: 0, Key: raw.Key, Headers: raw.Headers, Data: raw.Data})
			_ = t.Emit(&Emitted{Sink: 1, Key: raw.Key, Time: raw.Time, Window: Window3{1, 2, 3}, Headers: raw.Headers, Data: raw.Data})
		}
		for i := range plan.Inputs {
			var head Raw
			t.Bind(i, Source{
				Decode: func(raw *Raw) (int64, error) {
					head = *raw
					if !raw.Internal {
						head.Time = raw.Stored.UnixNano()
					}
					return head.Time, nil
				},
				Process: func() { process(&head) },
			})
		}
	}
	return plan, NewTask(plan, 2, 1<<20)
}

func sampleCommits(t *testing.T) []*Commit {
	t.Helper()
	_, task := sample()
	var commits []*Commit
	for i, text := range []string{"one", "two", "three"} {
		task.Feed(0, []stream.Message{{
			Partition: 2, Offset: uint64(i + 7), Key: "k" + text, Data: []byte(text), Stored: time.Unix(int64(i+1), 0),
			Headers: stream.Headers{"B": {"2", "3"}, "A": {"1"}},
		}})
		done, err := task.Step()
		require.NoError(t, err)
		require.True(t, done)
		c, err := task.Commit("owner", false)
		require.NoError(t, err)
		commits = append(commits, c)
		task.Appended(c.Number, uint64(i+1))
	}
	return commits
}

// TestFormatsAreGolden keeps programs of today able to read what programs of yesterday have written: a change of these files
// needs a new version byte.
func TestFormatsAreGolden(t *testing.T) {
	var text strings.Builder
	for _, c := range sampleCommits(t) {
		text.WriteString("commit " + hex.EncodeToString(c.Data) + "\n")
		for _, o := range c.Outbox {
			if o.Topic.Name == "again" {
				text.WriteString("batch " + hex.EncodeToString(o.Data) + "\n")
			}
		}
	}
	golden := filepath.Join("testdata", "format-v1.golden")
	if *rewrite {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(text.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), text.String())
	_, task := sample()
	seq := uint64(0)
	for _, l := range strings.Fields(string(want)) {
		if l == "commit" || l == "batch" {
			continue
		}
		data, err := hex.DecodeString(l)
		require.NoError(t, err)
		if seq++; seq%2 == 1 { // every second line is a batch
			require.NoError(t, task.Restore(seq, data))
		}
	}
	undelivered, err := task.Restored()
	require.NoError(t, err)
	require.Len(t, undelivered, 3)
	kv := task.Store("op.kv").(*KeyValue[int])
	n, ok := kv.Get("kthree")
	require.True(t, ok)
	require.Equal(t, 5, n)
	require.Equal(t, []Position{{Topic: "in", Next: 10}, {Topic: "again", Next: 1, Internal: true}}, task.Positions())
}

func TestPositionInsideABatch(t *testing.T) {
	commits := sampleCommits(t)
	var batch []byte
	for _, o := range commits[0].Outbox {
		if o.Topic.Name == "again" {
			batch = o.Data
		}
	}
	batch = appendBatchRecord(batch, &Emitted{Key: "second", Time: 5, Data: []byte("2")})
	batch = appendBatchRecord(batch, &Emitted{Key: "third", Time: 6, Data: []byte("3")})
	message := []stream.Message{{Partition: 2, Offset: 4, Data: batch}}
	_, task := sample()
	task.Feed(1, append([]stream.Message(nil), message...))
	for range 2 {
		_, err := task.Step()
		require.NoError(t, err)
	}
	c, err := task.Commit("o", false)
	require.NoError(t, err)
	require.Equal(t, Position{Topic: "again", Next: 4, Index: 2, Internal: true}, c.Positions[1])
	_, back := sample()
	require.NoError(t, back.Restore(1, c.Data))
	_, err = back.Restored()
	require.NoError(t, err)
	back.Feed(1, append([]stream.Message(nil), message...))
	done, err := back.Step()
	require.NoError(t, err)
	require.True(t, done)
	_, ok := back.Store("op.kv").(*KeyValue[int]).Get("third")
	require.True(t, ok)
	require.Equal(t, Position{Topic: "again", Next: 5, Internal: true}, back.Positions()[1])
}

// TestRedeliveredBatchesArePassedOver sends the batches of an upstream task again, at other offsets, before and after a
// restart: the server may have forgotten their ids by then.
func TestRedeliveredBatchesArePassedOver(t *testing.T) {
	message := func(offset uint64, commit, index int) stream.Message {
		key := fmt.Sprintf("%d-%d", commit, index)
		return stream.Message{
			Offset: offset, Data: appendBatchRecord(nil, &Emitted{Key: key, Time: 5, Data: []byte("x")}),
			Headers: stream.Headers{msgID: {fmt.Sprintf("app/up-0/%d/%d", commit, index)}},
		}
	}
	step := func(task *Task) int {
		n := 0
		for {
			done, err := task.Step()
			require.NoError(t, err)
			if !done {
				return n
			}
			n++
		}
	}
	_, task := sample()
	task.Feed(1, []stream.Message{message(1, 9, 0), message(2, 9, 1), message(3, 10, 0), message(4, 9, 1), message(5, 10, 0)})
	require.Equal(t, 3, step(task))
	c, err := task.Commit("o", false)
	require.NoError(t, err)
	require.EqualValues(t, 6, c.Positions[1].Next)
	_, back := sample()
	require.NoError(t, back.Restore(1, c.Data))
	back.Feed(1, []stream.Message{message(6, 9, 0), message(7, 10, 0), message(8, 10, 1), message(9, 11, 0)})
	require.Equal(t, 2, step(back))
}

func FuzzRestore(f *testing.F) {
	_, task := sample()
	task.Feed(0, []stream.Message{{Offset: 1, Key: "k", Data: []byte("x"), Stored: time.Unix(1, 0), Headers: stream.Headers{"A": {"1"}}}})
	_, _ = task.Step()
	c, err := task.Commit("o", false)
	require.NoError(f, err)
	f.Add(c.Data)
	f.Add([]byte{commitVersion})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		_, task := sample()
		if err := task.Restore(1, data); err == nil {
			_, _ = task.Restored()
		}
	})
}

func FuzzBatch(f *testing.F) {
	f.Add(appendBatchRecord(nil, &Emitted{Key: "k", Data: []byte("v"), Headers: stream.Headers{"A": {"1"}}}))
	f.Add([]byte{batchVersion, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		_, task := sample()
		task.Feed(1, []stream.Message{{Offset: 1, Data: data}})
		for {
			done, err := task.Step()
			if err != nil || !done {
				return
			}
		}
	})
}
