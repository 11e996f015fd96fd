package join_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// wide are two topics of three partitions that carry their keys in different ways.
var (
	wideLeft  = stream.Topic[string]{Name: "left", Partitions: 3, Codec: stream.String()}
	wideRight = stream.Topic[string]{Name: "right", Partitions: 3, Codec: stream.String(), KeyIn: stream.Header}
	wideSink  = stream.Topic[string]{Name: "results", Partitions: 3, Codec: stream.String()}
)

func newClient(t *testing.T) *stream.Client {
	t.Helper()
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	return client
}

func wideApp(t *testing.T, client *stream.Client, bounded bool) *processor.App {
	t.Helper()
	b := processor.NewBuilder("app")
	join.Inner(processor.From(b, wideLeft), processor.From(b, wideRight), join.Window{Name: "w", Within: time.Minute}, pair).To(wideSink)
	topology, err := b.Build()
	require.NoError(t, err)
	return processor.NewApp(client, topology, processor.Config{Bounded: bounded})
}

func sendAll(t *testing.T, client *stream.Client, topic stream.Topic[string], keys []string) {
	t.Helper()
	require.NoError(t, client.CreateTopic(t.Context(), topic.Spec()))
	p, err := stream.NewProducer(client, topic, stream.ProducerConfig{})
	require.NoError(t, err)
	for _, k := range keys {
		require.NoError(t, p.Send(t.Context(), stream.ProducerRecord[string]{Key: k, Value: k}))
	}
	require.NoError(t, p.Close(t.Context()))
}

// requireRefused checks that the error names the topic and both numbers of partitions.
func requireRefused(t *testing.T, err error, have int) {
	t.Helper()
	var differs *stream.TopicMismatchError
	require.ErrorAs(t, err, &differs)
	require.Equal(t, wideRight.Name, differs.Topic)
	require.ErrorContains(t, err, fmt.Sprintf(`app app: stream: topic "right" exists and differs: number of partitions is %d, asked for 3`, have))
}

// TestKeysMeetWhereverTheyTravel joins a topic with keys in subjects with one with keys in headers: there is one hash of keys, and
// nobody can choose another.
func TestKeysMeetWhereverTheyTravel(t *testing.T) {
	client := newClient(t)
	keys := []string{"web-1.example", "a b", "*", ">", ".", "", "Grüße", "a/b\\c", "%2e"}
	for i := range 40 {
		keys = append(keys, fmt.Sprintf("host-%d", i))
	}
	sendAll(t, client, wideLeft, keys)
	sendAll(t, client, wideRight, keys)
	require.NoError(t, wideApp(t, client, true).Run(t.Context()))
	consumer, err := stream.NewConsumer(t.Context(), client, wideSink, stream.ConsumerConfig{Group: "test"})
	require.NoError(t, err)
	defer consumer.Close()
	got := map[string]string{}
	for {
		done, err := consumer.CaughtUp(t.Context())
		require.NoError(t, err)
		if done {
			break
		}
		records, err := consumer.Poll(t.Context())
		require.NoError(t, err)
		for _, r := range records {
			got[r.Key] = r.Value
		}
	}
	want := map[string]string{}
	for _, k := range keys {
		if k != "" { // a failed record: see errNoKey
			want[k] = pair(k, k)
		}
	}
	require.Equal(t, want, got)
}

func TestAnAppIsRefusedTopicsOfOtherPartitions(t *testing.T) {
	client := newClient(t)
	other := wideRight
	other.Partitions = 4
	sendAll(t, client, other, []string{"k"})
	requireRefused(t, wideApp(t, client, true).Run(t.Context()), 4)
	groups, err := client.Groups(t.Context(), wideLeft.Spec())
	require.NoError(t, err)
	require.Empty(t, groups, "nothing has started")
}

func TestAnAppIsRefusedATopicThatWasMadeAnew(t *testing.T) {
	client := newClient(t)
	sendAll(t, client, wideLeft, []string{"k"})
	sendAll(t, client, wideRight, []string{"k"})
	require.NoError(t, wideApp(t, client, true).Run(t.Context()))

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	running := make(chan error, 1)
	go func() { running <- wideApp(t, client, false).Run(ctx) }()
	sendAll(t, client, wideLeft, []string{"k"})
	require.Eventually(t, func() bool { // it runs: the record has met the one before
		offsets, err := client.Offsets(ctx, wideSink.Spec())
		return err == nil && offsets[stream.Partition("k", 3)].Records == 2
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, client.DeleteTopic(ctx, wideRight.Name))
	other := wideRight
	other.Partitions = 2
	require.NoError(t, client.CreateTopic(ctx, other.Spec()))
	select {
	case err := <-running:
		require.ErrorContains(t, err, `"right"`, "its topic has gone")
	case <-time.After(time.Minute):
		t.Error("the app runs on without its topic")
		stop()
		<-running
	}
	requireRefused(t, wideApp(t, client, true).Run(t.Context()), 2)
}
