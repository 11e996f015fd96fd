package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/api"
	"github.com/rossby-streams/rossby/alerting/notify/silencebucket"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	samples = stream.Topic[sample]{Name: "samples", Partitions: 2, Time: func(s sample) time.Time { return s.At }}
	alarms  = stream.Topic[alerting.Alarm]{Name: "alarms", Partitions: 2, Time: func(a alerting.Alarm) time.Time { return a.At }}
	posted  = notify.Alerts("posted", 2)
	changes = notify.SilenceChanges("silence-changes", 2)
)

type sample struct {
	Value float64
	At    time.Time
}

var busy = alerting.Rule[sample]{
	Name: "Busy", Value: func(s sample) float64 { return s.Value }, When: alerting.Above(0.9), Severity: "warning",
	For: time.Minute, Over: alerting.Max(time.Minute),
}

// world is an app with its feed, and a server beside it.
type world struct {
	t      *testing.T
	nc     *nats.Conn
	client *stream.Client
	cfg    notify.Config
	url    string

	alarms  *stream.Producer[alerting.Alarm]
	samples *stream.Producer[sample]

	mu   sync.Mutex
	told []string
	stop func()
}

func config(t *testing.T) notify.Config {
	match := func(text string) notify.Matchers {
		ms, err := notify.Parse(text)
		require.NoError(t, err)
		return ms
	}
	return notify.Config{
		Route: notify.Route{
			Receiver: "ops", GroupBy: []string{notify.GroupByAll}, GroupWait: time.Millisecond, GroupInterval: 50 * time.Millisecond, RepeatInterval: 100 * time.Millisecond,
			Routes: []notify.Route{{Receiver: "pager", Matchers: match(`severity="critical"`), GroupBy: []string{"alertname"}}},
		},
		Receivers: []notify.Receiver{{Name: "ops", SendResolved: true}, {Name: "pager", SendResolved: true}},
		Inhibit:   []notify.InhibitRule{{Source: match(`alertname="Down"`), Target: match(`alertname="Slow"`), Equal: []string{"key"}}},
	}
}

func (w *world) topology() *processor.Topology {
	b := processor.NewBuilder("app")
	alerting.Threshold(processor.From(b, samples), busy).To(alarms)
	out := notify.NotifyAll(notify.Inputs{Alarms: processor.From(b, alarms), Alerts: processor.From(b, posted), Silences: processor.From(b, changes)}, w.cfg)
	for _, name := range []string{"ops", "pager"} {
		notify.Deliver(b, out, notify.Target{Receiver: name, Send: w.hear})
	}
	topology, err := b.Build()
	require.NoError(w.t, err)
	return topology
}

func (w *world) hear(_ context.Context, d processor.Delivery[notify.Notification]) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range d.Value.Alerts {
		state := "firing"
		if !a.EndsAt.IsZero() {
			state = "resolved"
		}
		w.told = append(w.told, d.Value.Receiver+" "+a.Labels["alertname"]+" "+a.Labels["key"]+" "+state)
	}
	return nil
}

// times is how often something was told.
func (w *world) times(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, t := range w.told {
		if t == what {
			n++
		}
	}
	return n
}

// start runs app and feed.
func (w *world) start() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	feed, err := silencebucket.Open(ctx, w.nc, w.client, silencebucket.Config{Topic: changes})
	require.NoError(w.t, err)
	done := make(chan error, 2)
	go func() { done <- feed.Run(ctx) }()
	go func() {
		done <- processor.NewApp(w.client, w.topology(), processor.Config{Queries: true}).Run(ctx)
	}()
	w.stop = func() {
		cancel()
		require.NoError(w.t, <-done)
		require.NoError(w.t, <-done)
	}
}

func newWorld(t *testing.T, change ...func(*api.Config)) *world {
	t.Helper()
	return worldOf(t, config(t), change...)
}

