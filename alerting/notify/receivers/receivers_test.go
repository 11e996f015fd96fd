package receivers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/receivers"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
)

// listener is a real HTTP server that remembers what was posted to it.
type listener struct {
	*httptest.Server
	mu     sync.Mutex
	posts  []post
	answer func(post) int
}

type post struct {
	path, key, authorization string
	body                     []byte
}

func listen(t testing.TB) *listener {
	l := &listener{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client was killed
		}
		p := post{r.URL.Path, r.Header.Get("Idempotency-Key"), r.Header.Get("Authorization"), body}
		l.mu.Lock()
		defer l.mu.Unlock()
		status := http.StatusOK
		if l.answer != nil {
			status = l.answer(p)
		}
		if status/100 == 2 {
			l.posts = append(l.posts, p)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, "what it\nsays")
	}))
	t.Cleanup(func() {
		l.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return l
}

func (l *listener) got() []post {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]post(nil), l.posts...)
}

var began = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func notification() notify.Notification {
	return notify.Notification{
		Receiver: "ops", GroupKey: `{}:{alertname="HighCPU"}`, GroupLabels: map[string]string{"alertname": "HighCPU"}, Reason: notify.FirstNotification,
		At: began.Add(time.Minute), Added: []string{"f1"},
		Alerts: []notify.Alert{
			{Fingerprint: "f1", Labels: map[string]string{"alertname": "HighCPU", "key": "a", "severity": "critical"}, StartsAt: began,
				Annotations: map[string]string{"summary": "hot", "team": "web"}, Context: json.RawMessage(`{"lines":["` + strings.Repeat("x", 1000) + `"]}`)},
			{Fingerprint: "f2", Labels: map[string]string{"alertname": "HighCPU", "key": "b", "severity": "critical"}, StartsAt: began, EndsAt: began.Add(30 * time.Second),
				Annotations: map[string]string{"summary": "hot"}},
		},
	}
}

func delivery(n notify.Notification) processor.Delivery[notify.Notification] {
	return processor.Delivery[notify.Notification]{Record: processor.Record[notify.Notification]{Value: n}, Token: "app/0/1/2"}
}

func TestWebhookIsAlertmanagersVersion4(t *testing.T) {
	l := listen(t)
	hook := &receivers.Webhook{HTTP: receivers.HTTP{URL: receivers.Text(l.URL + "/x"), Authorization: receivers.Text("Bearer t")}, ExternalURL: "http://me"}
	require.NoError(t, hook.Send(t.Context(), delivery(notification())))
	require.Len(t, l.got(), 1)
	p := l.got()[0]
	require.Equal(t, []string{"/x", "app/0/1/2", "Bearer t"}, []string{p.path, p.key, p.authorization})
	require.Equal(t, `{"receiver":"ops","status":"firing","alerts":[`+
		`{"status":"firing","labels":{"alertname":"HighCPU","key":"a","severity":"critical"},"annotations":{"summary":"hot","team":"web"},`+
		`"startsAt":"2026-01-31T12:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"f1"},`+
		`{"status":"resolved","labels":{"alertname":"HighCPU","key":"b","severity":"critical"},"annotations":{"summary":"hot"},`+
		`"startsAt":"2026-01-31T12:00:00Z","endsAt":"2026-01-31T12:00:30Z","generatorURL":"","fingerprint":"f2"}],`+
		`"notification_reason":"first notification","groupLabels":{"alertname":"HighCPU"},"commonLabels":{"alertname":"HighCPU","severity":"critical"},`+
		`"commonAnnotations":{"summary":"hot"},"routeLabels":{},"externalURL":"http://me","version":"4","groupKey":"{}:{alertname=\"HighCPU\"}","truncatedAlerts":0}`,
		string(p.body))
	m := receivers.NewMessage(&notify.Notification{}, 0, "")
	data, err := json.Marshal(m)
	require.NoError(t, err)
	require.NotContains(t, string(data), "null")
	n := notification()
	require.Equal(t, 1, receivers.NewMessage(&n, 1, "").TruncatedAlerts)
}

func TestAlertsForAlertmanager(t *testing.T) {
	l := listen(t)
	am := &receivers.Alertmanager{HTTP: receivers.HTTP{URL: receivers.Text(l.URL + "/")}, Hold: time.Hour}
	require.NoError(t, am.Send(t.Context(), delivery(notification())))
	require.Len(t, l.got(), 1)
	require.Equal(t, "/api/v2/alerts", l.got()[0].path)
	require.Equal(t, `[{"labels":{"alertname":"HighCPU","key":"a","severity":"critical"},"annotations":{"summary":"hot","team":"web"},`+
		`"startsAt":"2026-01-31T12:00:00Z","endsAt":"2026-01-31T13:01:00Z"},`+
		`{"labels":{"alertname":"HighCPU","key":"b","severity":"critical"},"annotations":{"summary":"hot"},`+
		`"startsAt":"2026-01-31T12:00:00Z","endsAt":"2026-01-31T12:00:30Z"}]`, string(l.got()[0].body))
}

