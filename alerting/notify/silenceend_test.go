package notify_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
)

// ends is an app that says when silences end, looked at every 10 s.
type ends struct {
	*testing.T
	d     *processortest.Driver
	inbox inbox
	said  []map[string]string // labels and annotations of the first SilenceEnded
	crash func(*processortest.Driver)
	now   int
}

func newEnds(t *testing.T, crash func(*processortest.Driver)) *ends {
	e := &ends{T: t, crash: crash}
	b := processor.NewBuilder("app")
	out := notify.Notify(processor.From(b, alarms), processor.From(b, silences), notify.Config{
		Route:           notify.Route{Receiver: "ops", GroupBy: []string{"alertname"}, GroupWait: 10 * time.Second, GroupInterval: 10 * time.Second},
		Receivers:       []notify.Receiver{{Name: "ops", SendResolved: true}},
		TellSilenceEnds: true,
	})
	notify.Deliver(b, out, notify.Target{Receiver: "ops", Send: func(ctx context.Context, d processor.Delivery[notify.Notification]) error {
		for _, a := range d.Value.Alerts {
			if a.Labels[notify.LabelName] == notify.SilenceEnded && e.said == nil {
				e.said = []map[string]string{a.Labels, a.Annotations}
			}
		}
		return e.inbox.send(ctx, d)
	}})
	topology, err := b.Build()
	require.NoError(t, err)
	e.d = processortest.New(t, topology)
	e.d.SetClock(at(0))
	return e
}

// until lets time go on and returns what was told.
func (e *ends) until(seconds int) []string {
	for ; e.now < seconds; e.now += 10 {
		e.crash(e.d)
		e.d.AdvanceClock(10 * time.Second)
	}
	e.crash(e.d)
	require.NoError(e, e.d.Err())
	require.Empty(e, e.d.DeadLetters())
	return e.inbox.take()
}

func crashes() map[string]func(*processortest.Driver) {
	return map[string]func(*processortest.Driver){"straight": func(*processortest.Driver) {}, "crashes": (*processortest.Driver).Crash}
}

// TestSilenceEndsUnused: it stays while an alert fires that it matches, and ends so long after the last one; whoever is told of such alerts is
// told that it has ended, once.
func TestSilenceEndsUnused(t *testing.T) {
	for name, crash := range crashes() {
		t.Run(name, func(t *testing.T) {
			e := newEnds(t, crash)
			silence(e.d, "s", 1, &notify.Silence{
				Matchers: match(t, `alertname="Slow",key="a",team=""`), StartsAt: at(0), EndsAt: at(1e6), UnusedFor: notify.Duration(2 * time.Minute),
				CreatedBy: "ann", Comment: "new disks",
			})
			e.until(110)
			alarm(e.d, "Slow", "a", "warning", alerting.Firing)
			e.until(150)
			silence(e.d, "s", 2, &notify.Silence{
				Matchers: match(t, `alertname="Slow",key="a"`), StartsAt: at(140), EndsAt: at(1e6), UnusedFor: notify.Duration(2 * time.Minute),
				CreatedBy: "ann", Comment: "new disks",
			})
			require.Empty(t, e.until(400)) // it fires
			alarm(e.d, "Slow", "a", "warning", alerting.Resolved)
			require.Empty(t, e.until(500))
			alarm(e.d, "Slow", "a", "warning", alerting.Firing)
			e.until(510)
			alarm(e.d, "Slow", "a", "warning", alerting.Resolved)
			require.Empty(t, e.until(630)) // the silence has ended, and its group waits
			require.Equal(t, []string{"first notification: SilenceEnded 630.0"}, e.until(640))
			require.Len(t, e.said, 2)
			require.Equal(t, map[string]string{"alertname": "SilenceEnded", "silence": "s", "severity": "info", "key": "a"}, e.said[0])
			require.Equal(t, "the silence s of ann (new disks) for {alertname=\"Slow\",key=\"a\"} has ended: no alert that fires has matched it for 2m0s; firing alerts that it matches: 0",
				e.said[1]["summary"])
			alarm(e.d, "Slow", "a", "warning", alerting.Firing)
			require.Equal(t, []string{"first notification: Slow 640.0"}, e.until(3600))
			require.Equal(t, []string{"all alerts resolved: SilenceEnded 630.0-4230.0"}, e.until(4300))
		})
	}
}

// TestSilenceEndIsTold: of one that has expired, not of one that was removed or ended by hand; each end is one alert.
func TestSilenceEndIsTold(t *testing.T) {
	for name, crash := range crashes() {
		t.Run(name, func(t *testing.T) {
			e := newEnds(t, crash)
			put := func(id string, revision uint64, from, to float64) {
				silence(e.d, id, revision, &notify.Silence{Matchers: match(t, `alertname="Slow"`), StartsAt: at(from), EndsAt: at(to), CreatedBy: "ann", Comment: "x"})
			}
			put("expires", 1, 0, 100)
			put("removed", 1, 0, 100)
			put("by hand", 1, 0, 100)
			put("longer", 1, 0, 100)
			alarm(e.d, "Slow", "a", "critical", alerting.Firing)
			require.Empty(t, e.until(50))
			silence(e.d, "removed", 2, nil)
			put("by hand", 2, 0, 40)
			put("longer", 2, 0, 200)
			require.Equal(t, []string{"first notification: SilenceEnded 100.0"}, e.until(190))
			require.Contains(t, e.said[1]["summary"], `has expired; firing alerts that it matches: 1`)
			require.ElementsMatch(t, []string{"first notification: Slow 0.0", "new alerts added: SilenceEnded 200.0, SilenceEnded 100.0"}, e.until(210))
			put("expires", 2, 210, 300)
			require.Equal(t, []string{"new alerts added: SilenceEnded 200.0, SilenceEnded 300.0, SilenceEnded 100.0"}, e.until(400)) // by fingerprint
		})
	}
}

func TestUnusedForIsAText(t *testing.T) {
	s := notify.Silence{Matchers: match(t, `a="b"`), StartsAt: at(0), EndsAt: at(1), UnusedFor: notify.Duration(90 * time.Minute)}
	data, err := json.Marshal(s)
	require.NoError(t, err)
	require.Contains(t, string(data), `"unusedFor":"1h30m0s"`)
	var again notify.Silence
	require.NoError(t, json.Unmarshal(data, &again))
	require.Equal(t, s.UnusedFor, again.UnusedFor)
	for text, want := range map[string]string{`"soon"`: `"soon" is no duration`, `"59s"`: "must be 1m0s or more", `"-1h"`: "must be 1m0s or more", `60`: "unusedFor"} {
		one := s
		err := json.Unmarshal([]byte(`{"unusedFor":`+text+`}`), &one)
		if err == nil {
			err = one.Validate()
		}
		require.ErrorContains(t, err, want)
	}
}
