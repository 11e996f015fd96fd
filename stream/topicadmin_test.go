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

// everything sets every setting of a topic to something that is no default.
func everything() stream.TopicSpec {
	return stream.TopicSpec{
		Name: "all", Partitions: 3, Replicas: 1, Storage: stream.Memory, MaxAge: time.Hour, MaxBytes: 1 << 20, MaxRecords: 1000,
		Compact: true, TombstoneTTL: time.Minute, Compression: stream.S2, DuplicateWindow: time.Minute,
	}
}

func fixedError(t *testing.T, err error, setting string) {
	t.Helper()
	var fixed *stream.TopicFixedError
	require.ErrorAs(t, err, &fixed)
	require.Equal(t, setting, fixed.Differences[0].Setting)
	require.ErrorContains(t, err, "cannot become")
	require.ErrorContains(t, err, "create a topic of another name")
}

// What was asked for is what is described, from nothing but the name.
func TestDescribeTopic(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	plain := stream.TopicSpec{Name: "plain", Partitions: 1, Replicas: 1, Storage: stream.File, DuplicateWindow: 2 * time.Minute}
	header := plain
	header.Name, header.KeyIn = "header", stream.Header
	for _, spec := range []stream.TopicSpec{everything(), plain, header} {
		createTopic(t, c, spec)
		createTopic(t, c, spec)
		info, err := c.DescribeTopic(ctx, spec.Name)
		require.NoError(t, err)
		require.Equal(t, spec, info.Spec)
		require.Empty(t, info.Unfinished)
		require.Len(t, info.Partitions, spec.Partitions)
	}
	require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: everything(), Partition: 2, Key: "k", Data: []byte("v")}}))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "foreign-0", Subjects: []string{"foreign.0.>"}})
	require.NoError(t, err)
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "b-0", Subjects: []string{"b.0.>"}})
	require.NoError(t, err)

	list, err := c.ListTopics(ctx)
	require.NoError(t, err)
	var names []string
	for _, info := range list {
		names = append(names, info.Spec.Name)
	}
	require.Equal(t, []string{"all", "header", "plain"}, names)
	p := list[0].Partitions[2]
	require.Equal(t, stream.PartitionOffsets{Partition: 2, First: 1, Next: 2, Records: 1}, p.PartitionOffsets)
	require.NotZero(t, p.Bytes)
	require.NotZero(t, p.LastTime)
	require.Equal(t, 1, p.InSync)

	var missing *stream.TopicNotFoundError
	_, err = c.DescribeTopic(ctx, "nothing")
	require.ErrorAs(t, err, &missing)
	var differs *stream.TopicMismatchError
	_, err = c.DescribeTopic(ctx, "foreign")
	require.ErrorAs(t, err, &differs)
	require.ErrorContains(t, err, "not Rossby's")
	require.ErrorAs(t, c.DeleteTopic(ctx, "foreign"), &differs)
	require.ErrorAs(t, c.AlterTopic(ctx, stream.TopicSpec{Name: "foreign"}), &differs)
	var bad *stream.SpecError
	_, err = c.DescribeTopic(ctx, "a.b")
	require.ErrorAs(t, err, &bad)
	require.ErrorAs(t, c.DeleteTopic(ctx, ">"), &bad)
	require.ErrorAs(t, c.AlterTopic(ctx, stream.TopicSpec{Name: "*"}), &bad)
}