func worldOf(t *testing.T, notices notify.Config, change ...func(*api.Config)) *world {
	t.Helper()
	nc := embeddedtest.Connect(t)
	client, err := stream.NewClient(nc, stream.Config{Storage: stream.Memory})
	require.NoError(t, err)
	w := &world{t: t, nc: nc, client: client, cfg: notices}
	for _, spec := range []stream.TopicSpec{samples.Spec(), alarms.Spec(), posted.Spec()} {
		require.NoError(t, client.CreateTopic(t.Context(), spec))
	}
	w.alarms, err = stream.NewProducer(client, alarms, stream.ProducerConfig{})
	require.NoError(t, err)
	w.samples, err = stream.NewProducer(client, samples, stream.ProducerConfig{})
	require.NoError(t, err)
	topology := w.topology()
	cfg := api.Config{
		Client: client, Conn: nc, Topology: topology, Notify: w.cfg, Alerts: posted, Alarms: alarms, MaxAge: time.Millisecond,
		Rules: func(ctx context.Context, rule, key string) ([]alerting.Explanation, error) {
			if rule != busy.Name {
				return nil, nil
			}
			return busy.Explain(ctx, client, topology, key)
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	w.start()
	server, err := api.New(t.Context(), cfg)
	require.NoError(t, err)
	web := httptest.NewServer(server)
	w.url = web.URL
	t.Cleanup(func() {
		web.Close()
		ctx := context.WithoutCancel(t.Context())
		require.NoError(t, server.Close(ctx))
		require.NoError(t, w.alarms.Close(ctx))
		require.NoError(t, w.samples.Close(ctx))
		w.stop()
	})
	return w
}

// raise publishes a change of an alarm.
func (w *world) raise(rule, key, severity string, state alerting.State) {
	now := time.Now().UTC()
	a := alerting.Alarm{Rule: rule, Key: key, Severity: severity, State: state, Since: now, At: now, Context: []byte("null")}
	require.NoError(w.t, w.alarms.Send(w.t.Context(), stream.ProducerRecord[alerting.Alarm]{Key: key, Value: a}))
	require.NoError(w.t, w.alarms.Flush(w.t.Context()))
}

// do makes a request, and returns the status and the body.
func (w *world) do(method, path, sent string) (int, string, http.Header) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(sent))
	require.NoError(w.t, err)
	if sent != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, response.Body.Close()) }()
	defer http.DefaultClient.CloseIdleConnections()
	data, err := io.ReadAll(response.Body)
	require.NoError(w.t, err)
	return response.StatusCode, string(data), response.Header
}

// get reads what a path answers.
func (w *world) get(path string, to any) {
	w.t.Helper()
	code, text, _ := w.do("GET", path, "")
	require.Equal(w.t, 200, code, text)
	require.NoError(w.t, json.Unmarshal([]byte(text), to), text)
}

// post sends something and returns the ID that is answered.
func (w *world) post(path, sent string) string {
	w.t.Helper()
	code, text, _ := w.do("POST", path, sent)
	require.Equal(w.t, 200, code, text)
	var answer map[string]string
	if text != "" {
		require.NoError(w.t, json.Unmarshal([]byte(text), &answer), text)
	}
	for _, id := range answer {
		return id
	}
	return ""
}

func (w *world) eventually(is func() bool) {
	w.t.Helper()
	require.Eventually(w.t, is, 30*time.Second, 5*time.Millisecond)
}

type alert struct {
	Labels       map[string]string
	Annotations  map[string]string
	Fingerprint  string
	StartsAt     time.Time
	EndsAt       time.Time
	UpdatedAt    time.Time
	GeneratorURL string
	Receivers    []struct{ Name string }
	Status       struct {
		State                                            string
		SilencedBy, InhibitedBy, MutedBy, AcknowledgedBy []string
	}
}

// alerts are the names of the alerts that a query finds, with keys and states.
func (w *world) alerts(query string) (names []string) {
	w.t.Helper()
	var list []alert
	w.get("/api/v2/alerts"+query, &list)
	for _, a := range list {
		names = append(names, strings.TrimSpace(a.Labels["alertname"]+" "+a.Labels["key"])+" "+a.Status.State)
	}
	slices.Sort(names)
	return names
}

func (w *world) eventuallyAlerts(want ...string) {
	w.t.Helper()
	require.EventuallyWithT(w.t, func(c *assert.CollectT) { require.Equal(c, want, w.alerts("")) }, 30*time.Second, 10*time.Millisecond)
}

func silenceOf(id, matcher string, from, to time.Duration) string {
	name, value, _ := strings.Cut(matcher, "=")
	now := time.Now().UTC()
	return fmt.Sprintf(`{"id":%q,"matchers":[{"name":%q,"value":%q,"isRegex":false,"isEqual":true}],"startsAt":%q,"endsAt":%q,"createdBy":"ann","comment":"c"}`,
		id, name, value, now.Add(from).Format(time.RFC3339Nano), now.Add(to).Format(time.RFC3339Nano))
}

