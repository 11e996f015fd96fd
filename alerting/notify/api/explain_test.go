package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/stream"
)

type explained struct {
	Transitions []struct {
		State alerting.State
		At    time.Time
		Value float64
	}
	Rule   []alerting.Explanation
	Notify []struct {
		Known  bool
		Alert  alert
		Text   string
		Routes []struct {
			Receiver string
			Next     time.Time
			Told     []struct {
				At       time.Time
				AsFiring bool
			}
		}
		Silences   []struct{ ID, CreatedBy, Comment string }
		Inhibitors []struct{ Labels map[string]string }
	}
}

// sample publishes a sample.
func (w *world) sample(key string, value float64, at time.Time) {
	require.NoError(w.t, w.samples.Send(w.t.Context(), stream.ProducerRecord[sample]{Key: key, Value: sample{value, at}}))
	require.NoError(w.t, w.samples.Flush(w.t.Context()))
}

// TestExplain: an alarm is explained through its life, by its rule and by who is told.
func TestExplain(t *testing.T) {
	notices := config(t)
	notices.Route.RepeatInterval = time.Hour // what was told is remembered for twice as long, also while a silence keeps it from being told again
	w := worldOf(t, notices)
	began := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	explain := func(path string) (e explained) {
		w.get("/api/rossby/v1/explain?"+path, &e)
		return e
	}
	rule := func(want alerting.State, why string) alerting.Explanation {
		t.Helper()
		var e explained
		w.eventually(func() bool {
			e = explain("rule=Busy&key=h")
			return e.Rule[0].State == want && strings.Contains(e.Rule[0].Why, why)
		})
		require.Len(t, e.Rule, 1)
		return e.Rule[0]
	}
	rule(alerting.Inactive, "there are 0 samples within 1m0s")
	require.False(t, explain("rule=Busy&key=h").Notify[0].Known)
	w.sample("h", 0.5, began)
	calm := rule(alerting.Inactive, "the value is no breach: a value above 0.9 is one")
	require.True(t, calm.Measured)
	require.InDelta(t, 0.5, calm.Value, 0)
	w.sample("h", 0.95, began.Add(time.Second))
	pending := rule(alerting.Pending, "it must last for 1m0s: it fires at "+began.Add(61*time.Second).Format(time.RFC3339))
	require.Equal(t, began.Add(time.Second), pending.Since)
	require.InDelta(t, 0.95, pending.Value, 0)
	require.InDelta(t, 0.9, pending.Threshold, 0)
	w.sample("h", 0.97, began.Add(62*time.Second))
	firing := rule(alerting.Firing, "a value above 0.9")
	require.InDelta(t, 0.97, firing.Peak, 0)
	require.Contains(t, firing.String(), `rule Busy, key "h": firing (warning) since `)
	w.eventually(func() bool { return w.times("ops Busy h firing") > 0 })

	silence := w.post("/api/v2/silences", silenceOf("", "key=h", 0, time.Hour))
	w.eventuallyAlerts("Busy h suppressed")
	e := explain("rule=Busy&key=h")
	require.Len(t, e.Notify, 1)
	n := e.Notify[0]
	require.True(t, n.Known)
	require.Equal(t, firing.Fingerprint, n.Alert.Fingerprint)
	require.Equal(t, silence, n.Silences[0].ID)
	require.Equal(t, "ann", n.Silences[0].CreatedBy)
	require.Equal(t, "ops", n.Routes[0].Receiver)
	require.False(t, n.Routes[0].Next.IsZero())
	require.True(t, n.Routes[0].Told[0].AsFiring)
	require.Equal(t, e.Rule, explain("fingerprint="+firing.Fingerprint).Rule)
	for _, path := range []string{"rule=Busy&key=h", "fingerprint=" + firing.Fingerprint} {
		changes := explain(path).Transitions
		require.Len(t, changes, 2, path)
		require.Equal(t, []alerting.State{alerting.Pending, alerting.Firing}, []alerting.State{changes[0].State, changes[1].State})
		require.Equal(t, began.Add(62*time.Second), changes[1].At)
		require.InDelta(t, 0.97, changes[1].Value, 0)
	}
	code, text, header := w.do("GET", "/api/rossby/v1/explain?format=text&fingerprint="+firing.Fingerprint, "")
	require.Equal(t, 200, code)
	require.Equal(t, "text/plain; charset=utf-8", header.Get("Content-Type"))
	for _, want := range []string{"rule Busy", "firing since", "silenced by " + silence + ` {key="h"} of ann until`, "route {} to ops", "was told at", "that it fires", " firing (warning), value 0.97\n"} {
		require.Contains(t, text, want)
	}
	w.raise("Down", "x", "critical", alerting.Firing)
	w.raise("Slow", "x", "warning", alerting.Firing)
	w.eventually(func() bool {
		e = explain("rule=Slow&key=x&label=severity=warning")
		return len(e.Notify[0].Inhibitors) == 1
	})
	require.Equal(t, "Down", e.Notify[0].Inhibitors[0].Labels["alertname"])
	require.Empty(t, e.Rule, "there is no such rule")
	e = explain("label=severity=critical&label=alertname=Never")
	require.False(t, e.Notify[0].Known)
	require.Contains(t, e.Notify[0].Text, "if it came now")
	require.Equal(t, "pager", e.Notify[0].Routes[0].Receiver)
	require.Contains(t, explain("fingerprint=nobody").Notify[0].Text, "nobody has heard of it")
}