func TestAlterTopic(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	spec := everything()
	createTopic(t, c, spec)
	for name, change := range map[string]func(*stream.TopicSpec){
		"MaxAge":          func(s *stream.TopicSpec) { s.MaxAge = 2 * time.Hour },
		"no MaxAge":       func(s *stream.TopicSpec) { s.MaxAge = 0 },
		"MaxBytes":        func(s *stream.TopicSpec) { s.MaxBytes = 0 },
		"MaxRecords":      func(s *stream.TopicSpec) { s.MaxRecords = 5 },
		"DuplicateWindow": func(s *stream.TopicSpec) { s.DuplicateWindow = time.Second },
		"TombstoneTTL":    func(s *stream.TopicSpec) { s.TombstoneTTL = time.Hour },
		"Compression":     func(s *stream.TopicSpec) { s.Compression = stream.NoCompression },
	} {
		t.Run(name, func(t *testing.T) {
			want := spec
			change(&want)
			var differs *stream.TopicMismatchError
			err := c.CreateTopic(ctx, want)
			require.ErrorAs(t, err, &differs)
			require.Len(t, differs.Differences, 1)
			require.ErrorContains(t, err, "Client.AlterTopic")
			for _, to := range []stream.TopicSpec{want, want, spec} {
				require.NoError(t, c.AlterTopic(ctx, to))
				info, err := c.DescribeTopic(ctx, spec.Name)
				require.NoError(t, err)
				require.Equal(t, to, info.Spec)
				require.Empty(t, info.Unfinished)
				require.NoError(t, c.CreateTopic(ctx, to))
			}
		})
	}
	for setting, change := range map[string]func(*stream.TopicSpec){
		"number of partitions": func(s *stream.TopicSpec) { s.Partitions = 8 },
		"storage":              func(s *stream.TopicSpec) { s.Storage = stream.File },
		"Compact":              func(s *stream.TopicSpec) { s.Compact, s.TombstoneTTL = false, 0 },
	} {
		want := spec
		want.MaxAge = 5 * time.Hour // must not be changed either
		change(&want)
		fixedError(t, c.AlterTopic(ctx, want), setting)
	}
	createTopic(t, c, stream.TopicSpec{Name: "plain", MaxRecords: 10})
	fixedError(t, c.AlterTopic(ctx, stream.TopicSpec{Name: "plain", KeyIn: stream.Header}), "KeyIn")
	fixedError(t, c.AlterTopic(ctx, stream.TopicSpec{Name: "plain", Compact: true}), "Compact")
	info, err := c.DescribeTopic(ctx, spec.Name)
	require.NoError(t, err)
	require.Equal(t, spec, info.Spec)

	// Lowered limits work at once.
	for range 10 {
		require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: stream.TopicSpec{Name: "plain"}, Key: "k"}}))
	}
	require.NoError(t, c.AlterTopic(ctx, stream.TopicSpec{Name: "plain", MaxRecords: 3}))
	at, err := c.Offsets(ctx, stream.TopicSpec{Name: "plain"})
	require.NoError(t, err)
	require.Equal(t, stream.PartitionOffsets{First: 8, Next: 11, Records: 3}, at[0])

	var missing *stream.TopicNotFoundError
	require.ErrorAs(t, c.AlterTopic(ctx, stream.TopicSpec{Name: "nothing"}), &missing)
	tooMany(t, c.AlterTopic(ctx, stream.TopicSpec{Name: "plain", MaxRecords: 3, Replicas: 3}))
	tooMany(t, c.CreateTopic(ctx, stream.TopicSpec{Name: "more", Replicas: 3}))
	_, err = c.DescribeTopic(ctx, "more")
	require.ErrorAs(t, err, &missing)
}

// Creating, altering and deleting are interrupted at every point, as a crash
// would, and called again.
func TestInterruptedTopicChanges(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	spec := everything()
	state := func() string {
		info, err := c.DescribeTopic(ctx, spec.Name)
		require.NoError(t, err)
		return info.Unfinished
	}
	update := func(p int, change func(*jetstream.StreamConfig)) {
		s, err := js.Stream(ctx, spec.BackingStream(p))
		require.NoError(t, err)
		cfg := s.CachedInfo().Config
		change(&cfg)
		_, err = js.UpdateStream(ctx, cfg)
		require.NoError(t, err)
	}
	altered := spec
	altered.MaxRecords = 7

	for _, again := range []func(context.Context, stream.TopicSpec) error{c.CreateTopic, c.AlterTopic} {
		createTopic(t, c, spec)
		require.NoError(t, js.DeleteStream(ctx, "all-1"))
		require.Equal(t, "creation", state())
		require.NoError(t, again(ctx, spec))
		require.Empty(t, state())

		update(0, func(cfg *jetstream.StreamConfig) { cfg.MaxMsgs = 7 })
		require.Equal(t, "change", state())
		require.NoError(t, again(ctx, altered))
		require.Empty(t, state())
		info, err := c.DescribeTopic(ctx, spec.Name)
		require.NoError(t, err)
		require.Equal(t, altered, info.Spec)
		require.NoError(t, c.DeleteTopic(ctx, spec.Name))
	}

	for _, again := range []func(context.Context, stream.TopicSpec) error{
		c.CreateTopic,
		func(ctx context.Context, s stream.TopicSpec) error { return c.DeleteTopic(ctx, s.Name) },
	} {
		createTopic(t, c, altered)
		require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Partition: 0, Key: "old"}, {Topic: spec, Partition: 1, Key: "old"}}))
		update(0, func(cfg *jetstream.StreamConfig) { cfg.Metadata["rossby.deleting"] = "true" })
		require.NoError(t, js.DeleteStream(ctx, "all-2"))
		require.Equal(t, "deletion", state())
		var missing *stream.TopicNotFoundError
		require.ErrorAs(t, c.AlterTopic(ctx, spec), &missing)
		require.NoError(t, again(ctx, spec))
		info, err := c.DescribeTopic(ctx, spec.Name)
		if err != nil {
			require.ErrorAs(t, err, &missing)
			continue
		}
		require.Empty(t, info.Unfinished)
		require.Equal(t, spec, info.Spec)
		for _, p := range info.Partitions {
			require.Zero(t, p.Records, "half a topic was taken for a whole one")
		}
		require.NoError(t, c.DeleteTopic(ctx, spec.Name))
	}
	list, err := c.ListTopics(ctx)
	require.NoError(t, err)
	require.Empty(t, list)
	var missing *stream.TopicNotFoundError
	require.ErrorAs(t, c.DeleteTopic(ctx, spec.Name), &missing)
}