// TestAlerts lists alarms with what mutes them, by all filters.
func TestAlerts(t *testing.T) {
	w := newWorld(t)
	w.raise("Down", "a", "critical", alerting.Firing)
	w.raise("Slow", "a", "warning", alerting.Firing)
	w.raise("Slow", "b", "warning", alerting.Firing)
	w.raise("Full", "b", "warning", alerting.Firing)
	silence := w.post("/api/v2/silences", silenceOf("", "alertname=Full", 0, time.Hour))
	w.eventuallyAlerts("Down a active", "Full b suppressed", "Slow a suppressed", "Slow b active")
	for query, want := range map[string][]string{
		"?active=false":                                {"Full b suppressed", "Slow a suppressed"},
		"?silenced=false":                              {"Down a active", "Slow a suppressed", "Slow b active"},
		"?inhibited=false&silenced=false":              {"Down a active", "Slow b active"},
		"?unprocessed=false&muted=false&active=true":   {"Down a active", "Full b suppressed", "Slow a suppressed", "Slow b active"},
		`?filter=alertname%3D~"S.*"`:                   {"Slow a suppressed", "Slow b active"},
		`?filter=alertname%3D~"S.*"&filter=key!%3D"a"`: {"Slow b active"},
		"?receiver=pag.*":                              {"Down a active"},
		"?receiver=pag":                                nil,
	} {
		require.Equal(t, want, w.alerts(query), query)
	}
	var list []alert
	w.get(`/api/v2/alerts?filter=key="a"&filter=alertname=Slow`, &list)
	require.Len(t, list, 1)
	slow := list[0]
	var down []alert
	w.get(`/api/v2/alerts?filter=alertname=Down`, &down)
	require.Equal(t, []string{down[0].Fingerprint}, slow.Status.InhibitedBy)
	require.Equal(t, []struct{ Name string }{{"ops"}}, slow.Receivers)
	require.True(t, slow.EndsAt.After(time.Now()))
	require.False(t, slow.UpdatedAt.IsZero())
	require.NotNil(t, slow.Status.SilencedBy)
	require.NotNil(t, slow.Status.MutedBy)
	w.get(`/api/v2/alerts?filter=alertname=Full`, &list)
	require.Equal(t, []string{silence}, list[0].Status.SilencedBy)

	var groups []struct {
		Labels   map[string]string
		Receiver struct{ Name string }
		Alerts   []alert
	}
	w.get("/api/v2/alerts/groups?receiver=pager", &groups)
	require.Len(t, groups, 1)
	require.Equal(t, map[string]string{"alertname": "Down"}, groups[0].Labels)
	require.Equal(t, down[0].Fingerprint, groups[0].Alerts[0].Fingerprint)
	w.get("/api/v2/alerts/groups", &groups)
	require.Len(t, groups, 4)
	for path, want := range map[string]string{
		"/api/v2/alerts?filter=%7B":                            "is no matcher",
		"/api/v2/alerts?receiver=(":                            "pattern of receivers",
		"/api/v2/alerts?active=maybe":                          "give true or false",
		"/api/v2/alerts/groups?silenced=x":                     "give true or false",
		"/api/v2/silences?filter=%7B":                          "is no matcher",
		"/api/rossby/v1/explain":                               "give fingerprint",
		"/api/rossby/v1/explain?label=a":                       "give name=value",
		"/api/v2/alerts?receiver=" + strings.Repeat("x", 5000): "at most",
	} {
		code, text, _ := w.do("GET", path, "")
		require.Equal(t, 400, code, path)
		require.Contains(t, text, want)
	}
	w.raise("Slow", "b", "warning", alerting.Resolved)
	w.eventuallyAlerts("Down a active", "Full b suppressed", "Slow a suppressed")
	code, _, header := w.do("GET", "/api/v2/alerts", "")
	require.Equal(t, 200, code)
	require.NotEmpty(t, header.Get("Rossby-As-Of"))
	require.NotEmpty(t, header.Get("Rossby-Generation"))
	for path, want := range map[string]string{
		"/-/healthy": "OK", "/-/ready": "OK", "/api/v2/receivers": `[{"name":"ops"},{"name":"pager"}]`, "/api/v2/status": `"status":"disabled"`,
	} {
		code, text, _ := w.do("GET", path, "")
		require.Equal(t, 200, code)
		require.Contains(t, text, want)
	}
}