func TestAnswersOfHTTP(t *testing.T) {
	l := listen(t)
	status := 200
	l.answer = func(post) int { return status }
	hook := &receivers.Webhook{HTTP: receivers.HTTP{URL: receivers.Text(l.URL + "/secret-token")}}
	for s, refused := range map[int]bool{400: true, 404: true, 410: true, 408: false, 429: false, 500: false, 503: false, 302: false} {
		status = s
		err := hook.Send(t.Context(), delivery(notification()))
		require.ErrorContains(t, err, fmt.Sprintf("status %d: what it says", s))
		require.Equal(t, refused, strings.Contains(err.Error(), notify.ErrRefused.Error()), s)
		if refused {
			require.ErrorIs(t, err, notify.ErrRefused)
		}
	}
	l.Close()
	err := hook.Send(t.Context(), delivery(notification()))
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret-token")
	require.NotErrorIs(t, err, notify.ErrRefused)
	hook.URL = receivers.Text("http://a b/secret-token")
	err = hook.Send(t.Context(), delivery(notification()))
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret-token")
	hook.URL = receivers.Secret{}
	require.ErrorContains(t, hook.Send(t.Context(), delivery(notification())), "the URL of the receiver: it is empty")
}

func TestAReceiverThatDoesNotAnswerIsLeft(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer http.DefaultClient.CloseIdleConnections()
	defer s.Close()
	defer close(release)
	hook := &receivers.Webhook{HTTP: receivers.HTTP{URL: receivers.Text(s.URL), Timeout: 10 * time.Millisecond}}
	require.ErrorIs(t, hook.Send(t.Context(), delivery(notification())), context.DeadlineExceeded)
}

func TestSecretsDoNotShow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(" hush \n"), 0o600))
	t.Setenv("RECEIVERS_TEST", "hush")
	l := listen(t)
	for _, s := range []receivers.Secret{receivers.Env("RECEIVERS_TEST"), receivers.File(path), receivers.Text("hush")} {
		hook := &receivers.Webhook{HTTP: receivers.HTTP{URL: receivers.Text(l.URL), Authorization: s}}
		require.NoError(t, hook.Send(t.Context(), delivery(notification())))
		data, err := json.Marshal(map[string]any{"s": s})
		require.NoError(t, err)
		for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), fmt.Sprintf("%+v", hook), string(data)} {
			require.NotContains(t, text, "hush")
		}
	}
	for _, p := range l.got() {
		require.Equal(t, "hush", p.authorization)
	}
	hook := &receivers.Webhook{HTTP: receivers.HTTP{URL: receivers.Env("RECEIVERS_TEST_NOT_SET")}}
	require.ErrorContains(t, hook.Send(t.Context(), delivery(notification())), "RECEIVERS_TEST_NOT_SET is not set")
}

func TestSubject(t *testing.T) {
	nc := embeddedtest.Connect(t)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := receivers.NewSubject(nc, "told.ops")
	require.NoError(t, err)
	require.ErrorContains(t, s.Send(t.Context(), delivery(notification())), "publish to told.ops, which a stream must hold")
	told, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "told", Subjects: []string{"told.>"}, Storage: jetstream.MemoryStorage})
	require.NoError(t, err)
	for range 3 { // it comes again
		require.NoError(t, s.Send(t.Context(), delivery(notification())))
	}
	large := notification()
	large.Alerts[0].Context = json.RawMessage(`"` + strings.Repeat("x", 2<<20) + `"`)
	d := delivery(large)
	d.Token = "large"
	require.NoError(t, s.Send(t.Context(), d))
	for i := range 20_000 {
		a := large.Alerts[1]
		a.EndsAt = time.Time{}
		a.Fingerprint = fmt.Sprint("f", i+3)
		large.Alerts, large.Added = append(large.Alerts, a), append(large.Added, a.Fingerprint)
	}
	d = delivery(large)
	d.Token = "larger"
	require.NoError(t, s.Send(t.Context(), d))
	info, err := told.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(3), info.State.Msgs)
	for seq, check := range []func(receivers.Published){
		func(p receivers.Published) { require.Equal(t, notification(), p.Notification) },
		func(p receivers.Published) {
			require.True(t, p.WithoutContext)
			require.Zero(t, p.LeftOut)
			require.Len(t, p.Alerts, 2)
		},
		func(p receivers.Published) {
			require.Equal(t, 20_002, p.LeftOut+len(p.Alerts))
			require.NotEmpty(t, p.Alerts)
			require.Equal(t, len(p.Alerts), len(p.Added)+1) // one of them is resolved
		},
	} {
		m, err := told.GetMsg(t.Context(), uint64(seq+1))
		require.NoError(t, err)
		var p receivers.Published
		require.NoError(t, json.Unmarshal(m.Data, &p))
		check(p)
	}
	d.Value = notify.Notification{GroupKey: strings.Repeat("x", 2<<20)}
	require.ErrorIs(t, s.Send(t.Context(), d), notify.ErrRefused)
}

