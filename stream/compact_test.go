package stream_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// A compacted topic keeps the last record of each key; reading it skips no key
// and takes no hole for a loss, wherever it begins.
func TestCompactedTopicKeepsTheLastOfEachKey(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	topic := stream.Topic[string]{Name: "t", Compact: true}
	spec := topic.Spec()
	createTopic(t, c, spec)
	for round := range 5 {
		var out []stream.Outgoing
		for k := range 100 {
			out = append(out, stream.Outgoing{Topic: spec, Key: fmt.Sprint(k), Data: fmt.Appendf(nil, `"%d"`, round)})
		}
		require.NoError(t, c.Publish(ctx, out))
	}
	require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Key: "7"}}))
	got := readAll(t, c, spec, 0)
	require.Len(t, got, 100)
	last := got[99]
	require.Equal(t, "7", last.Key)
	require.Empty(t, last.Data)
	require.Nil(t, last.Headers)
	for _, from := range []uint64{1, 2, 100, 401, 450} {
		var tail collector
		r, err := c.OpenReader(ctx, spec, 0, tail.config(from))
		require.NoError(t, err)
		require.Len(t, tail.waitFor(t, 100-int(max(from, 401)-401)+b2i(from > 408)), 100-int(max(from, 401)-401)+b2i(from > 408))
		r.Close()
		require.NoError(t, tail.failure())
	}

	k, err := stream.NewConsumer(ctx, c, topic, stream.ConsumerConfig{Group: "g"})
	require.NoError(t, err)
	defer k.Close()
	table := map[string]string{}
	tombstones := 0
	for n := 0; n < 100; {
		records, err := k.Poll(ctx)
		require.NoError(t, err)
		for _, r := range records {
			n++
			require.NoError(t, r.Err)
			if r.Tombstone {
				tombstones++
				require.False(t, r.Time.IsZero())
				continue
			}
			table[r.Key] = r.Value
		}
	}
	require.Equal(t, 1, tombstones)
	require.Len(t, table, 99)
	require.Equal(t, "4", table["99"])

	var bad *stream.KeyError
	require.ErrorAs(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Data: []byte("x")}}), &bad)
	require.ErrorContains(t, bad, "compacted")
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A tombstone is there for its time and then nothing is left of its key; records
// with data stay. On a topic with a MaxAge too, where the server leaves markers.
func TestTombstonesExpire(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]stream.TopicSpec{
		"for ever": {}, "with MaxAge": {MaxAge: time.Hour}, "in memory": {Storage: stream.Memory}, "compressed": {Compression: stream.S2},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			c := newClient(t)
			spec.Name, spec.Compact, spec.TombstoneTTL = "t", true, time.Second
			createTopic(t, c, spec)
			require.NoError(t, c.Publish(ctx, []stream.Outgoing{
				{Topic: spec, Key: "stays", Data: []byte("1")}, {Topic: spec, Key: "goes", Data: []byte("1")}, {Topic: spec, Key: "goes"},
			}))
			require.Len(t, readAll(t, c, spec, 0), 2)
			require.Eventually(t, func() bool {
				at, err := c.Offsets(ctx, spec)
				require.NoError(t, err)
				require.Equal(t, uint64(4), at[0].Next, "a tombstone left another record behind")
				return at[0].Records == 1
			}, patience, 10*time.Millisecond)
			left := readAll(t, c, spec, 0)
			require.Len(t, left, 1)
			require.Equal(t, "stays", left[0].Key)
		})
	}
}

// What MaxAge removes from a compacted topic leaves a tombstone, so that readers
// of the table see the key go.
func TestAgeLeavesTombstones(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	spec := stream.TopicSpec{Name: "t", Compact: true, TombstoneTTL: time.Hour, MaxAge: 500 * time.Millisecond}
	createTopic(t, c, spec)
	var got collector
	r, err := c.OpenReader(ctx, spec, 0, got.config(0))
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Key: "k", Data: []byte("1")}}))
	msgs := got.waitFor(t, 2)
	require.Equal(t, "k", msgs[1].Key)
	require.Empty(t, msgs[1].Data)
	require.Nil(t, msgs[1].Headers)
	require.NoError(t, got.failure())
}

// The server's own view of a compacted topic on a cluster: tombstones expire on
// every copy.
func TestTombstonesExpireOnReplicas(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	cluster := embeddedtest.StartCluster(t, 3)
	c := clientOf(t, embeddedtest.ConnectToCluster(t, cluster, reconnecting()...))
	spec := stream.TopicSpec{Name: "t", Compact: true, TombstoneTTL: time.Second, Replicas: 3}
	createTopic(t, c, spec)
	require.NoError(t, c.Publish(ctx, []stream.Outgoing{
		{Topic: spec, Key: "stays", Data: []byte("1")}, {Topic: spec, Key: "goes", Data: []byte("1")}, {Topic: spec, Key: "goes"},
	}))
	require.Eventually(t, func() bool {
		at, err := c.Offsets(ctx, spec)
		require.NoError(t, err)
		return at[0].Records == 1
	}, patience, 10*time.Millisecond)
}

func TestIllegalCompactedTopics(t *testing.T) {
	for _, spec := range []stream.TopicSpec{
		{Name: "t", TombstoneTTL: time.Hour},
		{Name: "t", Compact: true, TombstoneTTL: time.Millisecond},
		{Name: "t", Compact: true, TombstoneTTL: 1500 * time.Millisecond},
		{Name: "t", Compact: true, TombstoneTTL: -time.Second},
		{Name: "t", Compact: true, KeyIn: stream.Header},
		{Name: "t", KeyIn: 9},
		{Name: "t", Compression: 9},
		{Name: "t", MaxBytes: -1},
		{Name: "t", MaxRecords: -1},
		{Name: "t", Replicas: 2},
	} {
		var bad *stream.SpecError
		require.ErrorAs(t, spec.Validate(), &bad, "%+v", spec)
		require.Len(t, bad.Problems, 1)
	}
}
