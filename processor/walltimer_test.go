package processor_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// reminders forwards each record again, as a text, when the clock has passed so many milliseconds as its value says.
func reminders(t *testing.T) (in stream.Topic[int], out stream.Topic[string], topology *processor.Topology) {
	t.Helper()
	in = stream.Topic[int]{Name: "ints", Time: func(n int) time.Time { return at(n) }}
	out = stream.Topic[string]{Name: "reminders"}
	b := processor.NewBuilder("remind")
	processor.Process(processor.From(b, in), "remind", func(c *processor.Context[string]) processor.Handler[int] {
		due := processor.KeyValueStore[string](c, "due")
		return processor.Handler[int]{
			Record: func(r processor.Record[int]) error {
				o, _ := c.Origin()
				due.Put(r.Key, fmt.Sprintf("%s/%d/%d: %d", o.Topic, o.Partition, o.Offset, r.Value))
				if r.Value < 0 {
					c.CancelWall(r.Key, c.Now().Add(time.Duration(-r.Value)*time.Millisecond))
					return nil
				}
				return c.ScheduleWall(r.Key, c.Now().Add(time.Duration(r.Value)*time.Millisecond))
			},
			WallTimer: func(tm processor.Timer) error {
				text, _ := due.Get(tm.Key)
				c.Forward(processor.Record[string]{
					Key: tm.Key, Value: text, Time: tm.At, Headers: stream.Headers{"Reminder": {tm.Key}},
				})
				if _, ok := c.Origin(); ok {
					return fmt.Errorf("a timer has an origin")
				}
				if c.Now().Before(tm.At) {
					return fmt.Errorf("a timer fired before its time")
				}
				return nil
			},
		}
	}).To(out)
	topology, err := b.Build()
	require.NoError(t, err)
	return in, out, topology
}

func TestWallTimersFollowTheClock(t *testing.T) {
	for _, crash := range []bool{false, true} {
		in, out, topology := reminders(t)
		d := processortest.New(t, topology)
		restart := func() {
			if crash {
				d.Crash()
			}
		}
		if crash {
			crashOnceAt(d)
		}
		send := func(key string, ms int) {
			processortest.Pipe(d, in, processor.Record[int]{Key: key, Value: ms})
			restart()
		}
		send("b", 300)
		send("a", 300)
		send("early", 100)
		send("gone", 200)
		send("gone", -200)
		d.AdvanceTime(at(10_000)) // stream time is not the clock
		require.Empty(t, processortest.Read(d, out))
		start := d.Clock()
		d.AdvanceClock(99 * time.Millisecond)
		restart()
		require.Empty(t, processortest.Read(d, out))
		d.AdvanceClock(time.Millisecond)
		restart()
		got := processortest.Read(d, out)
		require.Len(t, got, 1)
		require.Equal(t, "ints/0/3: 100", got[0].Value)
		require.Equal(t, start.Add(100*time.Millisecond), got[0].Time)
		require.Equal(t, "early", got[0].Headers.Get("Reminder"))
		d.SetClock(start.Add(time.Hour))
		restart()
		require.Equal(t, []string{"ints/0/2: 300", "ints/0/1: 300"}, values(processortest.Read(d, out)), "by key")
		d.AdvanceClock(time.Hour)
		restart()
		require.Empty(t, processortest.Read(d, out), "a timer fires once")
		require.Empty(t, d.DeadLetters())
	}
}

// TestWallTimersSurviveARestart sets a timer, stops the app before it is due, and starts it after: it must fire without any record.
func TestWallTimersSurviveARestart(t *testing.T) {
	client := newClient(t)
	in, out, topology := reminders(t)
	produce(t, client, in, stream.ProducerRecord[int]{Key: "k", Value: 100})
	require.NoError(t, newApp(t, client, topology, true).Run(t.Context()), "a bounded app does not wait for it")
	stored := func() uint64 {
		offsets, err := client.Offsets(t.Context(), out.Spec())
		if err != nil {
			return 0
		}
		return offsets[0].Records
	}
	run := func(until func() bool) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		_, _, topology := reminders(t)
		go func() { ended <- newApp(t, client, topology, false).Run(ctx) }()
		require.Eventually(t, until, 30*time.Second, time.Millisecond)
		cancel()
		require.NoError(t, <-ended)
	}
	run(func() bool { return stored() == 1 })
	produce(t, client, in, stream.ProducerRecord[int]{Key: "l", Value: 1})
	run(func() bool { return stored() == 2 })
	_, _, topology = reminders(t)
	require.NoError(t, newApp(t, client, topology, true).Run(t.Context()))
	require.EqualValues(t, 2, stored())
}

// TestWallTimerThatSetsItselfNow sets its next timer for a time that is past, again and again: the app must go on with records, and
// stop when asked.
func TestWallTimerThatSetsItselfNow(t *testing.T) {
	client := newClient(t)
	b := processor.NewBuilder("busy")
	processor.Process(processor.From(b, ints), "busy", func(c *processor.Context[int]) processor.Handler[int] {
		return processor.Handler[int]{
			Record: func(r processor.Record[int]) error {
				c.Forward(r)
				return c.ScheduleWall(r.Key, c.Now())
			},
			WallTimer: func(tm processor.Timer) error { return c.ScheduleWall(tm.Key, tm.At) },
		}
	}).To(passed)
	produce(t, client, ints, stream.ProducerRecord[int]{Key: "k", Value: 1}, stream.ProducerRecord[int]{Key: "k", Value: 2})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- newApp(t, client, build(t, b), false).Run(ctx) }()
	require.Eventually(t, func() bool {
		offsets, err := client.Offsets(t.Context(), passed.Spec())
		return err == nil && offsets[0].Records == 2
	}, 30*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
}
