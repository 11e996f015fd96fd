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
		Shape:  0x0123456789abcdef,
	}
	plan.Wire = func(t *Task) {
		kv := NewKeyValue(t, "op.kv", stream.JSON[int]())
		win := NewWindow(t, "op.win", 1000, stream.JSON[string]())
		timers := NewTimers(t, "op.timers", func(string, int64) {})
		wall := NewWallTimers(t, "op.wall", func(string, int64) {})
		expiring := NewExpiring(t, "op.expiring", 3600e9, stream.JSON[int]())
		sessions := NewWindow(t, "op.sessions", 3600e9, stream.JSON[SessionRow[string]]())
		current := NewKeyValue(t, "op.versioned", stream.JSON[Version[string]]())
		past := NewWindow(t, "op.versioned-past", 3600e9, stream.JSON[Version[string]]())
		process := func(raw *Raw) {
			kv.Put(raw.Key, len(raw.Data))
			win.Add(raw.Key, raw.Time, string(raw.Data))
			timers.Set(raw.Key, raw.Time+5000)
			wall.Set(raw.Key, raw.Time+7000)
			expiring.Put(raw.Key, len(raw.Data))
			sessions.Add(raw.Key, raw.Time, SessionRow[string]{Start: raw.Time - 3, Value: string(raw.Data)})
			current.Put(raw.Key, Version[string]{From: raw.Time, Value: string(raw.Data)})
			current.Put("gone", Version[string]{From: raw.Time, Dead: true})
			past.Add(raw.Key, raw.Time, Version[string]{From: raw.Time - 9, Value: "before"})
			kv.Put("deleted", 1)
			if len(raw.Data) == 5 {
				kv.Delete("deleted")
			}
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
	task.Made(0, 77)
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
	golden := filepath.Join("testdata", fmt.Sprintf("format-v%d.golden", commitVersion))
	if *rewrite {
		require.NoError(t, os.WriteFile(golden, []byte(text.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), text.String())
}

// TestFormerFormatsAreRead restores from journals in all formats that there have been.
func TestFormerFormatsAreRead(t *testing.T) {
	for version := 1; version <= commitVersion; version++ {
		_, task := sample()
		for i, data := range goldenCommits(t, version) {
			require.NoError(t, task.Restore(uint64(i+1), data))
		}
		undelivered, err := task.Restored()
		require.NoError(t, err)
		require.Len(t, undelivered, 3)
		kv := task.Store("op.kv").(*KeyValue[int])
		n, ok := kv.Get("kthree")
		require.True(t, ok)
		require.Equal(t, 5, n)
		in := Position{Topic: "in", Next: 10}
		if version > 1 {
			in.Made, in.Stored = 77, 3e9
		}
		require.Equal(t, []Position{in, {Topic: "again", Next: 1, Internal: true}}, task.Positions())
		if version > 1 { // its sample had no others
			requireAllRows(t, task)
		}
		_, _, late := task.BeginsLate()
		require.False(t, late)
		c, err := task.Commit("next", true)
		require.NoError(t, err)
		require.EqualValues(t, commitVersion, c.Data[0])
	}
}

// requireAllRows looks for a row of each kind as the last commit of the golden file has it.
func requireAllRows(t *testing.T, task *Task) {
	t.Helper()
	const at = int64(3e9)
	n, ok := task.Store("op.expiring").(*KeyValue[int]).Get("kthree")
	require.True(t, ok)
	require.Equal(t, 5, n)
	_, ok = task.Store("op.kv").(*KeyValue[int]).Get("deleted")
	require.False(t, ok)
	require.Equal(t, []SessionRow[string]{{Start: at - 3, Value: "three"}}, task.Store("op.sessions").(*Window[SessionRow[string]]).Rows("kthree", at, at))
	require.Equal(t, []Version[string]{{From: at - 9, Value: "before"}}, task.Store("op.versioned-past").(*Window[Version[string]]).Rows("kthree", at, at))
	versions := task.Store("op.versioned").(*KeyValue[Version[string]])
	v, ok := versions.Get("kthree")
	require.True(t, ok)
	require.Equal(t, Version[string]{From: at, Value: "three"}, v)
	v, ok = versions.Get("gone")
	require.True(t, ok)
	require.Equal(t, Version[string]{From: at, Dead: true}, v)
	next, ok := task.NextTimer()
	require.True(t, ok)
	require.Equal(t, int64(3e9)+5000, next, "those before have fired")
	next, ok = task.NextWallTimer()
	require.True(t, ok)
	require.Equal(t, int64(1e9)+7000, next)
}

func goldenCommits(t *testing.T, version int) (commits [][]byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("format-v%d.golden", version)))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if code, ok := strings.CutPrefix(strings.TrimSpace(line), "commit "); ok {
			data, err := hex.DecodeString(code)
			require.NoError(t, err)
			require.EqualValues(t, version, data[0])
			commits = append(commits, data)
		}
	}
	return commits
}

// TestCommitsSayWhereTheJournalBegins leaves out the first commits, all of which are needed: their rows are live.
func TestCommitsSayWhereTheJournalBegins(t *testing.T) {
	commits := goldenCommits(t, commitVersion)
	for from := range commits {
		_, task := sample()
		for i, data := range commits[from:] {
			require.NoError(t, task.Restore(uint64(from+i+1), data))
		}
		needed, first, late := task.BeginsLate()
		require.Equal(t, from > 0, late)
		require.EqualValues(t, 1, needed)
		require.EqualValues(t, from+1, first)
	}
	_, task := sample()
	require.NoError(t, task.Restore(1, commits[0]))
	require.ErrorIs(t, task.Restore(2, commits[2]), errCorrupt, "one is missing in between")
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

// FuzzDisk reads what the state database has of a task, and of a row.
func FuzzDisk(f *testing.F) {
	_, task := sample()
	state := &diskState{task: task, head: []byte{commitVersion}}
	state.bases = []*diskBase{{}}
	f.Add(appendPlace(state.appendPosition(nil, 7, 6), place64{7, 9, 11, 8}))
	f.Add([]byte{diskVersion})
	f.Add([]byte{5, 6, 'x'})
	f.Fuzz(func(t *testing.T, data []byte) {
		if p := state.decodePosition(data); p != nil {
			require.Len(t, p.slices, 1)
		}
		if row, err := decodeStored(data); err == nil {
			require.LessOrEqual(t, len(row.value), len(data))
		}
		key, at, seq := readRowKey(data)
		if len(data) >= 17 && data[0] == byte(len(data)-17) {
			require.Equal(t, data, appendRowKey(nil, key, at, seq))
		}
		_, _ = ShapeOf(data)
	})
}
