package stream_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// Nil in every place where a value may be: it is stored as what it is, and comes back.
func TestNilValues(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	raw := stream.Topic[[]byte]{Name: "raw", Codec: stream.Bytes()}
	table := stream.Topic[[]byte]{Name: "table", Codec: stream.Bytes(), Compact: true}
	pointers := stream.Topic[*reading]{Name: "pointers"}
	for _, spec := range []stream.TopicSpec{raw.Spec(), table.Spec(), pointers.Spec()} {
		createTopic(t, c, spec)
	}
	for _, topic := range []stream.Topic[[]byte]{raw, table} {
		p := newProducer(t, c, topic, stream.ProducerConfig{})
		require.NoError(t, p.Send(ctx, stream.ProducerRecord[[]byte]{Key: "k"}))
		require.NoError(t, p.Flush(ctx))
		r := pollN(t, newConsumer(t, c, topic, stream.ConsumerConfig{Group: "g"}), 1)[0]
		require.NoError(t, r.Err)
		require.Empty(t, r.Value)
		require.Nil(t, r.Headers)
		require.Equal(t, topic.Compact, r.Tombstone, "no data is a tombstone in a compacted topic, and nowhere else")
	}
	p := newProducer(t, c, pointers, stream.ProducerConfig{})
	require.NoError(t, p.Send(ctx, stream.ProducerRecord[*reading]{}))
	require.NoError(t, p.Flush(ctx))
	r := pollN(t, newConsumer(t, c, pointers, stream.ConsumerConfig{Group: "g"}), 1)[0]
	require.NoError(t, r.Err)
	require.Nil(t, r.Value)
	require.Empty(t, r.Key)
	require.Equal(t, "null", string(r.Data))

	require.NoError(t, c.Publish(ctx, nil))
	_, err := stream.NewClient(nil, stream.Config{})
	require.ErrorContains(t, err, "connection")
	_, err = c.OpenReader(ctx, raw.Spec(), 0, stream.ReaderConfig{})
	require.ErrorContains(t, err, "Deliver is required")
	_, err = c.OpenJournal(ctx, "")
	var name *stream.NameError
	require.ErrorAs(t, err, &name)
}

// Partitions that there are not, below and above.
func TestPartitionsThatThereAreNot(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	fill(t, c, 0, 8)
	k := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "g"})
	pollN(t, k, 8)
	spec := numbers.Spec()
	for _, p := range []int{-1 << 40, -1, 4, 1 << 40} {
		var bad *stream.SpecError
		require.ErrorAs(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Partition: p, Key: "k"}}), &bad)
		require.ErrorContains(t, bad, "only 0 to 3")
		require.ErrorAs(t, c.StoreOffset(ctx, spec, "h", p, 1), &bad)
		require.ErrorAs(t, c.Purge(ctx, spec, p, 1), &bad)
		_, err := c.CommittedAt(ctx, spec, "g", p)
		require.ErrorAs(t, err, &bad)
		_, err = c.NewOutbox(owner).Republish(ctx, []stream.Outgoing{{Topic: spec, Partition: p, Key: "k", ID: "w/1/0"}}, time.Now())
		require.ErrorAs(t, err, &bad)
		_, err = c.OpenReader(ctx, spec, p, stream.ReaderConfig{Deliver: func(stream.Message) {}})
		require.ErrorAs(t, err, &bad)
		_, err = c.ResetGroup(ctx, stream.GroupReset{Topic: spec, Group: "h", Partitions: []int{p}, To: stream.ToEarliest()})
		require.ErrorAs(t, err, &bad)
		var lost *stream.ClaimLostError
		require.ErrorAs(t, k.Seek(ctx, p, 1), &lost)
		require.ErrorAs(t, k.CommitOffset(ctx, p, 1), &lost)
		k.Pause(p)
		k.Resume(p)
	}
	require.NoError(t, k.Commit(ctx))
	for _, n := range []int{-1, -1 << 40, 4097, 1 << 40} {
		var bad *stream.SpecError
		wrong := numbers
		wrong.Partitions = n
		_, err := c.Offsets(ctx, wrong.Spec())
		require.ErrorAs(t, err, &bad)
		_, err = stream.NewProducer(c, wrong, stream.ProducerConfig{})
		require.ErrorAs(t, err, &bad)
		_, err = stream.NewConsumer(ctx, c, wrong, stream.ConsumerConfig{Group: "g"})
		require.ErrorAs(t, err, &bad)
		require.ErrorAs(t, c.AlterTopic(ctx, wrong.Spec()), &bad)
	}
}

