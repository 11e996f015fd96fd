package stream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

var counted = stream.Topic[int]{Name: "counted", Partitions: 2}

// fillTopic stores n records in each partition of the topic.
func fillTopic(t testing.TB, c *stream.Client, spec stream.TopicSpec, n int) {
	t.Helper()
	var out []stream.Outgoing
	for i := range n {
		for p := range spec.Partitions {
			out = append(out, stream.Outgoing{Topic: spec, Partition: p, Key: "k", Data: fmt.Append(nil, i)})
		}
	}
	require.NoError(t, c.Publish(testContext(t), out))
}

// drain polls until everything is read, and commits it.
func drain(t testing.TB, k *stream.Consumer[int]) []stream.Record[int] {
	t.Helper()
	ctx := testContext(t)
	var got []stream.Record[int]
	for {
		done, err := k.CaughtUp(ctx)
		require.NoError(t, err)
		if done {
			require.NoError(t, k.Commit(ctx))
			return got
		}
		records, err := k.Poll(ctx)
		require.NoError(t, err)
		got = append(got, records...)
	}
}

func consume(t testing.TB, c *stream.Client, group string) []stream.Record[int] {
	t.Helper()
	k, err := stream.NewConsumer(testContext(t), c, counted, stream.ConsumerConfig{Group: group})
	require.NoError(t, err)
	defer k.Close()
	return drain(t, k)
}

func nexts(offsets []stream.GroupOffset) []uint64 {
	var out []uint64
	for _, o := range offsets {
		out = append(out, o.Next)
	}
	return out
}

func TestResetGroup(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	spec := counted.Spec()
	createTopic(t, c, spec)
	fillTopic(t, c, spec, 100)
	require.NoError(t, c.Purge(ctx, spec, 0, 11)) // the earliest is not always 1
	require.Len(t, consume(t, c, "g"), 190)
	later := storedAt(t, c, spec, 1, 41)

	for name, test := range map[string]struct {
		to   stream.ResetTo
		want []uint64
	}{
		"earliest":           {stream.ToEarliest(), []uint64{11, 1}},
		"latest":             {stream.ToLatest(), []uint64{101, 101}},
		"offset":             {stream.ToOffset(50), []uint64{50, 50}},
		"offset too low":     {stream.ToOffset(0), []uint64{11, 1}},
		"offset too high":    {stream.ToOffset(math.MaxUint64), []uint64{101, 101}},
		"back":               {stream.ShiftBy(-10), []uint64{91, 91}},
		"back too far":       {stream.ShiftBy(math.MinInt64), []uint64{11, 1}},
		"forward":            {stream.ShiftBy(5), []uint64{101, 101}},
		"forward too far":    {stream.ShiftBy(math.MaxInt64), []uint64{101, 101}},
		"the beginning":      {stream.ToTime(time.Time{}), []uint64{11, 1}},
		"1970":               {stream.ToTime(time.Unix(0, 0)), []uint64{11, 1}},
		"in a hundred years": {stream.ToTime(time.Now().AddDate(100, 0, 0)), []uint64{101, 101}},
	} {
		t.Run(name, func(t *testing.T) {
			for p := range spec.Partitions {
				require.NoError(t, c.StoreOffset(ctx, spec, "g", p, 101))
			}
			got, err := c.ResetGroup(ctx, stream.GroupReset{Topic: spec, Group: "g", To: test.to})
			require.NoError(t, err)
			require.Equal(t, test.want, nexts(got))
			committed, err := c.Committed(ctx, spec, "g")
			require.NoError(t, err)
			require.Equal(t, committed, got)
			for _, o := range got {
				require.Equal(t, 101-o.Next, o.Lag)
			}
			records := consume(t, c, "g")
			require.Len(t, records, 202-int(test.want[0]+test.want[1]))
			first := map[int]uint64{}
			for _, r := range records {
				if first[r.Partition] == 0 {
					first[r.Partition] = r.Offset
				}
			}
			for p, offset := range first {
				require.Equal(t, test.want[p], offset)
			}
		})
	}
	t.Run("time", func(t *testing.T) {
		got, err := c.ResetGroup(ctx, stream.GroupReset{Topic: spec, Group: "g", Partitions: []int{1}, To: stream.ToTime(later)})
		require.NoError(t, err)
		require.Equal(t, []uint64{41}, nexts(got))
		require.Equal(t, 1, got[0].Partition)
		committed, err := c.Committed(ctx, spec, "g")
		require.NoError(t, err)
		require.Equal(t, []uint64{101, 41}, nexts(committed), "only the partition that was named")
	})
	t.Run("a group that never was", func(t *testing.T) {
		got, err := c.ResetGroup(ctx, stream.GroupReset{Topic: spec, Group: "new", To: stream.ToOffset(90)})
		require.NoError(t, err)
		require.Equal(t, []uint64{90, 90}, nexts(got))
		require.Len(t, consume(t, c, "new"), 22)
	})
	t.Run("mistakes", func(t *testing.T) {
		_, err := c.ResetGroup(ctx, stream.GroupReset{Topic: spec, Group: "g"})
		require.ErrorContains(t, err, "GroupReset.To is required")
		var bad *stream.SpecError
		_, err = c.ResetGroup(ctx, stream.GroupReset{Topic: spec, Group: "g", Partitions: []int{-1}, To: stream.ToEarliest()})
		require.ErrorAs(t, err, &bad)
		var name *stream.NameError
		_, err = c.ResetGroup(ctx, stream.GroupReset{Topic: spec, Group: "a b", To: stream.ToEarliest()})
		require.ErrorAs(t, err, &name)
		require.ErrorAs(t, c.DeleteGroup(ctx, spec, "*"), &name)
		var missing *stream.TopicNotFoundError
		_, err = c.ResetGroup(ctx, stream.GroupReset{Topic: stream.TopicSpec{Name: "missing"}, Group: "g", To: stream.ToEarliest()})
		require.ErrorAs(t, err, &missing)
		require.ErrorAs(t, c.DeleteGroup(ctx, stream.TopicSpec{Name: "missing"}, "g"), &missing)
		_, err = c.Groups(ctx, stream.TopicSpec{Name: "missing"})
		require.ErrorAs(t, err, &missing)
		_, err = c.OffsetsAt(ctx, stream.TopicSpec{Name: "missing"}, time.Now())
		require.ErrorAs(t, err, &missing)
	})
}