// A topic that is deleted while it is produced to and read is a typed error to
// everybody, and another one of the same name can follow.
func TestVanishedTopic(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	topic := stream.Topic[string]{Name: "t", Partitions: 2}
	spec := topic.Spec()
	createTopic(t, c, spec)
	var got collector
	r, err := c.OpenReader(ctx, spec, 1, got.config(0))
	require.NoError(t, err)
	defer r.Close()
	k, err := stream.NewConsumer(ctx, c, topic, stream.ConsumerConfig{Group: "g"})
	require.NoError(t, err)
	defer k.Close()
	p, err := stream.NewProducer(c, topic, stream.ProducerConfig{})
	require.NoError(t, err)
	send := func() error {
		for i := range 100 {
			if err := p.Send(ctx, stream.ProducerRecord[string]{Key: fmt.Sprint(i), Value: "v"}); err != nil {
				return err
			}
		}
		return p.Flush(ctx)
	}
	require.NoError(t, send())
	require.NoError(t, c.DeleteTopic(ctx, "t"))

	var missing *stream.TopicNotFoundError
	require.ErrorAs(t, send(), &missing)
	require.Eventually(t, func() bool { return got.failure() != nil }, patience, time.Millisecond)
	require.ErrorAs(t, got.failure(), &missing)
	require.Equal(t, 1, missing.Partition)
	for err = nil; err == nil; {
		_, err = k.Poll(ctx)
	}
	require.ErrorAs(t, err, &missing)
	require.ErrorAs(t, c.DeleteTopic(ctx, "t"), &missing)

	createTopic(t, c, spec)
	require.NoError(t, send())
	require.NoError(t, p.Close(ctx))
}

// tooMany checks the error of more copies than there are servers.
func tooMany(t *testing.T, err error) {
	t.Helper()
	var few *stream.ReplicasError
	require.ErrorAs(t, err, &few)
	require.ErrorContains(t, err, "not enough servers for the replicas")
	require.ErrorContains(t, err, "ask for fewer")
	require.NotContains(t, err.Error(), "\n")
}

// A topic grows from one copy to three and shrinks back while it keeps its
// records.
func TestAlterReplicas(t *testing.T) {
	ctx := testContext(t)
	cluster := embeddedtest.StartCluster(t, 3)
	c := clientOf(t, embeddedtest.ConnectToCluster(t, cluster, reconnecting()...))
	spec := stream.TopicSpec{Name: "t", Partitions: 2}
	createTopic(t, c, spec)
	tooMany(t, c.CreateTopic(ctx, stream.TopicSpec{Name: "five", Replicas: 5}))
	tooMany(t, c.AlterTopic(ctx, stream.TopicSpec{Name: "t", Partitions: 2, Replicas: 5}))
	for i, replicas := range []int{3, 1} {
		require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Partition: 1, Key: "k"}}))
		spec.Replicas = replicas
		require.NoError(t, c.AlterTopic(ctx, spec))
		var info stream.TopicInfo
		require.Eventually(t, func() bool {
			var err error
			info, err = c.DescribeTopic(ctx, "t")
			require.NoError(t, err)
			return info.Partitions[0].InSync == replicas && info.Partitions[1].InSync == replicas
		}, patience, 20*time.Millisecond)
		require.Equal(t, replicas, info.Spec.Replicas)
		require.Empty(t, info.Unfinished)
		require.NotEmpty(t, info.Partitions[0].Leader)
		require.Len(t, readAll(t, c, spec, 1), i+1)
	}
}

// Five copies survive two servers: what is acknowledged before and after they stop is
// there, and the copies catch up when they are back.
func TestFiveReplicas(t *testing.T) {
	ctx := testContext(t)
	cluster := embeddedtest.StartCluster(t, 5)
	c := clientOf(t, embeddedtest.ConnectToCluster(t, cluster, reconnecting()...))
	topic := stream.Topic[string]{Name: "t", Replicas: 5, Codec: stream.String()}
	spec := topic.Spec()
	createTopic(t, c, spec)
	inSync := func() bool {
		info, err := c.DescribeTopic(ctx, "t")
		require.NoError(t, err)
		return info.Partitions[0].InSync == 5 && info.Spec.Replicas == 5
	}
	eventually(t, "all copies are there", inSync)
	p := newProducer(t, c, topic, stream.ProducerConfig{})
	send := func(n int) {
		for i := range n {
			require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Key: "k", Value: fmt.Sprint(i)}))
		}
		require.NoError(t, p.Flush(ctx))
	}
	send(500)
	require.NoError(t, cluster.StopServer(0))
	require.NoError(t, cluster.StopServer(1))
	send(500)
	require.Len(t, readAll(t, c, spec, 0), 1000)
	require.NoError(t, cluster.RestartServer(ctx, 0))
	require.NoError(t, cluster.RestartServer(ctx, 1))
	send(1)
	eventually(t, "the copies have caught up", inSync)
}
