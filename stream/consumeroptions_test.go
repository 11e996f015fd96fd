package stream_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/stream"
)

func TestConsumerStartsAtATimeOrAnOffset(t *testing.T) {
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	fill(t, c, 0, 400)
	at := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "offset", Start: stream.AtOffset, StartOffset: 91})
	requireAll(t, 360, 40, pollN(t, at, 40))
	at.Close()
	committed, err := c.Committed(testContext(t), numbers.Spec(), "offset")
	require.NoError(t, err)
	require.EqualValues(t, 91, committed[2].Next, "where a group begins is its position")

	var middle time.Time
	for p := range numbers.Partitions {
		if at := storedAt(t, c, numbers.Spec(), p, 100); at.After(middle) {
			middle = at.Add(time.Nanosecond)
		}
	}
	fill(t, c, 400, 400)
	late := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "time", Start: stream.AtTime, StartTime: middle})
	requireAll(t, 400, 400, pollN(t, late, 400))
	for _, cfg := range []stream.ConsumerConfig{
		{Group: "g", Start: stream.AtOffset}, {Group: "g", Start: stream.AtTime}, {Group: "g", SessionTimeout: time.Millisecond},
		{Group: "g", MaxInFlight: -1}, {Group: "g", AutoCommit: -1}, {Group: "g", Member: "a.b"},
	} {
		_, err := stream.NewConsumer(testContext(t), c, numbers, cfg)
		require.Error(t, err, "%+v", cfg)
	}
}

func TestPauseResumeAndSeek(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	k := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "g"})
	k.Pause(1, 2)
	fill(t, c, 0, 400)
	for _, r := range pollN(t, k, 200) {
		require.NotContains(t, []int{1, 2}, r.Partition)
	}
	k.Resume(2)
	for _, r := range pollN(t, k, 100) {
		require.Equal(t, 2, r.Partition)
	}
	k.Resume(1)
	pollN(t, k, 100)
	require.NoError(t, k.Commit(ctx))

	// Back, and what is committed stays until something is polled.
	require.NoError(t, k.Seek(ctx, 3, 51))
	require.NoError(t, k.Commit(ctx))
	committed, err := c.Committed(ctx, numbers.Spec(), "g")
	require.NoError(t, err)
	require.EqualValues(t, 101, committed[3].Next)
	again := pollN(t, k, 50)
	require.EqualValues(t, 51, again[0].Offset)
	require.Equal(t, 3, again[0].Partition)
	require.NoError(t, k.CommitOffset(ctx, 3, 61))
	committed, err = c.Committed(ctx, numbers.Spec(), "g")
	require.NoError(t, err)
	require.EqualValues(t, 61, committed[3].Next)
	k.Close()
	k = newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "g"})
	rest := pollN(t, k, 40)
	require.EqualValues(t, 61, rest[0].Offset)
	var gone *stream.ClaimLostError
	require.ErrorAs(t, k.Seek(ctx, 77, 1), &gone)
	require.ErrorAs(t, k.CommitOffset(ctx, 77, 1), &gone)
}

func TestAutoCommit(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	fill(t, c, 0, 400)
	k := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "often", AutoCommit: time.Millisecond})
	pollN(t, k, 400)
	one, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	_, err := k.Poll(one) // it says that what the last Poll returned is done
	require.ErrorIs(t, err, context.DeadlineExceeded)
	committed, err := c.Committed(ctx, numbers.Spec(), "often")
	require.NoError(t, err)
	for p, o := range committed {
		require.Equal(t, stream.GroupOffset{Partition: p, Next: 101}, o)
	}
	k = newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "seldom", AutoCommit: time.Hour})
	pollN(t, k, 400)
	k.Close()
	committed, err = c.Committed(ctx, numbers.Spec(), "seldom")
	require.NoError(t, err)
	for p, o := range committed {
		require.Equal(t, stream.GroupOffset{Partition: p, Next: 101}, o)
	}
}

// Positions that are stored with results: OnAssigned says where to begin.
func TestPositionsOfTheUser(t *testing.T) {
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	fill(t, c, 0, 400)
	var told []int
	k := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "g", OnAssigned: func(_ context.Context, parts []stream.Assignment) error {
		for i := range parts {
			require.EqualValues(t, 1, parts[i].Next)
			told = append(told, parts[i].Partition)
			parts[i].Next = uint64(91 + parts[i].Partition)
		}
		return nil
	}})
	require.Empty(t, k.Assigned(), "nothing is read before OnAssigned")
	first := map[int]uint64{}
	for _, r := range pollN(t, k, 10+9+8+7) {
		if first[r.Partition] == 0 {
			first[r.Partition] = r.Offset
		}
	}
	require.Equal(t, map[int]uint64{0: 91, 1: 92, 2: 93, 3: 94}, first)
	slices.Sort(told)
	require.Equal(t, []int{0, 1, 2, 3}, told)
}

// What waits for a Poll that does not come is bounded.
func TestMaxInFlight(t *testing.T) {
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	fill(t, c, 0, 4000)
	for _, limit := range []int{1, 7, 100} {
		k := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "g", Member: "m", MaxInFlight: limit})
		k.Pause(0)
		got := 0
		for got < 3000 {
			records, err := k.Poll(testContext(t))
			require.NoError(t, err)
			require.LessOrEqual(t, len(records), limit)
			require.NotZero(t, records[0].Partition)
			got += len(records)
		}
		k.Close()
	}
}

// Nothing is read of partitions whose OnAssigned has failed, until it succeeds.
func TestOnAssignedFails(t *testing.T) {
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	fill(t, c, 0, 400)
	broken := errors.New("the results cannot be read")
	fails := 3
	k := newConsumer(t, c, numbers, stream.ConsumerConfig{Group: "g", OnAssigned: func(_ context.Context, parts []stream.Assignment) error {
		if fails--; fails >= 0 {
			return broken
		}
		for i := range parts {
			parts[i].Next = 51
		}
		return nil
	}})
	for range 3 {
		_, err := k.Poll(testContext(t))
		require.ErrorIs(t, err, broken)
		require.Empty(t, k.Assigned())
	}
	requireAll(t, 200, 200, pollN(t, k, 200))
}
