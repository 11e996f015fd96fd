package receivers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/receivers"
)

// peer is the environment variable that names a program: Alertmanager.
const peer = "ROSSBY_ALERTMANAGER"

// TestAlertmanagerItself: one that is given takes our alerts and shows them, and what its webhook says of them is what ours says, field by field.
// Without one there is nothing to test: what it takes and says is written down in the tests beside this one.
func TestAlertmanagerItself(t *testing.T) {
	program := os.Getenv(peer)
	if program == "" {
		t.Logf("%s names no Alertmanager", peer)
		return
	}
	l := listen(t)
	url := alertmanager(t, program, fmt.Sprintf(`
route: {receiver: ops, group_by: [alertname], group_wait: 1s, group_interval: 1s}
receivers: [{name: ops, webhook_configs: [{url: '%s', send_resolved: true}]}]
`, l.URL))
	n := notification()
	n.At = time.Now().UTC()
	for i := range n.Alerts {
		n.Alerts[i].StartsAt = n.At.Truncate(time.Millisecond)
	}
	n.Alerts[1].EndsAt = time.Time{}
	am := &receivers.Alertmanager{HTTP: receivers.HTTP{URL: receivers.Text(url)}}
	require.NoError(t, am.Send(t.Context(), delivery(n)))
	answer, err := http.Get(url + "/api/v2/alerts")
	require.NoError(t, err)
	var shown []struct {
		Labels   map[string]string `json:"labels"`
		StartsAt time.Time         `json:"startsAt"`
	}
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&shown))
	require.NoError(t, answer.Body.Close())
	require.Len(t, shown, 2)
	for _, a := range shown {
		require.Contains(t, []map[string]string{n.Alerts[0].Labels, n.Alerts[1].Labels}, a.Labels)
		require.Equal(t, n.Alerts[0].StartsAt, a.StartsAt)
	}
	theirs := awaitPost(t, l, 1)
	compareMessages(t, theirs, &n)

	n.Alerts[1].EndsAt = time.Now().UTC().Truncate(time.Millisecond)
	n.Reason = notify.SomeResolved
	require.NoError(t, am.Send(t.Context(), delivery(n)))
	compareMessages(t, awaitPost(t, l, 2), &n)
}

func awaitPost(t *testing.T, l *listener, n int) []byte {
	t.Helper()
	require.Eventually(t, func() bool { return len(l.got()) >= n }, 60*time.Second, 10*time.Millisecond)
	return l.got()[n-1].body
}

// compareMessages compares names and their order, and values but for what is the sender's own.
func compareMessages(t *testing.T, theirs []byte, n *notify.Notification) {
	t.Helper()
	var want receivers.Message
	require.NoError(t, json.Unmarshal(theirs, &want))
	got := receivers.NewMessage(n, 0, want.ExternalURL)
	for i := range got.Alerts {
		for _, w := range want.Alerts {
			if w.Labels["key"] == got.Alerts[i].Labels["key"] {
				got.Alerts[i].Fingerprint = w.Fingerprint // theirs is of all labels
			}
		}
	}
	require.ElementsMatch(t, want.Alerts, got.Alerts)
	got.Alerts = want.Alerts // in their order
	ours, err := json.Marshal(got)
	require.NoError(t, err)
	require.Equal(t, string(bytes.TrimSpace(theirs)), string(ours))
}

// alertmanager runs the program with a configuration and returns its URL.
func alertmanager(t *testing.T, program, config string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "am.yml")
	require.NoError(t, os.WriteFile(path, []byte(config), 0o600))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	cmd := exec.Command(program, "--config.file="+path, "--storage.path="+dir, "--web.listen-address="+address, "--cluster.listen-address=")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait() // it says that it was killed
		if t.Failed() {
			t.Log(log.String())
		}
	})
	url := "http://" + address
	require.Eventually(t, func() bool {
		answer, err := http.Get(url + "/-/ready")
		return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	}, 60*time.Second, 10*time.Millisecond)
	return url
}
