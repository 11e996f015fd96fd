package api_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/api"
)

type silence struct {
	ID        string
	Status    struct{ State string }
	Comment   string
	CreatedBy string
	StartsAt  time.Time
	EndsAt    time.Time
	UpdatedAt time.Time
	Matchers  []map[string]any
}

// states are those of the silences that a query finds, by ID.
func (w *world) states(query string) map[string]string {
	w.t.Helper()
	var list []silence
	w.get("/api/v2/silences"+query, &list)
	states := make(map[string]string)
	for _, s := range list {
		states[s.ID] = s.Status.State
	}
	return states
}

// quiet waits until nothing of an alarm is told while another one is repeated some more times.
func (w *world) quiet(what, other string) {
	w.t.Helper()
	w.eventually(func() bool {
		had, seen := w.times(what), w.times(other)
		w.eventually(func() bool { return w.times(other) > seen+3 })
		return w.times(what) == had
	})
}

// TestSilencesMute: a silence that is posted mutes what is really told, also after a restart; one that is deleted does not.
func TestSilencesMute(t *testing.T) {
	w := newWorld(t)
	w.raise("A", "", "warning", alerting.Firing)
	w.raise("B", "", "warning", alerting.Firing)
	w.eventually(func() bool { return w.times("ops A  firing") > 1 && w.times("ops B  firing") > 1 })
	id := w.post("/api/v2/silences", silenceOf("", "alertname=A", 0, time.Hour))
	require.Equal(t, map[string]string{id: "active"}, w.states(""))
	w.quiet("ops A  firing", "ops B  firing")
	w.stop()
	w.start()
	w.quiet("ops A  firing", "ops B  firing")
	had := w.times("ops A  firing")
	w.eventuallyAlerts("A suppressed", "B active")
	code, text, _ := w.do("DELETE", "/api/v2/silence/"+id, "")
	require.Equal(t, 200, code, text)
	require.Equal(t, map[string]string{id: "expired"}, w.states(""))
	w.eventually(func() bool { return w.times("ops A  firing") > had+1 })
	w.eventuallyAlerts("A active", "B active")
	code, _, _ = w.do("DELETE", "/api/v2/silence/"+id, "")
	require.Equal(t, 200, code, "once more")
}

// TestSilencesAreEdited by the rules that Alertmanager has.
func TestSilencesAreEdited(t *testing.T) {
	w := newWorld(t)
	first := w.post("/api/v2/silences", silenceOf("", "a=1", -time.Hour, time.Hour))
	var s silence
	w.get("/api/v2/silence/"+first, &s)
	require.Equal(t, []map[string]any{{"name": "a", "value": "1", "isRegex": false, "isEqual": true}}, s.Matchers)
	require.WithinDuration(t, time.Now(), s.StartsAt, time.Minute, "it cannot have begun before it was there")
	require.False(t, s.UpdatedAt.IsZero())
	edit := func(id, matcher string, starts time.Time, ends time.Duration) string {
		text := silenceOf(id, matcher, 0, ends)
		now := text[strings.Index(text, `"startsAt":`)+11:]
		return w.post("/api/v2/silences", strings.Replace(text, now[:strings.Index(now, ",")], `"`+starts.Format(time.RFC3339Nano)+`"`, 1))
	}
	require.Equal(t, first, edit(first, "a=1", s.StartsAt, 2*time.Hour), "a later end is the same silence")
	w.get("/api/v2/silence/"+first, &s)
	require.Greater(t, time.Until(s.EndsAt), 90*time.Minute)
	second := edit(first, "a=2", s.StartsAt, time.Hour)
	require.NotEqual(t, first, second, "other matchers are another silence")
	third := edit(second, "a=2", time.Now().Add(time.Minute), time.Hour)
	require.NotEqual(t, second, third, "what has begun cannot begin later")
	require.Equal(t, third, edit(third, "a=2", time.Now().Add(2*time.Minute), time.Hour), "what has not begun can")
	require.Equal(t, map[string]string{first: "expired", second: "expired", third: "pending"}, w.states(""))
	code, text, _ := w.do("DELETE", "/api/v2/silence/"+third, "")
	require.Equal(t, 200, code, text)
	require.Equal(t, map[string]string{first: "expired"}, w.states("?filter=a=1"))
	fourth := edit(third, "a=2", time.Now(), time.Hour)
	require.NotEqual(t, third, fourth, "what is over stays so")
	require.Equal(t, map[string]string{second: "expired", third: "expired", fourth: "active"}, w.states("?filter=a%3D~2"))
	for _, path := range []string{"/api/v2/silence/nobody", "/api/v2/silence/%20*", "/api/rossby/v1/acknowledgements/" + fourth} {
		for _, method := range []string{"GET", "DELETE"} {
			code, _, _ := w.do(method, path, "")
			require.Equal(t, 404, code, path)
		}
	}
	code, _, _ = w.do("POST", "/api/v2/silences", silenceOf("nobody", "a=1", 0, time.Hour))
	require.Equal(t, 404, code)
	for sent, want := range map[string]string{
		`{`:                               "is no silence",
		`[]`:                              "is no silence",
		`{}`:                              "has no matcher",
		`null`:                            "has no matcher",
		silenceOf("", "=1", 0, time.Hour): "needs the name",
		silenceOf("", "a=", 0, time.Hour): "one of everything",
		silenceOf("", "a=1", -time.Hour, -time.Minute):                                                                                "ends in the past",
		silenceOf("", "a=1", 2*time.Hour, time.Hour):                                                                                  "not after its start",
		strings.Replace(silenceOf("", "a=1", 0, time.Hour), `"isRegex":false`, `"isRegex":true`, 1) + " x":                            "is no silence",
		strings.Replace(strings.Replace(silenceOf("", "a=1", 0, time.Hour), `"isRegex":false`, `"isRegex":true`, 1), `"1"`, `"("`, 1): "pattern of a",
		strings.Replace(silenceOf("", "a=1", 0, time.Hour), `"comment":"c"`, `"comment":""`, 1):                                       "who and why",
	} {
		code, text, _ := w.do("POST", "/api/v2/silences", sent)
		require.Equal(t, 400, code, sent)
		require.Contains(t, text, want)
		require.NotContains(t, text, "\n")
	}
}

