package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// served is the program with -api.
type served struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	notice chan string
	ended  chan struct{} // there is nothing more to read
}

func serveAlarms(ctx context.Context, t *testing.T, args ...string) *served {
	t.Helper()
	s := &served{t: t, cmd: exec.CommandContext(ctx, binary, append(args, "-api", ":0")...), notice: make(chan string, 1000), ended: make(chan struct{})}
	stderr, err := s.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	urls := make(chan string, 1)
	go func() {
		defer close(s.ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if m := regexp.MustCompile(`alarms on (http://127.0.0.1:\d+)`).FindStringSubmatch(lines.Text()); m != nil {
				urls <- m[1]
			}
			if m := regexp.MustCompile(`^notice: (.*)`).FindStringSubmatch(lines.Text()); m != nil {
				s.notice <- m[1]
			}
		}
	}()
	select {
	case s.url = <-urls:
	case <-s.ended:
		require.Fail(t, "it does not serve")
	}
	return s
}

// end ends the program with a signal.
func (s *served) end(signal os.Signal) error {
	require.NoError(s.t, s.cmd.Process.Signal(signal))
	<-s.ended
	return s.cmd.Wait()
}

// ask makes a request and returns the body of the answer; it is tried again until the program answers it well.
func (s *served) ask(method, path, sent string) (text string) {
	s.t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	require.Eventually(s.t, func() bool {
		request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewBufferString(sent))
		require.NoError(s.t, err)
		request.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		defer func() { _ = answer.Body.Close() }()
		data, err := io.ReadAll(answer.Body)
		text = string(data)
		return err == nil && answer.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond)
	return text
}

// TestAlarmsAreServed: alarms of this machine are seen, explained, silenced and acknowledged over HTTP; the program is killed in between, and has
// forgotten nothing.
func TestAlarmsAreServed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	rules := write(t, "rules.json", `{"rules":[{"name":"Alive","metric":"load1","above":-1,"severity":"info"},{"name":"Busy","metric":"load1","above":1e9}]}`)
	args := []string{"-data", t.TempDir(), "-syslog", "", "-interval", "100ms", "-rules", rules}
	s := serveAlarms(ctx, t, args...)
	host, err := os.Hostname()
	require.NoError(t, err)
	require.Regexp(t, `^first notification: Alive of .* firing$`, <-s.notice)
	type alarm struct {
		Fingerprint string
		Labels      map[string]string
		Status      struct{ SilencedBy, AcknowledgedBy []string }
	}
	look := func(is func(alarm) bool) (found alarm) {
		require.Eventually(t, func() bool {
			var list []alarm
			require.NoError(t, json.Unmarshal([]byte(s.ask("GET", "/api/v2/alerts?filter=alertname=Alive", "")), &list))
			if len(list) == 1 && is(list[0]) {
				found = list[0]
			}
			return found.Fingerprint != ""
		}, time.Minute, 20*time.Millisecond)
		return found
	}
	alive := look(func(alarm) bool { return true })
	later := time.Now().UTC().Add(time.Hour).Format(time.RFC3339)
	s.ask("POST", "/api/rossby/v1/acknowledgements", fmt.Sprintf(`{"fingerprint":%q,"owner":"ann","expiresAt":%q}`, alive.Fingerprint, later))
	s.ask("POST", "/api/v2/silences", fmt.Sprintf(`{"matchers":[{"name":"alertname","value":"Alive"}],"startsAt":"2026-01-01T00:00:00Z","endsAt":%q,"createdBy":"ann","comment":"c"}`, later))
	both := func(a alarm) bool { return len(a.Status.SilencedBy) == 1 && len(a.Status.AcknowledgedBy) == 1 }
	before := look(both)
	text := s.ask("GET", "/api/rossby/v1/explain?format=text&rule=Alive&key="+host, "")
	require.Contains(t, text, "firing (info) since")
	require.Contains(t, text, "silenced by "+before.Status.SilencedBy[0])
	require.Contains(t, text, "acknowledged by ann")
	text = s.ask("GET", "/api/rossby/v1/explain?format=text&rule=Busy&key="+host, "")
	require.Contains(t, text, ": ok: there is no breach")
	require.Contains(t, text, "if it came now")
	require.Error(t, s.end(os.Kill))
	s = serveAlarms(ctx, t, args...)
	require.Equal(t, before.Status, look(both).Status)
	s.ask("POST", "/api/v2/alerts", `[{"labels":{"alertname":"Elsewhere"}}]`)
	notices := []string{<-s.notice}
	if notices[0] != "first notification: Elsewhere of  firing" { // what was handed over when it was killed may be handed over again
		notices = append(notices, <-s.notice)
		require.Contains(t, notices[0], "first notification: Alive of ")
	}
	require.Equal(t, "first notification: Elsewhere of  firing", notices[len(notices)-1])
	require.NoError(t, s.end(os.Interrupt))
}