// storedAt gives the time of a record, which no record before it has.
func storedAt(t testing.TB, c *stream.Client, spec stream.TopicSpec, part int, offset uint64) time.Time {
	t.Helper()
	for _, m := range readAll(t, c, spec, part) {
		if m.Offset == offset {
			return m.Stored
		}
	}
	require.FailNow(t, "no such record")
	return time.Time{}
}

// OffsetsAt finds each record by the very time at which it was stored.
func TestOffsetsAt(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	spec := stream.TopicSpec{Name: "t"}
	createTopic(t, c, spec)
	at, err := c.OffsetsAt(ctx, spec, time.Now())
	require.NoError(t, err)
	require.Equal(t, []uint64{1}, at, "of an empty partition")
	fillTopic(t, c, stream.TopicSpec{Name: "t", Partitions: 1}, 50)
	require.NoError(t, c.Purge(ctx, spec, 0, 4))
	var before stream.Message
	for _, m := range readAll(t, c, spec, 0) {
		at, err := c.OffsetsAt(ctx, spec, m.Stored)
		require.NoError(t, err)
		if m.Stored.After(before.Stored) {
			require.Equal(t, []uint64{m.Offset}, at)
		} else {
			require.LessOrEqual(t, at[0], m.Offset)
		}
		at, err = c.OffsetsAt(ctx, spec, m.Stored.Add(time.Nanosecond))
		require.NoError(t, err)
		require.Greater(t, at[0], m.Offset)
		before = m
	}
}

func TestActiveGroupsAreLeftAlone(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	spec := counted.Spec()
	createTopic(t, c, spec)
	fillTopic(t, c, spec, 10)
	k, err := stream.NewConsumer(ctx, c, counted, stream.ConsumerConfig{Group: "g"})
	require.NoError(t, err)
	defer k.Close()
	require.Len(t, drain(t, k), 20)

	var active *stream.GroupActiveError
	_, err = c.ResetGroup(ctx, stream.GroupReset{Topic: spec, Group: "g", To: stream.ToEarliest()})
	require.ErrorAs(t, err, &active)
	require.ErrorContains(t, err, "stop its members first")
	require.ErrorAs(t, c.DeleteGroup(ctx, spec, "g"), &active)
	committed, err := c.Committed(ctx, spec, "g")
	require.NoError(t, err)
	require.Equal(t, []uint64{11, 11}, nexts(committed))
	groups, err := c.Groups(ctx, spec)
	require.NoError(t, err)
	require.Len(t, groups, 1)
	require.Contains(t, groups[0].Active, "holds partitions [0 1]")

	k.Close()
	require.Eventually(t, func() bool {
		_, err = c.ResetGroup(ctx, stream.GroupReset{Topic: spec, Group: "g", To: stream.ToEarliest()})
		return err == nil
	}, patience, 10*time.Millisecond)
	require.Len(t, consume(t, c, "g"), 20, "a replay")
	require.Eventually(t, func() bool { return c.DeleteGroup(ctx, spec, "g") == nil }, patience, 10*time.Millisecond)
	require.NoError(t, c.DeleteGroup(ctx, spec, "g"), "a second time")
	groups, err = c.Groups(ctx, spec)
	require.NoError(t, err)
	require.Empty(t, groups)
	require.Len(t, consume(t, c, "g"), 20, "a group of that name begins anew")
}

