package stream_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// outgoing makes n records with consecutive numbers as data.
func outgoing(spec stream.TopicSpec, from, n int) []stream.Outgoing {
	out := make([]stream.Outgoing, n)
	for i := range out {
		v := strconv.Itoa(from + i)
		out[i] = stream.Outgoing{Topic: spec, Key: "k" + strconv.Itoa((from+i)%10), Data: []byte(v), ID: "id-" + v}
	}
	return out
}

// requireConsecutive checks that the messages are numbered from, from+1, ...
func requireConsecutive(t testing.TB, from int, msgs []stream.Message) {
	t.Helper()
	for i, m := range msgs {
		require.Equal(t, strconv.Itoa(from+i), string(m.Data), "message %d at offset %d", i, m.Offset)
	}
}

func TestReaderGivesEverythingAboutAMessage(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	spec := stream.TopicSpec{Name: "t", Partitions: 2}
	createTopic(t, c, spec)
	before := time.Now().Add(-time.Minute)
	require.NoError(t, c.Publish(ctx, []stream.Outgoing{
		{Topic: spec, Partition: 1, Key: "eu.a b", Data: []byte("x"), Headers: stream.Headers{"H": {"1", "2"}}, ID: "i"},
		{Topic: spec, Partition: 1, Key: "b"},
	}))
	got := readAll(t, c, spec, 1)
	require.Len(t, got, 2)
	m := got[0]
	require.Equal(t, 1, m.Partition)
	require.EqualValues(t, 1, m.Offset)
	require.Equal(t, "eu.a b", m.Key)
	require.Equal(t, "x", string(m.Data))
	require.Equal(t, []string{"1", "2"}, m.Headers["H"])
	require.Equal(t, "i", m.Headers.Get("Nats-Msg-Id"))
	require.True(t, m.Stored.After(before) && m.Stored.Before(time.Now().Add(time.Minute)))
	require.EqualValues(t, 1, m.Pending)
	require.Zero(t, got[1].Pending)
	require.Empty(t, got[1].Data)
	require.Empty(t, readAll(t, c, spec, 0))
}

func TestReaderBeginsWhereItIsTold(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	spec := stream.TopicSpec{Name: "t"}
	createTopic(t, c, spec)
	require.NoError(t, c.Publish(ctx, outgoing(spec, 1, 100)))
	for _, from := range []uint64{0, 1, 2, 50, 100} {
		var got collector
		r, err := c.OpenReader(ctx, spec, 0, got.config(from))
		require.NoError(t, err)
		first := int(max(from, 1))
		requireConsecutive(t, first, got.waitFor(t, 101-first))
		r.Close()
	}
	// At the end there is nothing yet, and what comes later is delivered.
	var got collector
	r, err := c.OpenReader(ctx, spec, 0, got.config(101))
	require.NoError(t, err)
	defer r.Close()
	done, err := r.CaughtUp(ctx)
	require.NoError(t, err)
	require.True(t, done)
	require.NoError(t, c.Publish(ctx, outgoing(spec, 101, 1)))
	requireConsecutive(t, 101, got.waitFor(t, 1))
}

func TestCaughtUpIsExact(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	spec := stream.TopicSpec{Name: "t"}
	createTopic(t, c, spec)
	gate := make(chan struct{})
	r, err := c.OpenReader(ctx, spec, 0, stream.ReaderConfig{Deliver: func(stream.Message) { <-gate }})
	require.NoError(t, err)
	for i := range 200 {
		require.NoError(t, c.Publish(ctx, outgoing(spec, i, 1)))
		done, err := r.CaughtUp(ctx)
		require.NoError(t, err)
		require.False(t, done, "Deliver has not returned")
		gate <- struct{}{}
		require.Eventually(t, func() bool { done, err := r.CaughtUp(ctx); return err == nil && done }, patience, time.Millisecond)
	}
	// A message that was deleted at the end is nothing to wait for.
	require.NoError(t, c.Publish(ctx, outgoing(spec, 200, 2)))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(ctx, "t-0")
	require.NoError(t, err)
	require.NoError(t, s.DeleteMsg(ctx, 202))
	close(gate)
	require.Eventually(t, func() bool { done, err := r.CaughtUp(ctx); return err == nil && done }, patience, time.Millisecond)
	r.Close()
	r.Close()
}

func TestNoDeliveryAfterClose(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	spec := stream.TopicSpec{Name: "t"}
	createTopic(t, c, spec)
	require.NoError(t, c.Publish(ctx, outgoing(spec, 0, 2000)))
	for range 20 {
		closed := false // the race detector watches it: Close must wait
		n := 0
		r, err := c.OpenReader(ctx, spec, 0, stream.ReaderConfig{
			Deliver: func(stream.Message) {
				n++
				if closed {
					t.Error("delivered after Close")
				}
			},
			Failed: func(err error) { t.Error(err) },
		})
		require.NoError(t, err)
		r.Close()
		closed = true
		require.LessOrEqual(t, n, 2000)
	}
}