// TestEditsDoNotUndoEachOther: of many that edit one silence at the same time, each that is answered with 200 has had its say.
func TestEditsDoNotUndoEachOther(t *testing.T) {
	w := newWorld(t)
	id := w.post("/api/v2/silences", silenceOf("", "a=1", 0, time.Hour))
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() { ids[i] = w.post("/api/v2/silences", silenceOf(id, fmt.Sprint("b=", i), 0, time.Hour)) })
	}
	wg.Wait()
	states := w.states("")
	require.Len(t, states, 1+len(ids))
	require.Equal(t, "expired", states[id])
	for _, id := range ids {
		require.Equal(t, "active", states[id])
	}
}

// TestAcknowledgements: what is acknowledged is not repeated, also after a restart; when that is taken back, it is.
func TestAcknowledgements(t *testing.T) {
	w := newWorld(t)
	w.raise("A", "", "warning", alerting.Firing)
	w.raise("B", "", "warning", alerting.Firing)
	w.eventually(func() bool { return w.times("ops A  firing") > 1 && w.times("ops B  firing") > 1 })
	var list []alert
	w.get("/api/v2/alerts?filter=alertname=A", &list)
	until := time.Now().UTC().Add(time.Hour).Format(time.RFC3339)
	ack := w.post("/api/rossby/v1/acknowledgements", fmt.Sprintf(`{"fingerprint":%q,"owner":"ann","comment":"disk ordered","expiresAt":%q}`, list[0].Fingerprint, until))
	var all []notify.Acknowledgement
	w.get("/api/rossby/v1/acknowledgements", &all)
	require.Len(t, all, 1)
	require.Equal(t, []string{ack, "ann", "disk ordered", list[0].Fingerprint}, []string{all[0].ID, all[0].Owner, all[0].Comment, all[0].Fingerprint})
	var one notify.Acknowledgement
	w.get("/api/rossby/v1/acknowledgements/"+ack, &one)
	require.Equal(t, all[0], one)
	w.quiet("ops A  firing", "ops B  firing")
	w.stop()
	w.start()
	w.quiet("ops A  firing", "ops B  firing")
	w.get("/api/v2/alerts?filter=alertname=A", &list)
	require.Equal(t, []string{ack}, list[0].Status.AcknowledgedBy)
	require.Equal(t, "active", list[0].Status.State)
	require.Empty(t, w.states(""), "it is no silence")
	had := w.times("ops A  firing")
	code, text, _ := w.do("DELETE", "/api/rossby/v1/acknowledgements/"+ack, "")
	require.Equal(t, 200, code, text)
	w.eventually(func() bool { return w.times("ops A  firing") > had+1 })
	w.post("/api/rossby/v1/acknowledgements", fmt.Sprintf(`{"matchers":[{"name":"alertname","value":"A","isRegex":false}],"owner":"bob","expiresAt":%q}`, until))
	w.quiet("ops A  firing", "ops B  firing")
	w.raise("A", "", "critical", alerting.Firing)
	w.eventually(func() bool { return w.times("pager A  firing") > 0 }) // raised: it is told
	w.raise("A", "", "critical", alerting.Resolved)
	w.eventually(func() bool { return w.times("pager A  resolved") > 0 })
	w.get("/api/rossby/v1/acknowledgements", &all)
	require.Len(t, all, 1)
	for sent, want := range map[string]string{
		`{"fingerprint":"f","expiresAt":"` + until + `"}`:                                         "has no owner",
		`{"owner":"ann","expiresAt":"` + until + `"}`:                                             "one of them",
		`{"owner":"ann","fingerprint":"f"}`:                                                       "not after its time",
		`{"owner":"ann","fingerprint":"f","expiresAt":"2020-01-01T00:00:00Z"}`:                    "not after its time",
		`{"owner":"ann","fingerprnt":"f","expiresAt":"2020-01-01T00:00:00Z"}`:                     "fingerprnt",
		`{"owner":"ann","fingerprint":"f","matchers":[{"name":"a"}],"expiresAt":"` + until + `"}`: "one of them",
	} {
		code, text, _ := w.do("POST", "/api/rossby/v1/acknowledgements", sent)
		require.Equal(t, 400, code, sent)
		require.Contains(t, text, want)
	}
}

// TestSilencesThatAreOverAreDeleted when they have been kept for long enough.
func TestSilencesThatAreOverAreDeleted(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Retention = time.Millisecond })
	old := w.post("/api/v2/silences", silenceOf("", "a=1", 0, time.Hour))
	code, _, _ := w.do("DELETE", "/api/v2/silence/"+old, "")
	require.Equal(t, 200, code)
	w.eventually(func() bool {
		w.post("/api/v2/silences", silenceOf("", "b=1", 0, time.Hour))
		return w.states("")[old] == ""
	})
}
