package processor_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// TestCopiesTellTheirProgress has a standby read the journal of a task that has commits already: the hook and the logger hear how far it is
// behind, and that it is not any more.
func TestCopiesTellTheirProgress(t *testing.T) {
	t.Parallel()
	server, client := newServer(t)
	produce(t, client, passed) // it exists
	first, second := names("ints-0")
	owner := startInstance(t, server, passOn(t), processor.Config{Standby: true, Instance: first, SessionTimeout: patient})
	for n := range uint64(20) { // a commit each
		produce(t, client, ints, stream.ProducerRecord[int]{Key: "k", Value: 1})
		require.Eventually(t, func() bool { return ends(t, client, passed.Spec()) == n+1 }, 30*time.Second, time.Millisecond)
	}
	var mu sync.Mutex
	var told []processor.TaskStats
	standby := startInstance(t, server, passOn(t), processor.Config{Standby: true, Instance: second, OnTask: func(s processor.TaskStats) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, s)
	}})
	heard := func(is func(processor.TaskStats) bool) bool {
		mu.Lock()
		defer mu.Unlock()
		for _, s := range told {
			if s.State == processor.TaskFollowing && s.Restored > 0 && is(s) {
				return true
			}
		}
		return false
	}
	require.Eventually(t, func() bool {
		return heard(func(s processor.TaskStats) bool { return s.ToRestore > 0 }) && heard(func(s processor.TaskStats) bool { return s.Restored > 1 })
	}, 30*time.Second, time.Millisecond)
	require.Equal(t, 1, standby.logs.FilterMessage("restoring").FilterField(zap.String("state", "following")).Len())
	owner.leave(t)
	waitsFor(t, standby.app, processor.WaitRecords)
	standby.leave(t)
	for _, state := range []string{"following", "restoring", "running", "ended"} {
		news := standby.logs.FilterMessage("the task is " + state).All()
		require.Len(t, news, 1, state)
		require.Contains(t, news[0].ContextMap(), "for")
		require.Equal(t, zap.InfoLevel, news[0].Level)
	}
	require.Equal(t, zap.InfoLevel, standby.logs.FilterMessage("took over").All()[0].Level)
}

// TestGlobalTablesTellTheirProgress reads a global table, and asks how far it has been read.
func TestGlobalTablesTellTheirProgress(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	prices := stream.Topic[int]{Name: "prices", Partitions: 2, Compact: true}
	for i := range 30 {
		produce(t, client, prices, stream.ProducerRecord[int]{Key: fmt.Sprint(i % 10), Value: i + 1})
	}
	b := processor.NewBuilder("priced")
	table := processor.GlobalTableFrom(b, prices)
	processor.Process(processor.From(b, ints), "price", func(c *processor.Context[int]) processor.Handler[int] {
		rows := processor.LookupsIn(c, table)
		return processor.Handler[int]{Record: func(r processor.Record[int]) error {
			price, _ := rows.Get(r.Key)
			c.Forward(processor.With(r, price))
			return nil
		}}
	}).To(passed)
	core, logs := observer.New(zap.InfoLevel)
	app := processor.NewApp(client, build(t, b), processor.Config{Bounded: true, Logger: zap.New(core)})
	require.Empty(t, app.GlobalStats())
	require.NoError(t, app.Run(t.Context()))
	stats := app.GlobalStats()
	require.Len(t, stats, 1)
	require.Equal(t, "prices", stats[0].Topic)
	require.Equal(t, 10, stats[0].Rows)
	require.GreaterOrEqual(t, stats[0].Read, uint64(10), "of each key one at least, whatever compaction has left")
	require.Zero(t, stats[0].Left)
	filled := logs.FilterMessage("a global table is filled").All()
	require.Len(t, filled, 1)
	require.EqualValues(t, 10, filled[0].ContextMap()["rows"])
}

// TestLagIsKnownWithoutReading asks for the lag of a task that is paused with more waiting than it holds in memory, and of its copy.
func TestLagIsKnownWithoutReading(t *testing.T) {
	t.Parallel()
	server, client := newServer(t)
	large := stream.Topic[string]{Name: "large"}
	b := processor.NewBuilder("lagging")
	processor.Map(processor.From(b, large), func(s string) string { return s[:1] }).To(words)
	topology := build(t, b)
	one := stream.ProducerRecord[string]{Key: "k", Value: strings.Repeat("x", 200<<10)}
	produce(t, client, large, one, one)
	first, second := names("large-0")
	owner := startInstance(t, server, topology, processor.Config{Standby: true, Instance: first, SessionTimeout: patient})
	waitsFor(t, owner.app, processor.WaitRecords) // before the other one can have the task
	standby := startInstance(t, server, topology, processor.Config{Standby: true, Instance: second, SessionTimeout: patient})
	lag := func(want uint64) {
		t.Helper()
		for _, r := range []*running{owner, standby} {
			require.Eventually(t, func() bool {
				s := r.app.Stats()
				return len(s) == 1 && s[0].Inputs[0].Lag == want
			}, 30*time.Second, 5*time.Millisecond, "it should be %d, not as in %+v", want, r.app.Stats())
		}
	}
	waitsFor(t, standby.app, processor.WaitOwnership)
	require.NoError(t, owner.app.Pause(t.Context()))
	const many = 40 // of which some have room
	for range many {
		produce(t, client, large, one)
	}
	lag(many)
	for range many {
		produce(t, client, large, one)
	}
	lag(2 * many)
	owner.app.Resume()
	lag(0)
	require.EqualValues(t, 2+2*many, owner.app.Stats()[0].Records)
	require.EqualValues(t, 3+2*many, standby.app.Stats()[0].Inputs[0].Next)
	owner.leave(t)
	standby.leave(t)
}