// A group whose position retention has passed is told so, and goes on once somebody has
// decided from where.
func TestRetentionOvertakesAGroup(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	topic := stream.Topic[string]{Name: "t", MaxRecords: 10, Codec: stream.String()}
	createTopic(t, c, topic.Spec())
	publish := func(n int) {
		for i := range n {
			require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: topic.Spec(), Key: "k", Data: fmt.Append(nil, i)}}))
		}
	}
	publish(5)
	k := newConsumer(t, c, topic, stream.ConsumerConfig{Group: "g"})
	pollN(t, k, 5)
	require.NoError(t, k.Commit(ctx))
	k.Close()
	publish(20)
	k, err := stream.NewConsumer(ctx, c, topic, stream.ConsumerConfig{Group: "g"})
	if err == nil {
		_, err = k.Poll(ctx)
		k.Close()
	}
	var gone *stream.OffsetGoneError
	require.ErrorAs(t, err, &gone)
	require.Equal(t, stream.OffsetGoneError{Topic: "t", Wanted: 6, First: 16}, *gone)
	require.ErrorContains(t, err, "start again from the earliest")
	_, err = c.ResetGroup(ctx, stream.GroupReset{Topic: topic.Spec(), Group: "g", To: stream.ToEarliest()})
	require.NoError(t, err)
	rest := pollN(t, newConsumer(t, c, topic, stream.ConsumerConfig{Group: "g"}), 10)
	require.EqualValues(t, 16, rest[0].Offset)
}

// A consumer of a topic that has vanished cannot commit and is told why, and a new topic
// of the name begins anew.
func TestCommitToAVanishedTopic(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	fill(t, c, 0, 8)
	k := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "g"})
	pollN(t, k, 8)
	require.NoError(t, c.DeleteTopic(ctx, "numbers"))
	var lost *stream.ClaimLostError // with the topic went its groups
	require.ErrorAs(t, k.Commit(ctx), &lost)
	var missing *stream.TopicNotFoundError
	_, err := k.Poll(ctx)
	require.ErrorAs(t, err, &missing)
	k.Close()
	createTopic(t, c, numbers.Spec())
	committed, err := c.Committed(ctx, numbers.Spec(), "g")
	require.NoError(t, err)
	require.EqualValues(t, 1, committed[0].Next, "the new topic has no position of the old one")
}

// TestJournalThatWentBack gives a journal's owner a server that has less of it than the owner has appended: the append, and the look
// at whose it is, end at once with an error that says so.
func TestJournalThatWentBack(t *testing.T) {
	for name, back := range map[string]func(ctx context.Context, js jetstream.JetStream) error{
		"to nothing": func(context.Context, jetstream.JetStream) error { return nil },
		"to an older entry": func(ctx context.Context, js jetstream.JetStream) error {
			_, err := js.Publish(ctx, "_rossby.journal.j", []byte("from the backup"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			nc := embeddedtest.Connect(t)
			js, err := jetstream.New(nc)
			require.NoError(t, err)
			c := clientOf(t, nc)
			j, _ := openJournal(t, ctx, c)
			for range 3 {
				_, err := j.Append(ctx, []byte("x"))
				require.NoError(t, err)
			}
			was, err := js.Stream(ctx, "j")
			require.NoError(t, err)
			require.NoError(t, js.DeleteStream(ctx, "j"))
			eventually(t, "a server that is still deleting it refuses", func() bool {
				_, err := js.CreateStream(ctx, was.CachedInfo().Config)
				return err == nil
			})
			require.NoError(t, back(ctx, js))
			now, err := js.Stream(ctx, "j")
			require.NoError(t, err)
			want := stream.RewoundError{Journal: "j", Head: 3, Last: now.CachedInfo().State.LastSeq}
			var rewound *stream.RewoundError
			require.ErrorAs(t, j.Verify(ctx), &rewound)
			require.Equal(t, want, *rewound)
			for _, size := range []int{1, 3 << 20} {
				_, err = j.Append(ctx, make([]byte, size))
				require.ErrorAs(t, err, &rewound)
				require.Equal(t, want, *rewound)
			}
		})
	}
}
