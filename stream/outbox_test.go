package stream_test

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/stream"
)

var outTopic = stream.TopicSpec{Name: "outTopic", Partitions: 1}

// committed gives the records of one commit, all for one partition.
func committed(spec stream.TopicSpec, commit, records int) []stream.Outgoing {
	batch := make([]stream.Outgoing, records)
	for i := range batch {
		id := fmt.Sprintf("app/task/%d/%d", commit, i)
		batch[i] = stream.Outgoing{Topic: spec, Key: "k" + strconv.Itoa(i%7), Data: []byte(id), ID: id}
	}
	return batch
}

// checkCommits says what is wrong if a partition does not hold the records of commits 1, 2, ... of these sizes, each once and in order,
// among others.
func checkCommits(t testing.TB, c *stream.Client, spec stream.TopicSpec, sizes ...int) error {
	t.Helper()
	commit, index := 1, 0
	for _, m := range readAll(t, c, spec, 0) {
		if m.Headers.Get(jetstream.ExpectedLastSeqHeader) != "" {
			return fmt.Errorf("offset %d: readers are shown headers that are none of theirs: %v", m.Offset, m.Headers)
		}
		if string(m.Data) == foreignData {
			continue
		}
		for commit <= len(sizes) && index == sizes[commit-1] {
			commit, index = commit+1, 0
		}
		if want := fmt.Sprintf("app/task/%d/%d", commit, index); string(m.Data) != want {
			return fmt.Errorf("offset %d: there is %s, not %s", m.Offset, m.Data, want)
		}
		index++
	}
	if n := len(sizes); n > 0 && (commit < n || index < sizes[n-1]) {
		return fmt.Errorf("there is nothing from app/task/%d/%d on", commit, index)
	}
	return nil
}

func requireCommits(t testing.TB, c *stream.Client, spec stream.TopicSpec, sizes ...int) {
	t.Helper()
	require.NoError(t, checkCommits(t, c, spec, sizes...))
}

const foreignData = "of somebody else"

// headersOf gives the headers as the server has them.
func headersOf(t testing.TB, nc *nats.Conn, spec stream.TopicSpec, seq uint64) nats.Header {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(t.Context(), spec.BackingStream(0))
	require.NoError(t, err)
	m, err := s.GetMsg(t.Context(), seq)
	require.NoError(t, err)
	return m.Header
}

// Where nobody else writes, the server keeps no ids, and each record names its place.
func TestOutboxChainsItsRecords(t *testing.T) {
	ctx, nc := testContext(t), restartable(t).connect(t)
	c := clientOf(t, nc)
	createTopic(t, c, outTopic)
	o := c.NewOutbox(owner)
	require.NoError(t, o.Publish(ctx, committed(outTopic, 1, 3)), "what is there before is not known yet")
	require.NoError(t, o.Publish(ctx, committed(outTopic, 2, 20)))
	require.NoError(t, o.Publish(ctx, committed(outTopic, 3, 20)))
	require.NoError(t, o.Publish(ctx, committed(outTopic, 4, 2)), "few go by their ids")
	for seq := uint64(1); seq <= 45; seq++ {
		h := headersOf(t, nc, outTopic, seq)
		chained := seq > 3 && seq <= 43
		require.NotEqual(t, chained, h.Get(jetstream.MsgIDHeader) != "", seq)
		require.Equal(t, seq == 4 || seq == 24, h.Get("Rossby-Chain") != "", seq)
		require.Equal(t, chained, h.Get(jetstream.ExpectedLastSeqHeader) == strconv.FormatUint(seq-1, 10), seq)
	}
	requireCommits(t, c, outTopic, 3, 20, 20, 2)
}

// Where readers want ids, all records have them.
func TestOutboxIdentifies(t *testing.T) {
	ctx, nc := testContext(t), restartable(t).connect(t)
	c := clientOf(t, nc)
	createTopic(t, c, outTopic)
	o := c.NewOutbox(owner, outTopic.Name)
	for n := range 3 {
		require.NoError(t, o.Publish(ctx, committed(outTopic, n+1, 20)))
	}
	for seq := uint64(1); seq <= 60; seq++ {
		require.NotEmpty(t, headersOf(t, nc, outTopic, seq).Get(jetstream.MsgIDHeader), seq)
	}
}

