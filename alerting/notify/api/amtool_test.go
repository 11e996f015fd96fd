package api_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
)

// amtool is the environment variable that names a program: Alertmanager's amtool.
const amtool = "ROSSBY_AMTOOL"

// TestAmtoolItself: one that is given works against us. Without one there is nothing to test: what it sends is written down below.
func TestAmtoolItself(t *testing.T) {
	program := os.Getenv(amtool)
	if program == "" {
		t.Logf("%s names no amtool", amtool)
		return
	}
	w := newWorld(t)
	target, err := url.Parse(w.url)
	require.NoError(t, err)
	var mu sync.Mutex
	proxy := httputil.NewSingleHostReverseProxy(target)
	recorder := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		mu.Lock()
		t.Logf("%s %s (%s, %s) %s", r.Method, r.URL, r.Header.Get("Content-Type"), r.Header.Get("Accept"), body)
		mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(answer, r)
	}))
	defer recorder.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), program, append([]string{"--alertmanager.url=" + recorder.URL}, args...)...).CombinedOutput() // #nosec: what the tester has named
		require.NoError(t, err, "%s: %s", args, out)
		t.Logf("amtool %s:\n%s", strings.Join(args, " "), out)
		return string(out)
	}
	w.raise("Down", "a", "critical", alerting.Firing)
	w.raise("Slow", "a", "warning", alerting.Firing)
	w.raise("Full", "b", "warning", alerting.Firing)
	w.eventuallyAlerts("Down a active", "Full b active", "Slow a suppressed")
	require.Regexp(t, `(?m)^Down +\S+ \S+ UTC +active`, run("alert", "query"))
	require.Regexp(t, `(?m)^Full `, run("alert", "query", "key=b"))
	require.Contains(t, run("alert", "query", "--inhibited", "-o", "extended"), "alertname=\"Slow\"")
	run("alert", "query", "-o", "json", "--receiver", "ops")
	id := strings.TrimSpace(run("silence", "add", "-a", "ann", "-c", "new disks", "-d", "1h", "alertname=~F.*", "key!=c"))
	w.eventuallyAlerts("Down a active", "Full b suppressed", "Slow a suppressed")
	require.Contains(t, run("silence", "query"), id)
	require.Contains(t, run("silence", "query", "-o", "extended", "alertname=~F.*"), "new disks")
	require.NotContains(t, run("alert", "query"), "Full")
	require.Contains(t, run("alert", "query", "--silenced"), "Full")
	require.Contains(t, run("silence", "update", "-d", "2h", "-c", "more", id), id)
	run("silence", "expire", id)
	require.NotContains(t, run("silence", "query"), id)
	require.Contains(t, run("silence", "query", "--expired", "--within", "1h"), id)
	w.eventuallyAlerts("Down a active", "Full b active", "Slow a suppressed")
	run("alert", "add", "Added", "key=z", "--annotation=summary=s", "--generator-url=http://there/x")
	w.eventuallyAlerts("Added z active", "Down a active", "Full b active", "Slow a suppressed")
	require.Contains(t, run("config", "show"), `"receiver": "ops"`)
	require.Contains(t, run("config", "routes", "show"), "pager")
	require.Regexp(t, regexp.MustCompile(`(?m)^pager$`), run("config", "routes", "test", "severity=critical"))
	run("cluster", "show")
}

// TestWhatAmtoolSends: requests of amtool 0.34, as they were seen, but for their times and IDs.
func TestWhatAmtoolSends(t *testing.T) {
	w := newWorld(t)
	w.raise("Down", "a", "critical", alerting.Firing)
	w.raise("Full", "b", "warning", alerting.Firing)
	w.eventuallyAlerts("Down a active", "Full b active")
	now := time.Now().UTC()
	stamp := func(d time.Duration) string { return now.Add(d).Format("2006-01-02T15:04:05.000Z") }
	id := ""
	for _, c := range []struct{ method, path, sent, want string }{
		{"GET", "/api/v2/status", "", `^{"cluster":{"name":"","peers":\[\],"status":"disabled"},"config":{"original":"{.*"},"uptime":"[^"]+","versionInfo":{"branch":"",.*"version":"rossby"}}$`},
		{"GET", "/api/v2/alerts?active=true&inhibited=false&silenced=false&unprocessed=false", "", `^\[{"annotations":{},"endsAt":"[^"]+","fingerprint":"[0-9a-f]{16}","receivers":\[{"name":"\w+"}\],"startsAt":"[^"]+","status":{"inhibitedBy":\[\],"mutedBy":\[\],"silencedBy":\[\],"state":"active"},"updatedAt":"[^"]+","labels":{[^}]+}},{.*}\]$`},
		{"GET", "/api/v2/alerts?active=true&filter=key%3Db&inhibited=false&silenced=false&unprocessed=false", "", `^\[{"annotations":{}.*"alertname":"Full"`},
		{"GET", "/api/v2/alerts?active=false&inhibited=true&silenced=false&unprocessed=false", "", `^\[\]$`},
		{"GET", "/api/v2/alerts?active=true&inhibited=false&receiver=ops&silenced=false&unprocessed=false", "", `^\[{"annotations":{}.*"alertname":"Full"`},
		{"POST", "/api/v2/silences", `{"comment":"new disks","createdBy":"ann","endsAt":"` + stamp(time.Hour) + `","matchers":[{"isEqual":true,"isRegex":true,"name":"alertname","value":"F.*"},{"isEqual":false,"isRegex":false,"name":"key","value":"c"}],"startsAt":"` + stamp(0) + `"}`, `^{"silenceID":"[0-9a-f-]{36}"}$`},
		{"GET", "/api/v2/silences", "", `^\[{"id":"ID","status":{"state":"active"},"updatedAt":"[^"]+","comment":"new disks","createdBy":"ann","endsAt":"[^"]+","matchers":\[{"name":"alertname","value":"F.\*","isRegex":true,"isEqual":true},{"name":"key","value":"c","isRegex":false,"isEqual":false}\],"startsAt":"[^"]+"}\]$`},
		{"GET", "/api/v2/silences?filter=alertname%3D~F.%2A", "", `^\[{"id":"ID"`},
		{"GET", "/api/v2/silence/ID", "", `^{"id":"ID"`},
		{"DELETE", "/api/v2/silence/ID", "", `^$`},
		{"POST", "/api/v2/alerts", `[{"annotations":{"summary":"s"},"endsAt":"0001-01-01T00:00:00.000Z","startsAt":"0001-01-01T00:00:00.000Z","generatorURL":"http://there/x","labels":{"alertname":"Added","key":"z"}}]`, `^$`},
	} {
		code, text, _ := w.do(c.method, strings.ReplaceAll(c.path, "ID", id), c.sent)
		require.Equal(t, 200, code, text)
		if id != "" {
			text = strings.ReplaceAll(text, id, "ID")
		}
		flat := strings.ReplaceAll(text, `\n`, "")
		require.Regexp(t, c.want, flat)
		if c.method == "POST" && text != "" {
			id = regexp.MustCompile(`[0-9a-f-]{36}`).FindString(text)
		}
	}
	w.eventuallyAlerts("Added z active", "Down a active", "Full b active")
}
