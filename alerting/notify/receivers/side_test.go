package receivers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/notifyfile"
	"github.com/rossby-streams/rossby/alerting/notify/receivers"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// routing is what both have; %s is what a receiver has besides its name.
const routing = `
route:
  receiver: ops
  group_by: [alertname]
  group_wait: 500ms
  group_interval: 1s
  routes:
    - {receiver: pager, matchers: ['severity="critical"'], group_by: ['...'], continue: true}
    - {receiver: pager, matchers: ['alertname=~"Slow|Down"'], group_by: [key], repeat_interval: 2500ms}
receivers:
  - {name: ops%s}
  - {name: pager%s}
inhibit_rules:
  - {source_matchers: ['alertname="Down"'], target_matchers: ['alertname="Slow"'], equal: [key]}
`

// TestSideBySide: the same alerts, given to an Alertmanager and to an app of ours with the same routes, make the same notifications, group by
// group. It takes as long as the alerts do.
func TestSideBySide(t *testing.T) {
	program := os.Getenv(peer)
	if program == "" {
		t.Logf("%s names no Alertmanager", peer)
		return
	}
	theirs, ours := listen(t), listen(t)
	hook := fmt.Sprintf(", webhook_configs: [{url: '%s'}]", theirs.URL)
	url := alertmanager(t, program, fmt.Sprintf(routing, hook, hook))
	cfg, err := notifyfile.Parse(fmt.Appendf(nil, routing, "", ""))
	require.NoError(t, err)

	nc := embeddedtest.Connect(t)
	client, err := stream.NewClient(nc, stream.Config{Storage: stream.Memory})
	require.NoError(t, err)
	require.NoError(t, client.CreateTopic(t.Context(), alarms.Spec()))
	producer, err := stream.NewProducer(client, alarms, stream.ProducerConfig{})
	require.NoError(t, err)
	b := processor.NewBuilder("app")
	told := notify.Notify(processor.From(b, alarms), processor.Stream[notify.SilenceChange]{}, cfg)
	for _, name := range []string{"ops", "pager"} {
		w := &receivers.Webhook{HTTP: receivers.HTTP{URL: receivers.Text(ours.URL)}}
		notify.Deliver(b, told, notify.Target{Receiver: name, Send: w.Send})
	}
	topology, err := b.Build()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- processor.NewApp(client, topology, processor.Config{}).Run(ctx) }()

	since := make(map[string]time.Time)
	both := func(rule, key, severity string, state alerting.State) {
		now := time.Now().UTC()
		name := rule + key
		alert := map[string]any{"labels": map[string]string{"alertname": rule, "key": key, "severity": severity}}
		if state == alerting.Firing {
			since[name] = now
			alert["endsAt"] = now.Add(time.Hour)
		} else {
			alert["endsAt"] = now
		}
		alert["startsAt"] = since[name]
		body, err := json.Marshal([]any{alert})
		require.NoError(t, err)
		answer, err := http.Post(url+"/api/v2/alerts", "application/json", bytes.NewReader(body))
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, http.StatusOK, answer.StatusCode)
		a := alerting.Alarm{Rule: rule, Key: key, Severity: severity, State: state, Since: since[name], At: now, Context: json.RawMessage("null")}
		require.NoError(t, producer.Send(t.Context(), stream.ProducerRecord[alerting.Alarm]{Key: key, Value: a}))
		require.NoError(t, producer.Flush(t.Context()))
	}
	both("Warm", "w", "info", alerting.Firing) // until both work
	require.Eventually(t, func() bool { return len(theirs.got()) > 0 && len(ours.got()) > 0 }, 30*time.Second, time.Millisecond)
	began := time.Now()
	for _, step := range []struct {
		at                  float64
		rule, key, severity string
		state               alerting.State
	}{
		{0.0, "Hot", "a", "warning", alerting.Firing}, {0.1, "Hot", "b", "warning", alerting.Firing}, {0.1, "Slow", "a", "warning", alerting.Firing},
		{0.1, "Disk", "a", "critical", alerting.Firing}, {0.2, "Slow", "b", "warning", alerting.Firing}, {0.2, "Brief", "a", "warning", alerting.Firing},
		{0.3, "Brief", "a", "warning", alerting.Resolved},
		{1.0, "Hot", "c", "warning", alerting.Firing}, {1.0, "Down", "a", "critical", alerting.Firing},
		{2.0, "Hot", "b", "warning", alerting.Resolved}, {3.0, "Hot", "a", "warning", alerting.Resolved}, {3.1, "Hot", "c", "warning", alerting.Resolved},
		{4.0, "Down", "a", "critical", alerting.Resolved}, {4.0, "Disk", "a", "critical", alerting.Resolved},
		{5.0, "Hot", "a", "warning", alerting.Firing}, {6.0, "Slow", "a", "warning", alerting.Resolved},
	} {
		until(t, began, step.at)
		both(step.rule, step.key, step.severity, step.state)
	}
	until(t, began, 9)
	require.NoError(t, producer.Close(t.Context()))
	cancel()
	require.NoError(t, <-done)
	want, got := story(t, theirs), story(t, ours)
	for group, lines := range want {
		require.Equal(t, lines, got[group], group)
	}
	require.Len(t, got, len(want))
	t.Logf("%d groups, %d notifications", len(want), len(theirs.got()))
}

// until waits for a moment of the story.
func until(t *testing.T, began time.Time, seconds float64) {
	t.Helper()
	timer := time.NewTimer(time.Until(began.Add(time.Duration(seconds * float64(time.Second)))))
	defer timer.Stop()
	select {
	case <-t.Context().Done():
	case <-timer.C:
	}
}

// story is what was told of each group, in order. How often something is repeated within the time depends on when it began.
func story(t *testing.T, l *listener) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	for _, p := range l.got() {
		var m receivers.Message
		require.NoError(t, json.Unmarshal(p.body, &m))
		var alerts []string
		for _, a := range m.Alerts {
			alerts = append(alerts, a.Labels["alertname"]+"/"+a.Labels["key"]+" "+a.Status)
		}
		slices.Sort(alerts)
		group := m.Receiver + " " + m.GroupKey
		line := m.Status + ", " + m.NotificationReason + ": " + strings.Join(alerts, ", ")
		if m.NotificationReason == string(notify.RepeatElapsed) && slices.Contains(all[group], line) {
			continue
		}
		all[group] = append(all[group], line)
	}
	return all
}