func TestCloudEvents(t *testing.T) {
	nc := embeddedtest.Connect(t)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	told, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "told", Subjects: []string{"told.>"}, Storage: jetstream.MemoryStorage})
	require.NoError(t, err)
	s, err := receivers.NewSubject(nc, "told.ops")
	require.NoError(t, err)
	s.Source = "/health of \u00fc%"
	require.NoError(t, s.Send(t.Context(), delivery(notification())))
	m, err := told.GetMsg(t.Context(), 1)
	require.NoError(t, err)
	for name, want := range map[string]string{
		"ce-id": "app/0/1/2", "Nats-Msg-Id": "app/0/1/2", "ce-source": "/health%20of%20%C3%BC%25", "ce-specversion": "1.0", "ce-type": "dev.rossby.notification",
		"ce-subject": "{}:{alertname=%22HighCPU%22}", "ce-time": "2026-01-31T12:01:00Z", "Content-Type": "application/json",
	} {
		require.Equal(t, []string{want}, m.Header[name], name)
	}
}

func TestSlack(t *testing.T) {
	l := listen(t)
	s := &receivers.Slack{HTTP: receivers.HTTP{URL: receivers.Text(l.URL)}, Channel: "#ops"}
	n := notification()
	n.Alerts[0].Annotations["summary"] = "<hot> & loud"
	n.GroupLabels["team"] = "web"
	require.NoError(t, s.Send(t.Context(), delivery(n)))
	require.JSONEq(t, `{"channel":"#ops","attachments":[{"title":"[FIRING:1] HighCPU (team=\"web\")","fallback":"[FIRING:1] HighCPU (team=\"web\")",`+
		`"text":"firing HighCPU a critical: &lt;hot&gt; &amp; loud\nresolved HighCPU b critical: hot","color":"danger","footer":"first notification"}]}`, string(l.got()[0].body))
	n.Alerts[0].EndsAt = began.Add(time.Minute)
	for i := range 500 {
		a := n.Alerts[1]
		a.Annotations = map[string]string{"summary": strings.Repeat("\u00fc", i*7%50)}
		n.Alerts = append(n.Alerts, a)
	}
	n.GroupLabels["team"] = strings.Repeat("\u00fc", 2000)
	require.NoError(t, s.Send(t.Context(), delivery(n)))
	n.Alerts = n.Alerts[:1]
	n.Alerts[0].Annotations["summary"] = strings.Repeat("\u00fc", 5000)
	require.NoError(t, s.Send(t.Context(), delivery(n)))
	for i, want := range []string{" more", "..."} {
		var m struct {
			Attachments []struct{ Title, Text, Color string }
		}
		require.NoError(t, json.Unmarshal(l.got()[1+i].body, &m))
		a := m.Attachments[0]
		require.Equal(t, "good", a.Color)
		require.LessOrEqual(t, len(a.Title), 1000)
		require.LessOrEqual(t, len(a.Text), 3000)
		require.True(t, strings.HasPrefix(a.Title, "[RESOLVED] HighCPU"))
		require.True(t, strings.HasSuffix(a.Text, want), a.Text)
		require.NotContains(t, a.Title+a.Text, "\ufffd")
	}
}

func TestPagerDuty(t *testing.T) {
	l := listen(t)
	l.answer = func(post) int { return http.StatusAccepted }
	p := &receivers.PagerDuty{HTTP: receivers.HTTP{URL: receivers.Text(l.URL)}, RoutingKey: receivers.Text("key"), Source: "health"}
	n := notification()
	require.NoError(t, p.Send(t.Context(), delivery(n)))
	var first, last map[string]any
	require.NoError(t, json.Unmarshal(l.got()[0].body, &first))
	require.Equal(t, "trigger", first["event_action"])
	require.Equal(t, "key", first["routing_key"])
	require.Equal(t, map[string]any{
		"summary": "[FIRING:1] HighCPU", "source": "health", "severity": "critical", "timestamp": "2026-01-31T12:01:00Z", "group": n.GroupKey,
		"custom_details": map[string]any{"reason": "first notification", "alerts": "firing HighCPU a critical: hot\nresolved HighCPU b critical: hot"},
	}, first["payload"])
	n.Alerts[0].EndsAt = began.Add(time.Minute)
	for range 20_000 {
		n.Alerts = append(n.Alerts, n.Alerts[1])
	}
	require.NoError(t, p.Send(t.Context(), delivery(n)))
	require.Less(t, len(l.got()[1].body), 512_000)
	require.NoError(t, json.Unmarshal(l.got()[1].body, &last))
	require.Equal(t, "resolve", last["event_action"])
	require.Equal(t, first["dedup_key"], last["dedup_key"])
	require.Len(t, first["dedup_key"], 64)
	p.RoutingKey = receivers.Secret{}
	require.ErrorContains(t, p.Send(t.Context(), delivery(n)), "the routing key of PagerDuty: it is empty")
}
