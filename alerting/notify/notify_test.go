package notify_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

var (
	alarms   = stream.Topic[alerting.Alarm]{Name: "alarms", Partitions: 2, Time: func(a alerting.Alarm) time.Time { return a.At }}
	silences = notify.SilenceChanges("silences", 2)
)

// inbox is the other side: it remembers tokens.
type inbox struct {
	mu     sync.Mutex
	tokens map[string]bool
	got    []string
	traces []string
}

func (i *inbox) send(_ context.Context, d processor.Delivery[notify.Notification]) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.tokens[d.Token] {
		return nil
	}
	if i.tokens == nil {
		i.tokens = make(map[string]bool)
	}
	i.tokens[d.Token] = true
	i.got = append(i.got, told(d.Value))
	i.traces = append(i.traces, d.Headers.Get("traceparent"))
	return nil
}

func (i *inbox) take() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	got := i.got
	i.got = nil
	return got
}

func topology(t require.TestingT, ops, pager *inbox, tellEnds bool) *processor.Topology {
	critical, err := notify.Parse(`severity="critical"`)
	require.NoError(t, err)
	down, err := notify.Parse(`alertname="Down"`)
	require.NoError(t, err)
	slow, err := notify.Parse(`alertname="Slow"`)
	require.NoError(t, err)
	b := processor.NewBuilder("app")
	out := notify.Notify(processor.From(b, alarms), processor.From(b, silences), notify.Config{
		Route: notify.Route{
			Receiver: "ops", GroupBy: []string{"alertname"}, GroupWait: 10 * time.Second, GroupInterval: 10 * time.Second, RepeatInterval: time.Hour,
			Routes: []notify.Route{{Receiver: "pager", Matchers: critical}},
		},
		Receivers: []notify.Receiver{{Name: "ops", SendResolved: true}, {Name: "pager", SendResolved: true}},
		Inhibit:   []notify.InhibitRule{{Source: down, Target: slow, Equal: []string{"key"}}},

		TellSilenceEnds: tellEnds,
	})
	notify.Deliver(b, out, notify.Target{Receiver: "ops", Send: ops.send})
	notify.Deliver(b, out, notify.Target{Receiver: "pager", Send: pager.send})
	topology, err := b.Build()
	require.NoError(t, err)
	return topology
}

func alarm(d *processortest.Driver, rule, key, severity string, state alerting.State) {
	a := alerting.Alarm{Rule: rule, Key: key, Severity: severity, State: state, Since: d.Clock(), At: d.Clock(), Context: []byte("null")}
	processortest.Pipe(d, alarms, processor.Record[alerting.Alarm]{Key: key, Value: a})
}

func silence(d *processortest.Driver, id string, revision uint64, s *notify.Silence) {
	c := notify.SilenceChange{ID: id, Version: alerting.Version{Revision: revision}, Silence: s}
	processortest.Pipe(d, silences, processor.Record[notify.SilenceChange]{Key: id, Value: c})
}

func TestAlarmsBecomeNotifications(t *testing.T) {
	for name, crash := range map[string]func(*processortest.Driver){"straight": func(*processortest.Driver) {}, "crashes": (*processortest.Driver).Crash} {
		t.Run(name, func(t *testing.T) {
			ops, pager := &inbox{}, &inbox{}
			d := processortest.New(t, topology(t, ops, pager, false))
			d.SetClock(at(0))
			step := func(seconds int) {
				crash(d)
				d.AdvanceClock(time.Duration(seconds) * time.Second)
				crash(d)
			}
			alarm(d, "Slow", "a", "warning", alerting.Pending)
			alarm(d, "Slow", "a", "warning", alerting.Firing)
			alarm(d, "Slow", "b", "warning", alerting.Firing)
			alarm(d, "Down", "a", "critical", alerting.Firing) // inhibits Slow of a
			step(9)
			require.Empty(t, ops.take())
			step(1)
			require.Equal(t, []string{"first notification: Slow 0.0"}, ops.take())
			require.Equal(t, []string{"first notification: Down 0.0"}, pager.take())
			step(10)
			alarm(d, "Down", "a", "critical", alerting.Resolved)
			step(10)
			require.Equal(t, []string{"new alerts added: Slow 0.0, Slow 0.0"}, ops.take())
			require.Equal(t, []string{"all alerts resolved: Down 0.0-20.0"}, pager.take())
			silence(d, "s", 1, &notify.Silence{Matchers: match(t, `alertname="Slow",key="a"`), StartsAt: at(0), EndsAt: at(45)})
			silence(d, "s", 1, nil) // not a newer version
			alarm(d, "Slow", "b", "warning", alerting.Resolved)
			step(10)
			require.Equal(t, []string{"all alerts resolved: Slow 0.0-30.0"}, ops.take())
			step(20)
			require.Equal(t, []string{"first notification: Slow 0.0"}, ops.take()) // the silence is over
			silence(d, "bad", 1, &notify.Silence{StartsAt: at(0), EndsAt: at(1)})
			letters := d.DeadLetters()
			require.Len(t, letters, 1)
			require.Contains(t, letters[0].Headers.Get(processor.DeadError), "silence bad is refused")
			for range 361 { // more than an hour
				step(10)
			}
			require.Equal(t, []string{"repeat interval elapsed: Slow 0.0"}, ops.take())
			alarm(d, "Slow", "a", "warning", alerting.Resolved)
			step(10)
			require.Len(t, ops.take(), 1)
			step(3 * 3600)
			require.NoError(t, d.Err())
			require.Empty(t, append(ops.take(), pager.take()...))
		})
	}
}

