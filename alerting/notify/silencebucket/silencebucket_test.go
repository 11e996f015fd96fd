package silencebucket_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/silencebucket"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	alarms   = stream.Topic[alerting.Alarm]{Name: "alarms", Partitions: 2, Time: func(a alerting.Alarm) time.Time { return a.At }}
	silences = notify.SilenceChanges("silence-changes", 2)
)

// TestSilencesAreEditedWhileRunning: an app and a feed beside it; a restart in between changes nothing.
func TestSilencesAreEditedWhileRunning(t *testing.T) {
	nc := embeddedtest.Connect(t)
	client, err := stream.NewClient(nc, stream.Config{Storage: stream.Memory})
	require.NoError(t, err)
	require.NoError(t, client.CreateTopic(t.Context(), alarms.Spec()))
	producer, err := stream.NewProducer(client, alarms, stream.ProducerConfig{})
	require.NoError(t, err)
	defer func() { require.NoError(t, producer.Close(context.Background())) }()

	var mu sync.Mutex
	var told []string
	send := func(_ context.Context, d processor.Delivery[notify.Notification]) error {
		mu.Lock()
		defer mu.Unlock()
		for _, a := range d.Value.Alerts {
			told = append(told, a.Labels["key"])
		}
		return nil
	}
	heard := func(key string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.Contains(told, key)
		}
	}
	start := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		feed, err := silencebucket.Open(ctx, nc, client, silencebucket.Config{Topic: silences})
		require.NoError(t, err)
		b := processor.NewBuilder("app")
		out := notify.Notify(processor.From(b, alarms), processor.From(b, silences), notify.Config{
			Route:     notify.Route{Receiver: "ops", GroupBy: []string{notify.GroupByAll}, GroupWait: time.Millisecond, GroupInterval: 20 * time.Millisecond},
			Receivers: []notify.Receiver{{Name: "ops"}},
		})
		notify.Deliver(b, out, notify.Target{Receiver: "ops", Send: send})
		topology, err := b.Build()
		require.NoError(t, err)
		done := make(chan error, 2)
		go func() { done <- feed.Run(ctx) }()
		go func() { done <- processor.NewApp(client, topology, processor.Config{}).Run(ctx) }()
		return func() {
			cancel()
			require.NoError(t, <-done)
			require.NoError(t, <-done)
		}
	}
	fire := func(key string) {
		now := time.Now().UTC()
		a := alerting.Alarm{Rule: "R", Key: key, State: alerting.Firing, Since: now, At: now, Context: []byte("null")}
		require.NoError(t, producer.Send(t.Context(), stream.ProducerRecord[alerting.Alarm]{Key: key, Value: a}))
		require.NoError(t, producer.Flush(t.Context()))
	}
	eventually := func(is func() bool) { require.Eventually(t, is, 30*time.Second, 5*time.Millisecond) }

	stop := start()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	bucket, err := js.KeyValue(t.Context(), "silences")
	require.NoError(t, err)
	statuses, err := js.KeyValue(t.Context(), "silences-status")
	require.NoError(t, err)
	put := func(id, text, state string) (s silencebucket.Status) {
		revision, err := bucket.PutString(t.Context(), id, text)
		require.NoError(t, err)
		eventually(func() bool {
			entry, err := statuses.Get(t.Context(), id)
			return err == nil && json.Unmarshal(entry.Value(), &s) == nil && s.Revision == revision
		})
		require.Equal(t, state, s.State, s.Error)
		return s
	}
	good := `{"matchers":[{"name":"key","value":"a|x.*","isRegex":true}],"startsAt":"2020-01-01T00:00:00Z","endsAt":"2999-01-01T00:00:00Z","createdBy":"ann","comment":"c"}`
	put("quiet", good, "in force")
	for text, want := range map[string]string{
		`{`: "cannot be read",
		`{"matchers":[{"name":"key","value":"b"}],"startsAt":"2020-01-01T00:00:00Z","endsAt":"2999-01-01T00:00:00Z"}`:                                               "needs createdBy and comment",
		`{"matchers":[{"name":"key","value":".*","isRegex":true}],"startsAt":"2020-01-01T00:00:00Z","endsAt":"2999-01-01T00:00:00Z","createdBy":"a","comment":"c"}`: "one of everything",
		`{"matcher":[]}`: "matcher",
		`{"matchers":[{"name":"key","value":"(","isRegex":true}]}`: "the pattern of key",
	} {
		require.Contains(t, put("quiet", text, "refused").Error, want)
	}
	for i := 0; ; i++ { // until the task has taken the silence
		x := fmt.Sprint("x", i)
		fire(x)
		for _, key := range []string{fmt.Sprint("y", i), fmt.Sprint("z", i)} {
			fire(key)
			eventually(heard(key))
		}
		if !heard(x)() {
			break
		}
	}
	fire("a")
	fire("b")
	eventually(heard("b"))
	stop()
	stop = start()
	fire("c")
	eventually(heard("c"))
	require.False(t, heard("a")())
	require.NoError(t, bucket.Delete(t.Context(), "quiet"))
	eventually(heard("a"))
	stop()
}