func TestOffsetsThatDoNotExist(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	spec := stream.TopicSpec{Name: "t"}
	createTopic(t, c, spec)
	require.NoError(t, c.Publish(ctx, outgoing(spec, 1, 100)))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(ctx, "t-0")
	require.NoError(t, err)
	require.NoError(t, s.Purge(ctx, jetstream.WithPurgeSequence(51)))

	var gone *stream.OffsetGoneError
	_, err = c.OpenReader(ctx, spec, 0, stream.ReaderConfig{From: 50, Deliver: func(stream.Message) {}})
	require.ErrorAs(t, err, &gone)
	require.Equal(t, stream.OffsetGoneError{Topic: "t", Wanted: 50, First: 51}, *gone)

	var ahead *stream.OffsetAheadError
	_, err = c.OpenReader(ctx, spec, 0, stream.ReaderConfig{From: 102, Deliver: func(stream.Message) {}})
	require.ErrorAs(t, err, &ahead)
	require.Equal(t, stream.OffsetAheadError{Topic: "t", Wanted: 102, Next: 101}, *ahead)

	var got collector
	r, err := c.OpenReader(ctx, spec, 0, got.config(0))
	require.NoError(t, err)
	defer r.Close()
	requireConsecutive(t, 51, got.waitFor(t, 50))
	// A single message that somebody deletes is a legal hole.
	require.NoError(t, s.DeleteMsg(ctx, 60))
	require.Len(t, readAll(t, c, spec, 0), 49)
}

// Retention that overtakes a slow reader is an error, not a silent skip.
func TestRetentionOvertakesARunningReader(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	spec := stream.TopicSpec{Name: "t"}
	createTopic(t, c, spec)
	big := make([]byte, 256<<10)
	var out []stream.Outgoing
	for range 200 {
		out = append(out, stream.Outgoing{Topic: spec, Key: "k", Data: big})
	}
	require.NoError(t, c.Publish(ctx, out))
	first, gate, failed := make(chan struct{}, 200), make(chan struct{}), make(chan error, 1)
	r, err := c.OpenReader(ctx, spec, 0, stream.ReaderConfig{
		Deliver: func(stream.Message) { first <- struct{}{}; <-gate },
		Failed:  func(err error) { failed <- err },
	})
	require.NoError(t, err)
	defer r.Close()
	<-first
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(ctx, "t-0")
	require.NoError(t, err)
	require.NoError(t, s.Purge(ctx, jetstream.WithPurgeSequence(199)))
	close(gate)
	var gone *stream.OffsetGoneError
	require.ErrorAs(t, <-failed, &gone)
	require.EqualValues(t, 199, gone.First)
}

func TestTopicVanishesUnderAReader(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	spec := stream.TopicSpec{Name: "t"}
	createTopic(t, c, spec)
	require.NoError(t, c.Publish(ctx, outgoing(spec, 0, 1)))
	var got collector
	r, err := c.OpenReader(ctx, spec, 0, got.config(0))
	require.NoError(t, err)
	defer r.Close()
	got.waitFor(t, 1)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.NoError(t, js.DeleteStream(ctx, "t-0"))
	require.Eventually(t, func() bool { return got.failure() != nil }, patience, time.Millisecond)
	var missing *stream.TopicNotFoundError
	require.ErrorAs(t, got.failure(), &missing)
	_, err = r.CaughtUp(ctx)
	require.ErrorAs(t, err, &missing)
}

// A reader loses and repeats nothing while the server is restarted under it and
// under the writer.
func TestReaderAcrossServerRestarts(t *testing.T) {
	ctx := testContext(t)
	s := restartable(t)
	c := clientOf(t, s.connect(t))
	writer := clientOf(t, s.connect(t))
	spec := stream.TopicSpec{Name: "t"}
	createTopic(t, c, spec)
	const rounds, each = 5, 2000
	require.NoError(t, writer.Publish(ctx, outgoing(spec, 0, each)))
	var got collector
	r, err := c.OpenReader(ctx, spec, 0, got.config(0))
	require.NoError(t, err)
	defer r.Close()
	for round := 1; round < rounds; round++ {
		published := make(chan error, 1)
		go func() { published <- writer.Publish(ctx, outgoing(spec, round*each, each)) }()
		s.restart(t)
		require.NoError(t, <-published, "round %d", round)
	}
	msgs := got.waitFor(t, rounds*each)
	require.NoError(t, got.failure())
	require.Len(t, msgs, rounds*each)
	requireConsecutive(t, 0, msgs)
	for i, m := range msgs {
		require.EqualValues(t, i+1, m.Offset)
	}
	require.Eventually(t, func() bool { done, err := r.CaughtUp(ctx); return err == nil && done }, patience, time.Millisecond)
}