// Others write to the partition: between deliveries, and amid them.
func TestOutboxBesideOthers(t *testing.T) {
	ctx, nc := testContext(t), restartable(t).connect(t)
	c := clientOf(t, nc)
	createTopic(t, c, outTopic)
	foreign := func() { require.NoError(t, nc.Publish(outTopic.Subject(0, "k0"), []byte(foreignData))) }
	o := c.NewOutbox(owner)
	var sizes []int
	for n := range 200 {
		if n%3 == 0 {
			foreign()
		}
		sizes = append(sizes, 20+n%5)
		require.NoError(t, o.Publish(ctx, committed(outTopic, n+1, sizes[n])))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20_000 {
			if nc.Publish(outTopic.Subject(0, "k0"), []byte(foreignData)) != nil {
				return
			}
		}
	}()
	for n := range 50 {
		sizes = append(sizes, 1000)
		require.NoError(t, o.Publish(ctx, committed(outTopic, 200+n+1, 1000)))
	}
	<-done
	requireCommits(t, c, outTopic, sizes...)
}

// What was sent before the connection broke arrives when it is being sent again: after it was looked for, and before the first copy.
func TestOutboxMeetsItsOwnLateRecords(t *testing.T) {
	const records = 100
	ctx := testContext(t)
	px, _, through, direct := throughProxy(t)
	createTopic(t, direct, outTopic)
	var late func()
	o := through.NewOutbox(func(context.Context, bool) error {
		if late != nil {
			late()
		}
		return nil
	})
	require.NoError(t, o.Publish(ctx, committed(outTopic, 1, 1)))
	passing, arrive := px.delay()
	published := make(chan error, 1)
	batch := committed(outTopic, 2, records)
	go func() { published <- o.Publish(ctx, batch) }()
	require.Eventually(t, func() bool { return px.holds(batch[records-1].ID + "\r\n") }, patience, time.Millisecond)
	late = func() {
		arrive()
		if assert.Eventually(t, hasRecords(ctx, direct, outTopic, 1+records), patience, time.Millisecond) {
			late = nil
		}
	}
	passing()
	px.leave()
	require.NoError(t, <-published)
	require.Nil(t, late, "they have arrived")
	requireCommits(t, direct, outTopic, 1, records)
}

// The former owner goes on, record by record, whenever its successor has just looked how far it is.
func TestRepublishBesideTheFormerOwner(t *testing.T) {
	const records = 20
	for name, foreign := range map[string]bool{"alone": false, "and others": true} {
		t.Run(name, func(t *testing.T) {
			ctx, nc := testContext(t), restartable(t).connect(t)
			c := clientOf(t, nc)
			js, err := jetstream.New(nc)
			require.NoError(t, err)
			createTopic(t, c, outTopic)
			batch, since := committed(outTopic, 1, records), time.Now()
			next := 0 // what the former owner has in hand
			formerly := func() {
				m := jsMsg(outTopic.Subject(0, batch[next].Key), map[string]string{"Nats-Expected-Last-Sequence": strconv.Itoa(next)})
				if next == 0 {
					m.Header.Set("Rossby-Chain", batch[0].ID)
				}
				m.Data = batch[next].Data
				_, err := js.PublishMsg(ctx, m)
				require.NoError(t, err)
				next++
			}
			o := c.NewOutbox(func(_ context.Context, sure bool) error {
				switch {
				case sure:
				case next < records/2:
					formerly()
				case foreign:
					require.NoError(t, nc.Publish(outTopic.Subject(0, "k0"), []byte(foreignData)))
					require.NoError(t, nc.Flush())
				}
				return nil
			})
			missing, err := o.Republish(ctx, batch, since)
			require.NoError(t, err)
			require.Equal(t, records-records/2, missing)
			requireCommits(t, c, outTopic, records)
		})
	}
}

// A compacted topic keeps the last record of each key: an outbox that was delivered in part goes on behind the last one that is there.
func TestRepublishOfReplacedRecords(t *testing.T) {
	ctx, c := testContext(t), newClient(t)
	spec := stream.TopicSpec{Name: "table", Partitions: 1, Compact: true}
	createTopic(t, c, spec)
	since := time.Now()
	batch := committed(spec, 1, 40) // of seven keys
	for delivered := 0; delivered <= len(batch); delivered += 8 {
		missing, err := c.NewOutbox(owner).Republish(ctx, batch[:delivered], since)
		require.NoError(t, err)
		require.Equal(t, min(delivered, 8), missing)
		missing, err = c.NewOutbox(owner).Republish(ctx, batch[:delivered], since)
		require.NoError(t, err)
		require.Zero(t, missing)
	}
	offsets, err := c.Offsets(ctx, spec)
	require.NoError(t, err)
	require.EqualValues(t, 41, offsets[0].Next)
}

