package receivers_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/receivers"
	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// What the process that a test kills is given.
const (
	childServer = "ROSSBY_RECEIVERS_SERVER"
	childHook   = "ROSSBY_RECEIVERS_HOOK"
)

var alarms = stream.Topic[alerting.Alarm]{Name: "alarms", Time: func(a alerting.Alarm) time.Time { return a.At }}

// run runs an app that tells a web hook of alarms, each by itself, until ctx ends.
func run(ctx context.Context, nc *nats.Conn, hook string) error {
	client, err := stream.NewClient(nc, stream.Config{Storage: stream.Memory})
	if err != nil {
		return err
	}
	b := processor.NewBuilder("app")
	told := notify.Notify(processor.From(b, alarms), processor.Stream[notify.SilenceChange]{}, notify.Config{
		Route: notify.Route{
			Receiver: "hook", GroupBy: []string{notify.LabelName, notify.LabelKey}, GroupWait: time.Millisecond, GroupInterval: 5 * time.Millisecond, RepeatInterval: time.Hour,
		},
		Receivers: []notify.Receiver{{Name: "hook", SendResolved: true}},
	})
	w := &receivers.Webhook{HTTP: receivers.HTTP{URL: receivers.Text(hook)}}
	notify.Deliver(b, told, notify.Target{Receiver: "hook", Send: w.Send})
	topology, err := b.Build()
	if err != nil {
		return err
	}
	// It comes back under its name: nobody waits for its session to end.
	return processor.NewApp(client, topology, processor.Config{Instance: "one"}).Run(ctx)
}

func child(server, hook string) error {
	nc, err := nats.Connect(server)
	if err != nil {
		return err
	}
	defer nc.Close()
	fmt.Println("ready")
	return run(context.Background(), nc, hook)
}

// spawn starts the app in a process of its own; kill ends it with SIGKILL.
func spawn(t *testing.T, server, hook string) (kill func()) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childServer+"="+server, childHook+"="+hook)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.True(t, bufio.NewScanner(out).Scan())
	return func() {
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait() // it says that it was killed
	}
}

// TestKilledNoneIsMissingAndNoneComesTwice: a process is killed again and again while alarms come, and the web hook fails at times; by their
// keys, the notifications are one for each beginning and one for each end.
func TestKilledNoneIsMissingAndNoneComesTwice(t *testing.T) {
	server := embeddedtest.StartWith(t, embedded.Config{Port: -1})
	nc := embeddedtest.ConnectTo(t, server)
	client, err := stream.NewClient(nc, stream.Config{Storage: stream.Memory})
	require.NoError(t, err)
	require.NoError(t, client.CreateTopic(t.Context(), alarms.Spec()))
	producer, err := stream.NewProducer(client, alarms, stream.ProducerConfig{})
	require.NoError(t, err)
	l := listen(t)
	posted := make(map[string]bool)
	l.answer = func(p post) int {
		if again := posted[p.key]; !again && len(posted)%5 == 0 { // the first attempt of one in five fails
			posted[p.key] = true
			return http.StatusServiceUnavailable
		}
		posted[p.key] = true
		return http.StatusOK
	}
	keys := func() map[string]string { // by idempotency key, what it says
		all := make(map[string]string)
		for _, p := range l.got() {
			var m receivers.Message
			require.NoError(t, json.Unmarshal(p.body, &m))
			require.Len(t, m.Alerts, 1)
			says := m.Status + " " + m.GroupKey
			if before, ok := all[p.key]; ok {
				require.Equal(t, before, says, "a key that means two things")
			}
			all[p.key] = says
		}
		return all
	}
	const rounds, each = 6, 8
	send := func(round int, state alerting.State) {
		for i := range each {
			at := time.Now().UTC()
			a := alerting.Alarm{Rule: "R", Key: fmt.Sprint(round, "-", i), State: state, Since: at, At: at, Context: json.RawMessage("null")}
			require.NoError(t, producer.Send(t.Context(), stream.ProducerRecord[alerting.Alarm]{Key: a.Key, Value: a}))
		}
		require.NoError(t, producer.Flush(t.Context()))
	}
	for round := range rounds {
		kill := spawn(t, server.URL(), l.URL)
		send(round, alerting.Firing)
		// The kill comes when something has been told of the round, when all has, or at once.
		enough := 2*round*each + []int{0, 1, each}[round%3]
		require.Eventually(t, func() bool { return len(keys()) >= enough }, 60*time.Second, 5*time.Millisecond)
		kill()
		// An end is only told of what was told to have begun.
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- run(ctx, nc, l.URL) }()
		require.Eventually(t, func() bool { return len(keys()) >= (2*round+1)*each }, 60*time.Second, 5*time.Millisecond)
		send(round, alerting.Resolved)
		require.Eventually(t, func() bool { return len(keys()) >= (2*round+2)*each }, 60*time.Second, 5*time.Millisecond)
		cancel()
		require.NoError(t, <-done)
	}
	require.NoError(t, producer.Close(context.Background()))
	times := make(map[string]int)
	for _, says := range keys() {
		times[says]++
	}
	require.Len(t, times, 2*rounds*each)
	for says, n := range times {
		require.Equal(t, 1, n, says)
	}
	t.Logf("%d notifications, %d posts", len(times), len(l.got()))
}
