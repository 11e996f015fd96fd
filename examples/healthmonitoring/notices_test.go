package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/receivers"
	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
)

// TestReceiversAreTold: an alarm arrives at a web hook and a subject with the sample file, firing and resolved, each once; one that is silenced in
// the bucket does not.
func TestReceiversAreTold(t *testing.T) {
	server := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	js, err := jetstream.New(embeddedtest.ConnectTo(t, server))
	require.NoError(t, err)
	bucket, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "rules"})
	require.NoError(t, err)
	silences, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "silences"})
	require.NoError(t, err)
	_, err = silences.PutString(ctx, "hush", fmt.Sprintf(
		`{"matchers":[{"name":"alertname","value":"Hushed"}],"startsAt":%q,"endsAt":%q,"createdBy":"ann","comment":"known"}`,
		time.Now().Add(-time.Hour).Format(time.RFC3339), time.Now().Add(time.Hour).Format(time.RFC3339)))
	require.NoError(t, err)

	posts := make(chan receivers.Message, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m receivers.Message
		if json.NewDecoder(r.Body).Decode(&m) == nil {
			posts <- m
		}
	}))
	defer hook.Close()
	t.Setenv("HEALTH_TEST_HOOK", hook.URL+"/secret-token")
	rules := write(t, "rules.json", `{"rules":[{"name":"Hushed","metric":"load1","above":-1,"severity":"critical"}]}`)
	cmd := exec.CommandContext(ctx, binary, "-nats", server.URL(), "-syslog", "", "-interval", "100ms", "-rules", rules, "-rules-bucket", "rules",
		"-notify", "notify.yaml", "-tell", "chat=env:HEALTH_TEST_HOOK", "-tell", "pager=nats:alerts.pager")
	var said bytes.Buffer
	cmd.Stderr = &said
	require.NoError(t, cmd.Start())
	_, err = bucket.PutString(ctx, "Busy", `{"metric":"load1","above":-1,"severity":"critical"}`)
	require.NoError(t, err)
	next := func() receivers.Message {
		select {
		case m := <-posts:
			return m
		case <-ctx.Done():
			require.FailNow(t, "nobody was told")
			return receivers.Message{}
		}
	}
	host, err := os.Hostname()
	require.NoError(t, err)
	m := next()
	require.Equal(t, []string{"firing", "4", "chat"}, []string{m.Status, m.Version, m.Receiver})
	require.Equal(t, map[string]string{"alertname": "Busy", "host": host}, m.GroupLabels)
	require.NoError(t, bucket.Delete(ctx, "Busy"))
	m = next()
	require.Equal(t, "resolved", m.Status)
	require.Equal(t, "Busy", m.GroupLabels["alertname"])

	// Messages of the pager's stream, each of which is one notice: a notice that comes again is dropped by its Nats-Msg-Id.
	told, err := js.Stream(ctx, "NOTICES-alerts_pager")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, err := told.Info(ctx)
		return err == nil && info.State.Msgs == 2
	}, time.Minute, 20*time.Millisecond)
	for seq, firing := range []bool{true, false} {
		msg, err := told.GetMsg(ctx, uint64(seq+1))
		require.NoError(t, err)
		var n notify.Notification
		require.NoError(t, json.Unmarshal(msg.Data, &n))
		require.Equal(t, firing, n.Firing())
		require.Equal(t, "Busy", n.Alerts[0].Labels["alertname"])
	}
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait(), said.String())
	require.Empty(t, posts)
	require.NotContains(t, said.String(), "secret-token")
}

func TestMistakesOfNotices(t *testing.T) {
	good := write(t, "good.yaml", "route: {receiver: a}\nreceivers: [{name: a}]")
	for want, args := range map[string][]string{
		"no such file":                             {"-notify", "nowhere.yaml"},
		"line 1, column 1: /rout: there is no":     {"-notify", write(t, "bad.yaml", "rout: {}")},
		"how is the receiver a told?":              {"-notify", good},
		"-tell b: it is RECEIVER=ADDRESS":          {"-notify", good, "-tell", "b"},
		"-tell a: the address is http://":          {"-notify", good, "-tell", "a=ftp://x"},
		"or nats:SUBJECT":                          {"-notify", good, "-tell", "a=http:"},
		"-tell b: ":                                {"-notify", good, "-tell", "a=nats:x", "-tell", "b=nats:x"},
		"the receiver a is there twice":            {"-notify", write(t, "twice.yaml", "route: {receiver: a}\nreceivers: [{name: a}, {name: a}]"), "-tell", "a=nats:x"},
		"-tell is for -notify":                     {"-tell", "a=nats:x"},
		"nobody is told of tests and replays":      {"-notify", good, "-replay-metrics", "x"},
		"wrong usage: -notify is for what happens": {"-notify", good, "-test-rules", "x"},
	} {
		var out, errs bytes.Buffer
		require.Equal(t, 2, run(t.Context(), args, &out, &errs), want)
		require.Contains(t, errs.String(), want)
		require.Equal(t, 1, bytes.Count(errs.Bytes(), []byte("\n")))
	}
}