// TestNotificationsHaveATrace wants a notification to have the trace context of the alarm that was heard of last in its group.
func TestNotificationsHaveATrace(t *testing.T) {
	ops := &inbox{}
	d := processortest.New(t, topology(t, ops, &inbox{}, false))
	d.SetClock(at(0))
	for i, state := range []alerting.State{alerting.Firing, alerting.Firing, alerting.Resolved} {
		a := alerting.Alarm{Rule: "Slow", Key: fmt.Sprint(i % 2), Severity: "warning", State: state, Since: d.Clock(), At: d.Clock(), Context: []byte("null")}
		processortest.Pipe(d, alarms, processor.Record[alerting.Alarm]{Key: a.Key, Value: a, Headers: stream.Headers{"traceparent": {fmt.Sprint(i)}, "own": {"x"}}})
		d.Crash()
		d.AdvanceClock(10 * time.Second)
	}
	require.NoError(t, d.Err())
	require.Equal(t, []string{"0", "1", "2"}, ops.traces)
}

// TestACrashChangesNothing: at whatever point tasks die, receivers that know tokens are told the same.
func TestACrashChangesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type action struct{ what, key, wait int }
		actions := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) action {
			return action{rapid.IntRange(0, 4).Draw(rt, "what"), rapid.IntRange(0, 2).Draw(rt, "key"), rapid.IntRange(0, 12).Draw(rt, "wait")}
		}), 1, 12).Draw(rt, "actions")
		every := rapid.IntRange(2, 7).Draw(rt, "every")
		run := func(crashes bool) (told []string) {
			ops, pager := &inbox{}, &inbox{}
			d := processortest.New(t, topology(t, ops, pager, true))
			d.SetClock(at(0))
			steps := 0
			if crashes {
				d.CrashWhen(func(processortest.Step) bool {
					steps++
					return steps%every == 0
				})
			}
			for i, a := range actions {
				key := fmt.Sprint("k", a.key)
				switch a.what {
				case 0:
					alarm(d, "Slow", key, "warning", alerting.Firing)
				case 1:
					alarm(d, "Slow", key, "warning", alerting.Resolved)
				case 2:
					alarm(d, "Down", key, "critical", alerting.Firing)
				case 3:
					alarm(d, "Down", key, "critical", alerting.Resolved)
				case 4:
					silence(d, key, uint64(i+1), &notify.Silence{
						Matchers: match(t, `alertname="Slow",key="`+key+`"`), StartsAt: at(0), EndsAt: d.Clock().Add(90 * time.Second), UnusedFor: notify.Duration(time.Minute),
					})
				}
				d.AdvanceClock(time.Duration(a.wait) * time.Second)
			}
			d.AdvanceClock(time.Minute)
			d.AdvanceClock(time.Minute)
			require.NoError(rt, d.Err())
			require.Empty(rt, d.DeadLetters())
			return append(append(ops.take(), "--"), pager.take()...)
		}
		require.Equal(rt, run(false), run(true))
	})
}
