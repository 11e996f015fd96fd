package notify_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
)

func limited(rate notify.Rate, send func(context.Context, processor.Delivery[notify.Notification]) error) (*processor.Topology, error) {
	b := processor.NewBuilder("app")
	out := notify.Notify(processor.From(b, alarms), processor.Stream[notify.SilenceChange]{}, notify.Config{
		Route:     notify.Route{Receiver: "ops", GroupBy: []string{"alertname"}, GroupWait: time.Second},
		Receivers: []notify.Receiver{{Name: "ops", SendResolved: true}},
	})
	notify.Deliver(b, out, notify.Target{Receiver: "ops", Rate: rate, Send: send})
	return b.Build()
}

// TestWaitingForATurnEndsWithTheContext: also of one that waits behind another.
func TestWaitingForATurnEndsWithTheContext(t *testing.T) {
	wait := notify.Rate{Calls: 1, Per: time.Hour}.Turns()
	require.NoError(t, wait(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	for range 2 {
		go func() { done <- wait(ctx) }()
	}
	cancel()
	for range 2 {
		require.ErrorIs(t, <-done, context.Canceled)
	}
}

// TestRate: what is over the limit waits for its turn, and comes.
func TestRate(t *testing.T) {
	var at []time.Time
	ops := &inbox{}
	topology, err := limited(notify.Rate{Calls: 2, Per: 300 * time.Millisecond}, func(ctx context.Context, d processor.Delivery[notify.Notification]) error {
		at = append(at, time.Now())
		return ops.send(ctx, d)
	})
	require.NoError(t, err)
	d := processortest.New(t, topology)
	d.SetClock(time.Unix(1_700_000_000, 0))
	for i := range 6 {
		alarm(d, fmt.Sprint("rule", i), "a", "", alerting.Firing)
	}
	start := time.Now()
	d.AdvanceClock(time.Second)
	require.NoError(t, d.Err())
	require.Len(t, at, 6)
	require.Len(t, ops.take(), 6)
	for i := range at {
		require.GreaterOrEqual(t, at[i].Sub(start), time.Duration(i/2)*300*time.Millisecond)
	}

	for _, rate := range []notify.Rate{{Calls: 1}, {Per: time.Second}, {Calls: -1, Per: time.Second}, {Calls: 1001, Per: time.Second}} {
		_, err := limited(rate, ops.send)
		require.ErrorContains(t, err, "give 1 to 1000 calls and a millisecond or more")
	}
}
