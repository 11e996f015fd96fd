package processor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// wordCountOnDisk is wordCount with its counts on disk, and a timer that belongs to the task, too.
func wordCountOnDisk(t *testing.T) *processor.Topology {
	t.Helper()
	topology, err := buildWordCountOnDisk()
	require.NoError(t, err)
	return topology
}

func buildWordCountOnDisk() (*processor.Topology, error) {
	b := processor.NewBuilder("wordcount")
	b.KeepState(processor.OnDisk)
	text := processor.Map(processor.From(b, lines), func(l line) string { return l.Text })
	word := processor.KeyBy(processor.FlatMap(text, strings.Fields), "by-word", func(w string) string { return w })
	processor.Process(word, "count", countWords).To(counts)
	return b.Build()
}

func onDisk(t *testing.T, client *stream.Client, dir string, log *zap.Logger) error {
	t.Helper()
	topology := wordCountOnDisk(t)
	return processor.NewApp(client, topology, processor.Config{Bounded: true, StateDir: dir, Logger: log}).Run(t.Context())
}

// TestStateOnDiskGoesOn runs an app in parts, with the folder kept, deleted, and replaced by one of another app of that name: the
// results are those of one run, and what is built again is told.
func TestStateOnDiskGoesOn(t *testing.T) {
	client := newClient(t)
	dir := t.TempDir()
	core, logs := observer.New(zap.WarnLevel)
	records := textLines(4000)
	run := func(part int) {
		produce(t, client, lines, records[part*1000:(part+1)*1000]...)
		require.NoError(t, onDisk(t, client, dir, zap.New(core)))
		checkCounts(t, client, (part+1)*1000)
	}
	run(0)
	run(1)
	require.Zero(t, logs.Len())
	require.NoError(t, os.RemoveAll(dir))
	run(2)
	require.Zero(t, logs.Len(), "a new folder is no reason to warn")

	other := newClient(t)
	produce(t, other, lines, textLines(700)...)
	elsewhere := t.TempDir()
	require.NoError(t, onDisk(t, other, elsewhere, zap.NewNop()))
	dir = elsewhere
	run(3)
	require.NotZero(t, logs.FilterMessageSnippet("another journal").Len())
}

// TestDiskAndJournalOfDifferentLives deletes the journals, and all the app has written, but not the folder: the app begins anew.
func TestDiskAndJournalOfDifferentLives(t *testing.T) {
	client := newClient(t)
	dir := t.TempDir()
	produce(t, client, lines, textLines(1000)...)
	require.NoError(t, onDisk(t, client, dir, zap.NewNop()))
	topology := wordCountOnDisk(t)
	for _, part := range topology.Parts() {
		for p := range part.Partitions {
			require.NoError(t, client.DeleteJournal(t.Context(), fmt.Sprintf("wordcount-%s-%d-journal", part.Plan.Name, p)))
		}
	}
	require.NoError(t, client.DeleteTopic(t.Context(), counts.Name))
	require.NoError(t, client.DeleteTopic(t.Context(), "wordcount-by-word"))
	_, err := processor.Reset(t.Context(), client, topology, processor.ResetConfig{}) // to begin anew on purpose
	require.NoError(t, err)
	require.NoError(t, onDisk(t, client, dir, zap.NewNop()))
	checkCounts(t, client, 1000)
}

func TestStateFolderErrors(t *testing.T) {
	client := newClient(t)
	produce(t, client, lines, textLines(1000)...)
	require.ErrorIs(t, onDisk(t, client, "", zap.NewNop()), processor.ErrNoStateDir)

	dir := t.TempDir()
	topology := wordCountOnDisk(t)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { first <- processor.NewApp(client, topology, processor.Config{StateDir: dir}).Run(ctx) }()
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(dir, "LOCK")); return err == nil }, time.Minute, time.Millisecond)
	require.Eventually(t, func() bool { return errors.Is(onDisk(t, client, dir, zap.NewNop()), processor.ErrStateInUse) }, time.Minute, time.Millisecond)
	cancel()
	require.NoError(t, <-first)

	require.NoError(t, onDisk(t, client, dir, zap.NewNop()))
	checkCounts(t, client, 1000)
	files, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		require.NoError(t, os.WriteFile(f, bytes.Repeat([]byte{0x55}, 1000), 0o600))
	}
	err = onDisk(t, client, dir, zap.NewNop())
	require.ErrorIs(t, err, processor.ErrStateDamaged)
	require.ErrorContains(t, err, "delete the folder")
	require.NoError(t, os.RemoveAll(dir))
	produce(t, client, lines, textLines(2000)[1000:]...)
	require.NoError(t, onDisk(t, client, dir, zap.NewNop()))
	checkCounts(t, client, 2000)
}

// childArg makes the test binary the app of TestKilledAppsGoOnFromTheirDisk.
const childArg = "run-word-count-on-disk"

