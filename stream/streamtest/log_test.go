package streamtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rossby-streams/rossby/stream"
	"github.com/rossby-streams/rossby/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLogKeepsPromises(t *testing.T) { streamtest.Run(t, streamtest.NewLog().Target()) }

// newTopic gives a log with a topic in it.
func newTopic(t *testing.T, topic stream.Topic[string]) (*streamtest.Log, *streamtest.Producer[string]) {
	t.Helper()
	log := streamtest.NewLog()
	require.NoError(t, log.CreateTopic(t.Context(), topic.Spec()))
	p, err := streamtest.NewProducer(log, topic)
	require.NoError(t, err)
	return log, p
}

func TestIDsLeaveTheirWindowByTheTestsClock(t *testing.T) {
	topic := stream.Topic[string]{Name: "t", DuplicateWindow: time.Minute}
	log, p := newTopic(t, topic)
	for _, step := range []struct {
		wait time.Duration
		want uint64
	}{{0, 1}, {59 * time.Second, 1}, {time.Second, 2}, {0, 2}} {
		log.Advance(step.wait)
		require.NoError(t, p.Send(t.Context(), stream.ProducerRecord[string]{Key: "k", ID: "a"}))
		o, err := log.Offsets(t.Context(), topic.Spec())
		require.NoError(t, err)
		require.Equal(t, step.want, o[0].Records)
	}
}

func TestRetentionOvertakesAConsumer(t *testing.T) {
	topic := stream.Topic[string]{Name: "t", MaxAge: time.Hour}
	log, p := newTopic(t, topic)
	k, err := streamtest.NewConsumer(t.Context(), log, topic, stream.ConsumerConfig{Group: "g"})
	require.NoError(t, err)
	defer k.Close()
	require.NoError(t, p.Send(t.Context(), stream.ProducerRecord[string]{Key: "k"}))
	log.Advance(time.Hour)
	_, err = k.Poll(t.Context())
	var gone *stream.OffsetGoneError
	require.ErrorAs(t, err, &gone)
	require.Equal(t, uint64(2), gone.First)
}

func TestResetIsRefusedWhileMembersAreThere(t *testing.T) {
	topic := stream.Topic[string]{Name: "t"}
	log, p := newTopic(t, topic)
	require.NoError(t, p.Send(t.Context(), stream.ProducerRecord[string]{Key: "k"}))
	k, err := streamtest.NewConsumer(t.Context(), log, topic, stream.ConsumerConfig{Group: "g"})
	require.NoError(t, err)
	var active *stream.GroupActiveError
	require.ErrorAs(t, log.ResetGroup(topic.Spec(), "g", 0, 2), &active)
	k.Close()
	require.NoError(t, log.ResetGroup(topic.Spec(), "g", 0, 99))
	o, err := log.Committed(t.Context(), topic.Spec(), "g")
	require.NoError(t, err)
	require.Equal(t, []stream.GroupOffset{{Partition: 0, Next: 2, Lag: 0}}, o)
}

// double is code under test: it takes no more than it needs.
func double(ctx context.Context, in stream.Poller[string], out stream.Sender[string]) error {
	records, err := in.Poll(ctx)
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := out.Send(ctx, stream.ProducerRecord[string]{Key: r.Key, Value: r.Value + r.Value}); err != nil {
			return err
		}
	}
	if err := out.Flush(ctx); err != nil {
		return err
	}
	return in.Commit(ctx)
}

func TestCodeThatTakesInterfacesRunsWithoutAServer(t *testing.T) {
	log, p := newTopic(t, stream.Topic[string]{Name: "in"})
	out := stream.Topic[string]{Name: "out"}
	require.NoError(t, log.CreateTopic(t.Context(), out.Spec()))
	sender, err := streamtest.NewProducer(log, out)
	require.NoError(t, err)
	in, err := streamtest.NewConsumer(t.Context(), log, stream.Topic[string]{Name: "in"}, stream.ConsumerConfig{Group: "g"})
	require.NoError(t, err)
	defer in.Close()
	require.NoError(t, p.Send(t.Context(), stream.ProducerRecord[string]{Key: "k", Value: "ab"}))
	require.NoError(t, double(t.Context(), in, sender))

	k, err := streamtest.NewConsumer(t.Context(), log, out, stream.ConsumerConfig{Group: "test"})
	require.NoError(t, err)
	defer k.Close()
	got, err := k.Poll(t.Context())
	require.NoError(t, err)
	require.Equal(t, "abab", got[0].Value)
}