func TestListGroups(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	spec := counted.Spec()
	other := stream.TopicSpec{Name: "a", Partitions: 3}
	createTopic(t, c, spec)
	createTopic(t, c, other)
	fillTopic(t, c, spec, 10)
	fillTopic(t, c, other, 4)
	require.NoError(t, c.StoreOffset(ctx, spec, "zebra", 0, 3))
	require.NoError(t, c.StoreOffset(ctx, spec, "ant", 0, 11))
	require.NoError(t, c.StoreOffset(ctx, spec, "ant", 1, 1))
	require.NoError(t, c.StoreOffset(ctx, other, "ant", 2, 5))
	var got collector
	r, err := c.OpenReader(ctx, spec, 0, got.config(0)) // no group
	require.NoError(t, err)
	defer r.Close()

	groups, err := c.Groups(ctx)
	require.NoError(t, err)
	offsets := func(next ...uint64) []stream.GroupOffset {
		var out []stream.GroupOffset
		for p, n := range next {
			total := uint64(11)
			if len(next) == 3 {
				total = 5
			}
			out = append(out, stream.GroupOffset{Partition: p, Next: n, Lag: total - n})
		}
		return out
	}
	require.Equal(t, []stream.GroupInfo{
		{Topic: "a", Group: "ant", Offsets: offsets(1, 1, 5)},
		{Topic: "counted", Group: "ant", Offsets: offsets(11, 1)},
		{Topic: "counted", Group: "zebra", Offsets: offsets(3, 1)},
	}, groups)
	only, err := c.Groups(ctx, spec)
	require.NoError(t, err)
	require.Equal(t, groups[1:], only)
	var bad *stream.SpecError
	_, err = c.Groups(ctx, stream.TopicSpec{Name: ">"})
	require.ErrorAs(t, err, &bad)
}

// What `nats consumer report` prints of a stream, it takes from the answer to
// CONSUMER.LIST: ack floor, "Unprocessed" (num_pending) and "Ack Pending".
func TestLagIsWhatTheToolsShow(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	spec := counted.Spec()
	createTopic(t, c, spec)
	fillTopic(t, c, spec, 1000)
	k, err := stream.NewConsumer(ctx, c, counted, stream.ConsumerConfig{Group: "g", MaxPollRecords: 10})
	require.NoError(t, err)
	defer k.Close()
	polled := 0
	for range 7 {
		records, err := k.Poll(ctx)
		require.NoError(t, err)
		polled += len(records)
	}
	require.NoError(t, k.Commit(ctx))
	ours, err := c.Committed(ctx, spec, "g")
	require.NoError(t, err)
	var lag uint64
	for p := range spec.Partitions {
		floor, unread := report(ctx, t, nc, spec.BackingStream(p), "g")
		require.Equal(t, ours[p].Next, floor+1)
		require.Equal(t, ours[p].Lag, unread)
		lag += unread
	}
	require.Equal(t, uint64(2000-polled), lag)

	k.Close()
	for _, to := range []stream.ResetTo{stream.ToOffset(501), stream.ShiftBy(-1), stream.ToLatest(), stream.ToEarliest()} {
		ours, err = c.ResetGroup(ctx, stream.GroupReset{Topic: spec, Group: "g", To: to})
		require.NoError(t, err)
		for p := range spec.Partitions {
			floor, unread := report(ctx, t, nc, spec.BackingStream(p), "g")
			require.Equal(t, ours[p].Next, floor+1)
			require.Equal(t, ours[p].Lag, unread)
		}
	}
}

func report(ctx context.Context, t *testing.T, nc *nats.Conn, stream, group string) (floor, lag uint64) {
	t.Helper()
	m, err := nc.RequestWithContext(ctx, "$JS.API.CONSUMER.LIST."+stream, []byte(`{"offset":0}`))
	require.NoError(t, err)
	var list struct {
		Consumers []struct {
			Name     string `json:"name"`
			AckFloor struct {
				Stream uint64 `json:"stream_seq"`
			} `json:"ack_floor"`
			AckPending uint64 `json:"num_ack_pending"`
			Pending    uint64 `json:"num_pending"`
		} `json:"consumers"`
	}
	require.NoError(t, json.Unmarshal(m.Data, &list))
	for _, c := range list.Consumers {
		if c.Name == group {
			return c.AckFloor.Stream, c.AckPending + c.Pending
		}
	}
	require.FailNow(t, "the tools do not see the group")
	return 0, 0
}