// runChild runs the app until it is killed. arg is the folder, and the server's URL.
func runChild(arg string) int {
	dir, url, _ := strings.Cut(arg, "=")
	nc, err := nats.Connect(url)
	if err == nil {
		defer nc.Close()
		var client *stream.Client
		var topology *processor.Topology
		if client, err = stream.NewClient(nc, stream.Config{}); err == nil {
			if topology, err = buildWordCountOnDisk(); err == nil {
				err = processor.NewApp(client, topology, processor.Config{StateDir: dir}).Run(context.Background())
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// killed runs an app in a process of its own until kill is called, which is SIGKILL.
func killed(t *testing.T, dir string, server *embedded.Server, when func(kill func())) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], childArg, dir+"="+server.URL()) // #nosec: this very program
	var said bytes.Buffer
	child.Stderr = &said
	require.NoError(t, child.Start())
	var asked atomic.Bool
	when(func() { asked.Store(true); _ = child.Process.Kill() })
	err := child.Wait()
	require.True(t, asked.Load(), "the app has ended by itself: %v: %s", err, said.String())
}

// TestKilledAppsGoOnFromTheirDisk kills the process of an app (SIGKILL) again and again, at any moment, and lets it end its work: no count
// may be lost, doubled or out of order. A process that is killed while it has nothing to do has its state in files by then: the next one
// reads the journal from there, not from its beginning.
func TestKilledAppsGoOnFromTheirDisk(t *testing.T) {
	t.Parallel()
	server := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	client, err := stream.NewClient(embeddedtest.ConnectTo(t, server), stream.Config{})
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "state")
	const part, kills = 700, 8
	records := textLines(part * (kills + 2))
	feed := func(i int) { produce(t, client, lines, records[i*part:(i+1)*part]...) }
	for i := range kills {
		feed(i)
		killed(t, dir, server, func(kill func()) {
			time.AfterFunc(time.Duration(200+rand.IntN(600))*time.Millisecond, kill)
		})
	}
	feed(kills)
	killed(t, dir, server, func(kill func()) {
		counted := func() bool { return len(all(t, client, counts)) == 3*part*(kills+1) }
		require.Eventually(t, counted, time.Minute, 100*time.Millisecond)
		before := manifests(t, dir)
		feed(kills + 1)
		require.Eventually(t, func() bool { return !maps.Equal(before, manifests(t, dir)) }, time.Minute, 10*time.Millisecond)
		kill()
	})
	core, logs := observer.New(zap.InfoLevel)
	require.NoError(t, onDisk(t, client, dir, zap.New(core)))
	checkCounts(t, client, len(records))
	require.Zero(t, logs.FilterMessageSnippet("another journal").Len())
	resumed := logs.FilterMessage("goes on from the state database").All()
	require.NotEmpty(t, resumed, "the state was built again from the journals")
	for _, e := range resumed {
		require.Greater(t, e.ContextMap()["position"], uint64(1), "the journal was read from its beginning")
	}
}

// manifests are the sizes of the files that say what belongs to a state database: they grow when a flush has ended.
func manifests(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	require.NoError(t, err)
	sizes := map[string]int64{}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil { // else it has been replaced
			sizes[f] = info.Size()
		}
	}
	return sizes
}

func TestMistakesAboutMediums(t *testing.T) {
	b := processor.NewBuilder("app")
	processor.Count(processor.From(b, lines), processor.Counting{Name: "c", Windows: processor.Tumbling(time.Minute), Keep: -1}).
		To(stream.Topic[int64]{Name: "out"})
	processor.Process(processor.From(b, counts), "p", func(c *processor.Context[int]) processor.Handler[int] {
		processor.KeyValueStore[int](c, "s", processor.Medium(7))
		return processor.Handler[int]{}
	})
	_, err := b.Build()
	require.ErrorContains(t, err, "store c.windows: give it one Medium, InMemory or OnDisk, not [medium(-1)]")
	require.ErrorContains(t, err, "store p.s: give it one Medium, InMemory or OnDisk, not [medium(7)]")
	b = processor.NewBuilder("app")
	processor.From(b, counts).To(stream.Topic[int]{Name: "out"})
	b.KeepState(0)
	_, err = b.Build()
	require.ErrorContains(t, err, "KeepState needs InMemory or OnDisk")
}

// TestStoresOnDiskInADriver: the driver, too, has a database that a crash does not take.
func TestStoresOnDiskInADriver(t *testing.T) {
	for point := processortest.BeforeAppend; point <= processortest.AfterStore; point++ {
		topology := wordCountOnDisk(t)
		d := processortest.New(t, topology)
		crashed := map[string]bool{}
		d.CrashWhen(func(s processortest.Step) bool {
			id := fmt.Sprint(s.Task, s.Commit)
			if s.Point != point || crashed[id] {
				return false
			}
			crashed[id] = true
			return true
		})
		got, seen := map[string]int{}, 0
		for i, text := range []string{"a b a", "c", "b a c a", "", "a"} {
			processortest.Pipe(d, lines, processor.Record[line]{Key: "k", Value: line{Text: text, At: at(i)}})
			totals(d, got, &seen)
		}
		require.Equal(t, map[string]int{"a": 5, "b": 2, "c": 2}, got, "a crash %v", point)
		require.Equal(t, 9, seen, "a crash %v", point)
		require.NotEmpty(t, crashed)
	}
}
