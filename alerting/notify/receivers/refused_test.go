package receivers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/receivers"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// TestRefusedNoticesAreDeadLetters: what a receiver refuses for good goes to a topic, each once and with the reason, and holds up nothing.
func TestRefusedNoticesAreDeadLetters(t *testing.T) {
	l := listen(t)
	l.answer = func(p post) int {
		if strings.Contains(string(p.body), `"key":"bad`) {
			return 422
		}
		return 200
	}
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{Storage: stream.Memory})
	require.NoError(t, err)
	refusals := stream.Topic[notify.Refusal]{Name: "refused-notices"}
	require.NoError(t, client.CreateTopic(t.Context(), alarms.Spec()))
	require.NoError(t, client.CreateTopic(t.Context(), refusals.Spec()))
	b := processor.NewBuilder("app")
	told := notify.Notify(processor.From(b, alarms), processor.Stream[notify.SilenceChange]{}, notify.Config{
		Route: notify.Route{Receiver: "hook", GroupBy: []string{notify.GroupByAll}, GroupWait: time.Millisecond, GroupInterval: time.Hour}, Receivers: []notify.Receiver{{Name: "hook"}},
	})
	hook := &receivers.Webhook{HTTP: receivers.HTTP{URL: receivers.Text(l.URL)}}
	notify.Deliver(b, told, notify.Target{Receiver: "hook", Send: hook.Send, Refused: notify.Refusals(client, refusals)})
	topology, err := b.Build()
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- processor.NewApp(client, topology, processor.Config{}).Run(ctx) }()
	p, err := stream.NewProducer(client, alarms, stream.ProducerConfig{})
	require.NoError(t, err)
	keys := []string{"bad-1", "good-1", "bad-2", "good-2"}
	for _, key := range keys {
		now := time.Now().UTC()
		a := alerting.Alarm{Rule: "R", Key: key, State: alerting.Firing, Since: now, At: now, Context: []byte("null")}
		require.NoError(t, p.Send(t.Context(), stream.ProducerRecord[alerting.Alarm]{Key: key, Value: a}))
	}
	require.NoError(t, p.Close(t.Context()))
	var letters []notify.Refusal
	letter := make(chan notify.Refusal, 100)
	reader, err := client.OpenReader(t.Context(), refusals.Spec(), 0, stream.ReaderConfig{
		Deliver: func(m stream.Message) {
			var r notify.Refusal
			if err := json.Unmarshal(m.Data, &r); err != nil {
				t.Error(err)
			}
			letter <- r
		},
		Failed: func(err error) { t.Error(err) },
	})
	require.NoError(t, err)
	defer reader.Close()
	for range 2 {
		letters = append(letters, <-letter)
	}
	require.Eventually(t, func() bool { return len(l.got()) == 2 }, time.Minute, 5*time.Millisecond)
	stop()
	require.NoError(t, <-ended)
	require.Empty(t, letter)
	tokens := make(map[string]bool)
	for _, r := range letters {
		tokens[r.Token] = true
		require.Contains(t, r.Error, "status 422")
		require.Contains(t, r.Notification.Alerts[0].Labels["key"], "bad-")
	}
	require.Len(t, tokens, 2)
}

// TestAlertmanagerWithinBounds gives it more than a request takes: annotations are cut first, and no alert is left out.
func TestAlertmanagerWithinBounds(t *testing.T) {
	l := listen(t)
	am := &receivers.Alertmanager{HTTP: receivers.HTTP{URL: receivers.Text(l.URL)}}
	n := notification()
	n.Alerts = nil
	for i := range 5000 {
		n.Alerts = append(n.Alerts, notify.Alert{
			Fingerprint: fmt.Sprint(i), Labels: map[string]string{"alertname": "A", "key": fmt.Sprint(i)}, StartsAt: n.At,
			Annotations: map[string]string{"context": strings.Repeat("<", 2000)},
		})
	}
	require.NoError(t, am.Send(t.Context(), delivery(n)))
	keys := make(map[string]bool)
	for _, p := range l.got() {
		require.LessOrEqual(t, len(p.body), 1<<20)
		var alerts []struct{ Labels, Annotations map[string]string }
		require.NoError(t, json.Unmarshal(p.body, &alerts))
		for _, a := range alerts {
			require.False(t, keys[a.Labels["key"]])
			keys[a.Labels["key"]] = true
			require.LessOrEqual(t, len(a.Annotations["context"]), 200)
			require.NotEmpty(t, a.Annotations["context"])
		}
	}
	require.Len(t, keys, 5000)
}