func TestPublishTwiceStoresOnce(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	spec := stream.TopicSpec{Name: "t", Partitions: 3}
	createTopic(t, c, spec)
	var out []stream.Outgoing
	for i := range 3000 {
		out = append(out, stream.Outgoing{Topic: spec, Partition: i % 3, Key: "k", Data: fmt.Append(nil, i), ID: fmt.Sprint("id-", i)})
	}
	require.NoError(t, c.Publish(ctx, out[:1000]))
	require.NoError(t, c.Publish(ctx, out))      // the first third again
	require.NoError(t, c.Publish(ctx, out))      // all again
	require.NoError(t, c.Publish(ctx, out[7:8])) // a single one
	for p := range 3 {
		msgs := readAll(t, c, spec, p)
		require.Len(t, msgs, 1000)
		for i, m := range msgs {
			require.Equal(t, fmt.Sprint(3*i+p), string(m.Data))
		}
	}
	require.NoError(t, c.Publish(ctx, nil))
}

func TestTooLargeIsRefusedBeforeAnythingIsSent(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	spec := stream.TopicSpec{Name: "t"}
	createTopic(t, c, spec)
	fits := make([]byte, c.MaxPayload())
	require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Key: "k", Data: fits}}))

	var large *stream.TooLargeError
	err := c.Publish(ctx, []stream.Outgoing{
		{Topic: spec, Key: "a", Data: []byte("small")},
		{Topic: spec, Key: "b", Data: fits, ID: "one header too many"},
	})
	require.ErrorAs(t, err, &large)
	require.Equal(t, "b", large.Key)
	require.Equal(t, c.MaxPayload(), large.Max)
	require.Greater(t, large.Size, large.Max)
	require.Len(t, readAll(t, c, spec, 0), 1)
}

// A server takes larger messages than it does after a change of its configuration: they are read all the same.
func TestReaderOfMessagesLargerThanMaxPayload(t *testing.T) {
	const records, size = 6, 20_000_000
	ctx, dir := testContext(t), t.TempDir()
	spec := stream.TopicSpec{Name: "large", Partitions: 1}
	s, err := embedded.Start(ctx, embedded.Config{Dir: dir, ConfigFile: file(t, "large.conf", []byte("max_payload: 24MB"))})
	require.NoError(t, err)
	c := clientOf(t, embeddedtest.ConnectTo(t, s))
	createTopic(t, c, spec)
	for i := range records {
		data := make([]byte, 1+i%3*size/2)
		require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Key: "k", Data: data}}))
	}
	require.NoError(t, s.Stop())
	s = embeddedtest.StartWith(t, embedded.Config{Dir: dir})
	c = clientOf(t, embeddedtest.ConnectTo(t, s))
	require.Less(t, c.MaxPayload(), int64(size))
	got := readAll(t, c, spec, 0)
	require.Len(t, got, records)
	for i, m := range got {
		require.EqualValues(t, i+1, m.Offset)
		require.Len(t, m.Data, 1+i%3*size/2)
	}
}

// TestReaderKnowsItsPartition opens readers with what another one has kept: the partition may be the same, made anew, or restored from a
// backup, which is the same records in a stream that was made at another time.
func TestReaderKnowsItsPartition(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	spec := stream.TopicSpec{Name: "t"}
	createTopic(t, c, spec)
	for range 5 {
		require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Key: "k", Data: []byte("x")}}))
	}
	delivered := make(chan stream.Message, 100)
	open := func(cfg stream.ReaderConfig) (*stream.Reader, error) {
		cfg.Deliver = func(m stream.Message) { delivered <- m }
		r, err := c.OpenReader(ctx, spec, 0, cfg)
		if err == nil {
			t.Cleanup(r.Close)
		}
		return r, err
	}
	r, err := open(stream.ReaderConfig{})
	require.NoError(t, err)
	var third time.Time
	for range 5 {
		if m := <-delivered; m.Offset == 3 {
			third = m.Stored
		}
	}
	before := r.Made().Add(-time.Hour)
	for name, cfg := range map[string]stream.ReaderConfig{
		"the same":                       {From: 4, Made: r.Made(), Stored: third},
		"restored":                       {From: 4, Made: before, Stored: third},
		"not known":                      {From: 4},
		"at the beginning, nothing read": {From: 1, Made: before},
	} {
		back, err := open(cfg)
		require.NoError(t, err, name)
		require.Equal(t, r.Made(), back.Made())
		require.Equal(t, max(cfg.From, 1), (<-delivered).Offset)
		back.Close()
		for len(delivered) > 0 {
			<-delivered
		}
	}
	var remade *stream.RemadeError
	for _, stored := range []time.Time{{}, third.Add(1)} {
		_, err = open(stream.ReaderConfig{From: 4, Made: before, Stored: stored})
		require.ErrorAs(t, err, &remade)
		require.Equal(t, stream.RemadeError{Topic: "t", Was: before, Is: r.Made()}, *remade)
	}
	require.NoError(t, c.Purge(ctx, spec, 0, 4))
	_, err = open(stream.ReaderConfig{From: 4, Made: before, Stored: third})
	require.ErrorAs(t, err, &remade, "the record before is gone: nothing shows that it is the same")
}