// What was stored last is gone, and older messages are there: there is nothing to wait for.
func TestRepublishBehindDeletedMessages(t *testing.T) {
	ctx, nc := testContext(t), restartable(t).connect(t)
	c := clientOf(t, nc)
	createTopic(t, c, outTopic)
	since := time.Now()
	require.NoError(t, c.NewOutbox(owner).Publish(ctx, committed(outTopic, 1, 3)))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(ctx, outTopic.BackingStream(0))
	require.NoError(t, err)
	require.NoError(t, s.DeleteMsg(ctx, 3))
	missing, err := c.NewOutbox(owner).Republish(ctx, committed(outTopic, 2, 20), since)
	require.NoError(t, err)
	require.Equal(t, 20, missing)
	for seq := range uint64(20) {
		require.NoError(t, s.DeleteMsg(ctx, 4+seq))
	}
	missing, err = c.NewOutbox(owner).Republish(ctx, committed(outTopic, 3, 20), since)
	require.NoError(t, err)
	require.Equal(t, 20, missing)
}

// The leader of the partition may have a clock that is a little behind that of the journal's leader.
func TestRepublishDespiteClocks(t *testing.T) {
	ctx, c := testContext(t), newClient(t)
	createTopic(t, c, shortMemory)
	batch := identified(100)
	require.NoError(t, c.NewOutbox(owner).Publish(ctx, batch))
	forgotten()
	missing, err := c.NewOutbox(owner).Republish(ctx, batch, time.Now().Add(30*time.Second))
	require.NoError(t, err)
	require.Zero(t, missing)
	requireIDsOnce(t, c, len(batch))
}

// What the writer has stored later shows that these are stored, although they are gone.
func TestRepublishOfWhatRetentionHasTaken(t *testing.T) {
	ctx, c := testContext(t), newClient(t)
	spec := stream.TopicSpec{Name: "short", Partitions: 1, MaxRecords: 5}
	createTopic(t, c, spec)
	o, since := c.NewOutbox(owner), time.Now()
	require.NoError(t, o.Publish(ctx, committed(spec, 1, 10)))
	require.NoError(t, o.Publish(ctx, committed(spec, 2, 10)))
	for commit := 1; commit <= 2; commit++ {
		missing, err := c.NewOutbox(owner).Republish(ctx, committed(spec, commit, 10), since)
		require.NoError(t, err)
		require.Zero(t, missing)
	}
	_, err := c.NewOutbox(owner).Republish(ctx, []stream.Outgoing{{Topic: spec, Key: "k", ID: "no such id"}}, since)
	require.ErrorContains(t, err, "writer/commit/index")
}

// behindConn is a connection to a server that lags behind the leader of a stream: it says of each message that it has none after that.
type behindConn struct{ net.Conn }

var pendingInAck = regexp.MustCompile(`(\$JS\.ACK\.[^ ]*\.)([0-9]+) `)

func (c behindConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for _, at := range pendingInAck.FindAllSubmatchIndex(p[:n], -1) {
		for i := at[4]; i < at[5]; i++ {
			p[i] = '0'
		}
	}
	return n, err
}

// Dial makes it a nats.CustomDialer.
func (behindConn) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	return behindConn{c}, err
}

// What was delivered may be looked for on a server that does not have all of it yet. That it has no more does not mean that there is no more.
func TestRepublishOnAServerThatLags(t *testing.T) {
	const records = 300
	server := restartable(t)
	c := clientOf(t, server.connect(t))
	ctx, behind := testContext(t), clientOf(t, server.connect(t, nats.SetCustomDialer(behindConn{})))
	createTopic(t, c, outTopic)
	o, since := c.NewOutbox(owner), time.Now()
	for commit := 1; commit <= 2; commit++ { // the second one is bound to its place
		require.NoError(t, o.Publish(ctx, committed(outTopic, commit, records)))
		missing, err := behind.NewOutbox(owner).Republish(ctx, committed(outTopic, commit, records), since)
		require.NoError(t, err)
		require.Zero(t, missing)
	}
	requireCommits(t, c, outTopic, records, records)
}
