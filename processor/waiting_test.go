package processor_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// waitsFor waits until the only task of an app waits for something, and returns what its stats say.
func waitsFor(t *testing.T, app *processor.App, why processor.Wait) (s processor.TaskStats) {
	t.Helper()
	if !assert.Eventually(t, func() bool {
		all := app.Stats()
		if len(all) == 1 {
			s = all[0]
		}
		return len(all) == 1 && s.Wait == why
	}, 30*time.Second, time.Millisecond) {
		require.FailNow(t, "another reason", "it should wait for %q: %+v", why, app.Stats())
	}
	return s
}

// names returns static names for two instances: the task stays with the first one as long as it is there.
func names(task string) (owner, standby string) {
	owner, standby = "one", "two"
	if stream.Assign([]string{owner, standby}, []string{task})[task] != owner {
		return standby, owner
	}
	return owner, standby
}

// TestWhyATaskWaits brings a task into each state in which it processes nothing, and asks why.
func TestWhyATaskWaits(t *testing.T) {
	one := stream.ProducerRecord[int]{Key: "k", Value: 1}
	failing := func(t *testing.T) *processor.Topology {
		b := processor.NewBuilder("passing")
		processor.Map(processor.From(b, ints), func(int) int { panic("away") }).OnFailure(processor.Retry{Backoff: time.Hour}).To(passed)
		return build(t, b)
	}
	undelivered := func(t *testing.T) *processor.Topology {
		b := processor.NewBuilder("passing")
		processor.From(b, ints).Deliver("hook", func(context.Context, []processor.Delivery[int]) error { return errors.New("away") })
		return build(t, b)
	}
	merged := func(t *testing.T) *processor.Topology {
		b := processor.NewBuilder("passing")
		processor.From(b, ints).Merge(processor.From(b, stream.Topic[int]{Name: "others"})).To(passed)
		return build(t, b)
	}
	for name, c := range map[string]struct {
		topology func(*testing.T) *processor.Topology
		deafTo   string // from when it runs on
		paused   bool
		silent   bool // nothing is sent
		wait     processor.Wait
		what     string
	}{
		"records":    {topology: passOn, wait: processor.WaitRecords},
		"input":      {topology: merged, deafTo: "STREAM.MSG.GET", wait: processor.WaitInput, what: "others"},
		"commit":     {topology: passOn, deafTo: "PUB _rossby.journal.", wait: processor.WaitCommit},
		"delivery":   {topology: undelivered, wait: processor.WaitDelivery, what: "deliver hook (processor/waiting_test.go"},
		"retry":      {topology: failing, wait: processor.WaitRetry, what: "map (processor/waiting_test.go"},
		"resume":     {topology: passOn, paused: true, wait: processor.WaitResume},
		"connection": {topology: passOn, silent: true, wait: processor.WaitConnection},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &deafTo{word: c.deafTo}
			client, r := deafApp(t, d, c.topology(t))
			waitsFor(t, r.app, processor.WaitRecords)
			if c.paused {
				require.NoError(t, r.app.Pause(t.Context()))
			}
			d.deaf.Store(c.deafTo != "")
			if c.silent {
				require.NoError(t, r.server.Stop())
			} else {
				produce(t, client, ints, one)
			}
			s := waitsFor(t, r.app, c.wait)
			require.Equal(t, processor.TaskRunning, s.State)
			require.Equal(t, c.what == "", s.WaitsFor == "")
			require.True(t, strings.HasPrefix(s.WaitsFor, c.what), s.WaitsFor)
			r.stop()
			_ = endsSoon(t, r.err) // some cannot commit
		})
	}
}

// TestWhyATaskDoesNotRun asks an instance why a task does not run there that another one has, that has to be restored, and that falls to a
// paused app.
func TestWhyATaskDoesNotRun(t *testing.T) {
	t.Parallel()
	d := &deafTo{word: "PUB _rossby.journal."}
	d.deaf.Store(true)
	client, restoring := deafApp(t, d, passOn(t))
	require.Equal(t, processor.TaskRestoring, waitsFor(t, restoring.app, processor.WaitRestore).State)
	restoring.stop()
	require.NoError(t, endsSoon(t, restoring.err))

	first, second := names("ints-0")
	owner := startInstance(t, restoring.server, passOn(t), processor.Config{Standby: true, Instance: first})
	waitsFor(t, owner.app, processor.WaitRecords)
	standby := startInstance(t, restoring.server, passOn(t), processor.Config{Standby: true, Instance: second})
	require.Equal(t, processor.TaskFollowing, waitsFor(t, standby.app, processor.WaitOwnership).State)
	require.NoError(t, standby.app.Pause(t.Context()))
	require.Equal(t, processor.WaitOwnership, waitsFor(t, standby.app, processor.WaitOwnership).Wait)
	owner.leave(t)
	produce(t, client, ints, stream.ProducerRecord[int]{Key: "k", Value: 1})
	require.Equal(t, processor.TaskRunning, waitsFor(t, standby.app, processor.WaitResume).State)
	standby.app.Resume()
	require.EqualValues(t, 1, waitsFor(t, standby.app, processor.WaitRecords).Records)
	standby.leave(t)
}
