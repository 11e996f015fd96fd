package receivers_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/receivers"
)

// TestRetryAfter: a receiver that asks for a pause gets it, but not for longer than the context.
func TestRetryAfter(t *testing.T) {
	header, status := "", http.StatusTooManyRequests
	asked := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", header)
		w.WriteHeader(status)
		asked <- struct{}{}
	}))
	defer http.DefaultClient.CloseIdleConnections()
	defer s.Close()
	hook := &receivers.Webhook{HTTP: receivers.HTTP{URL: receivers.Text(s.URL)}}
	send := func(ctx context.Context) error { return hook.Send(ctx, delivery(notification())) }

	header = "1"
	start := time.Now()
	require.ErrorContains(t, send(t.Context()), "status 429")
	require.GreaterOrEqual(t, time.Since(start), time.Second)
	<-asked
	for _, text := range []string{"", "0", "-5", "soon", "99999999999999999999", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)} {
		header = text
		require.ErrorContains(t, send(t.Context()), "status 429", text) // at once
		<-asked
	}
	header, status = "3600", http.StatusBadRequest
	require.ErrorIs(t, send(t.Context()), notify.ErrRefused) // nobody will come again
	<-asked
	for _, text := range []string{"3600", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)} {
		header, status = text, http.StatusServiceUnavailable
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- send(ctx) }()
		<-asked
		cancel()
		require.Error(t, <-done)
	}
}

// giant is a notification whose contexts and annotations are larger than anything takes.
func giant(filler string) notify.Notification {
	n := notification()
	for i := range n.Alerts {
		n.Alerts[i].Context = json.RawMessage(`"` + strings.Repeat("x", 4<<20) + `"`)
	}
	n.Alerts[0].Annotations["summary"] = strings.Repeat(filler, 1<<18)
	n.GroupLabels["filler"] = strings.Repeat(filler, 1<<16)
	return n
}

// TestGiants: whatever is in it, what is sent has its limits, and says which group and how many alerts.
func TestGiants(t *testing.T) {
	l := listen(t)
	way := receivers.HTTP{URL: receivers.Text(l.URL)}
	for _, filler := range []string{"x", "\u00fc", "\x01", `"`, "<"} {
		n := giant(filler)
		slack, pager, hook := &receivers.Slack{HTTP: way}, &receivers.PagerDuty{HTTP: way, RoutingKey: receivers.Text("key")}, &receivers.Webhook{HTTP: way}
		require.NoError(t, slack.Send(t.Context(), delivery(n)))
		require.NoError(t, pager.Send(t.Context(), delivery(n)))
		posts := l.got()[len(l.got())-2:]
		require.Less(t, len(posts[0].body), 40_000)
		require.Less(t, len(posts[1].body), 512<<10)
		require.Contains(t, string(posts[0].body), "[FIRING:1] HighCPU")
		require.Contains(t, string(posts[0].body), "and 1 more")
		var event struct {
			Key     string `json:"dedup_key"`
			Payload struct {
				Summary string
				Details map[string]string `json:"custom_details"`
			}
		}
		require.NoError(t, json.Unmarshal(posts[1].body, &event))
		require.LessOrEqual(t, len(event.Payload.Summary), 1024)
		require.Contains(t, event.Payload.Summary, "[FIRING:1] HighCPU")
		require.Contains(t, event.Payload.Details["alerts"], "and 1 more")
		require.Len(t, event.Key, 64)

		delete(n.GroupLabels, "filler") // which is part of what tells groups apart: it is not cut in JSON
		for range 1000 {
			n.Alerts = append(n.Alerts, n.Alerts[0])
		}
		hook.MaxBytes = 64 << 10
		require.NoError(t, hook.Send(t.Context(), delivery(n)))
		body := l.got()[len(l.got())-1].body
		require.LessOrEqual(t, len(body), 64<<10)
		var m receivers.Message
		require.NoError(t, json.Unmarshal(body, &m))
		require.Equal(t, 1002, len(m.Alerts)+m.TruncatedAlerts)
		require.Greater(t, len(m.Alerts), 10)
		require.Equal(t, n.GroupKey, m.GroupKey)
		require.Equal(t, "firing", m.Status)
		require.True(t, strings.HasSuffix(m.Alerts[0].Annotations["summary"], "..."))
		require.Equal(t, n.Alerts[0].Labels, m.Alerts[0].Labels)
	}
	n := notification()
	n.GroupKey = strings.Repeat("x", 2<<20)
	require.ErrorIs(t, (&receivers.Webhook{HTTP: way}).Send(t.Context(), delivery(n)), notify.ErrRefused)
}
