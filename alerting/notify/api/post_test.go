package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/api"
	"github.com/rossby-streams/rossby/stream"
)

// TestPostedAlerts are told as alarms are, and are over when nobody says any more that they fire.
func TestPostedAlerts(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.ResolveTimeout = time.Second })
	later := time.Now().UTC().Add(time.Hour).Format(time.RFC3339)
	w.post("/api/v2/alerts", `[{"labels":{"alertname":"Brief","empty":""},"generatorURL":"http://prometheus/graph"},
		{"labels":{"alertname":"Long"},"annotations":{"summary":"s"},"endsAt":"`+later+`","startsAt":"2026-01-01T00:00:00.5Z"}]`)
	w.eventually(func() bool { return w.times("ops Brief  firing") > 0 && w.times("ops Long  firing") > 0 })
	w.eventually(func() bool { return w.times("ops Brief  resolved") == 1 })
	var list []alert
	w.eventually(func() bool {
		w.get("/api/v2/alerts", &list)
		return len(list) == 1
	})
	require.Equal(t, map[string]string{"alertname": "Long"}, list[0].Labels)
	require.Equal(t, map[string]string{"summary": "s"}, list[0].Annotations)
	require.Equal(t, notify.Fingerprint(list[0].Labels), list[0].Fingerprint)
	require.Equal(t, later, list[0].EndsAt.Format(time.RFC3339))
	require.Equal(t, "2026-01-01T00:00:00.5Z", list[0].StartsAt.Format(time.RFC3339Nano))
	w.post("/api/v2/alerts", `[{"labels":{"alertname":"Long"},"endsAt":"`+time.Now().UTC().Format(time.RFC3339Nano)+`"}]`)
	w.eventually(func() bool { return w.times("ops Long  resolved") == 1 })
}

// TestPostsThatAreRefused says what is wrong with each, and takes what is right beside it.
func TestPostsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	code, text, _ := w.do("POST", "/api/v2/alerts", `[{"labels":{"alertname":"Good"}},{"labels":{}},{"labels":{"a":""}},7,{"labels":{"a":"b"},"startsAt":"soon"},
		{"labels":{"a":"b"},"startsAt":"2026-01-02T00:00:00Z","endsAt":"2026-01-01T00:00:00Z"},{"labels":{"a":"b"},"generatorURL":"javascript:alert(1)"},{"labels":{"":"b"}}]`)
	require.Equal(t, 400, code)
	for _, want := range []string{"7 of 8 alerts are refused", "alert 1: ", "alert 2: the alert has no label", "alert 3: ", "alert 4: ", "before it starts", "no address", "has no name"} {
		require.Contains(t, text, want)
	}
	w.eventually(func() bool { return w.times("ops Good  firing") > 0 })
	many := "[" + strings.TrimSuffix(strings.Repeat(`{},`, 100_000), ",") + "]"
	code, text, _ = w.do("POST", "/api/v2/alerts", many)
	require.Equal(t, 400, code)
	require.Less(t, len(text), 2000)
	labels := make([]string, 0, 1001)
	for i := range 1001 {
		labels = append(labels, fmt.Sprintf(`"l%d":"x"`, i))
	}
	for sent, want := range map[string]int{
		`{`: 400, `{}`: 400, `"x"`: 400, `[`: 400, `[]`: 200, `null`: 200, strings.Repeat("[", 100_000): 400,
		`[{"labels":{"a":"` + strings.Repeat("x", 70<<10) + `"}}]`: 400,
		`[{"labels":{` + strings.Join(labels, ",") + `}}]`:         400,
		"[{\"labels\":{\"a\":\"\xff\"}}]":                          400,
		`[` + strings.Repeat(" ", 4<<20) + `]`:                     413,
	} {
		code, text, _ := w.do("POST", "/api/v2/alerts", sent)
		require.Equal(t, want, code, "%.80s: %s", sent, text)
	}
	for _, path := range []string{"/api/v2/silences", "/api/rossby/v1/acknowledgements"} {
		code, _, _ := w.do("POST", path, strings.Repeat(" ", 65<<10))
		require.Equal(t, 413, code)
	}
	for path, allowed := range map[string]string{
		"/api/v2/alerts": "GET, HEAD, POST", "/api/v2/status": "GET, HEAD", "/api/v2/silence/x": "DELETE, GET, HEAD", "/api/v2/silences": "GET, HEAD, POST",
	} {
		code, _, header := w.do("PUT", path, "")
		require.Equal(t, 405, code)
		require.Equal(t, allowed, header.Get("Allow"))
	}
	code, _, _ = w.do("GET", "/api/v1/alerts", "")
	require.Equal(t, 404, code)
}

// TestTenThousandSilences: all of them are listed, and no more are taken, until some are over.
func TestTenThousandSilences(t *testing.T) {
	w := newWorld(t)
	js, err := jetstream.New(w.nc)
	require.NoError(t, err)
	now := time.Now().UTC()
	for i := range 10_000 {
		text := fmt.Sprintf(`{"matchers":[{"name":"alertname","value":"A%d"}],"startsAt":%q,"endsAt":%q,"createdBy":"a","comment":"c"}`,
			i, now.Add(-time.Minute).Format(time.RFC3339), now.Add(time.Hour).Format(time.RFC3339))
		_, err := js.PublishAsync(fmt.Sprint("$KV.silences.s", i), []byte(text), jetstream.WithStallWait(time.Minute))
		require.NoError(t, err)
	}
	<-js.PublishAsyncComplete()
	require.Len(t, w.states(""), 10_000)
	code, text, _ := w.do("POST", "/api/v2/silences", silenceOf("", "a=1", 0, time.Hour))
	require.Equal(t, 400, code)
	require.Contains(t, text, "at most 10000 are taken")
	code, text, _ = w.do("DELETE", "/api/v2/silence/s9999", "")
	require.Equal(t, 200, code, text)
	require.Equal(t, "expired", w.states("")["s9999"])
	w.post("/api/v2/silences", silenceOf("", "a=1", 0, time.Hour)) // what is over makes room
	require.Len(t, w.states(""), 10_000)
}

// TestNoAlertsAreTaken where there is no topic for them; and nobody answers for an app that does not run.
func TestNoAlertsAreTaken(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Alerts = stream.Topic[notify.Alert]{} })
	code, _, _ := w.do("POST", "/api/v2/alerts", "[]")
	require.Equal(t, 501, code)
}
