package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// deliveries collects what Done is told.
type deliveries struct {
	mu    sync.Mutex
	order []int // numbers of the records
	errs  map[int]error
}

func (d *deliveries) done(n int) func(stream.Delivery) {
	return func(got stream.Delivery) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.errs == nil {
			d.errs = map[int]error{}
		}
		d.order = append(d.order, n)
		d.errs[n] = got.Err
	}
}

func (d *deliveries) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.order)
}

// requireOnce checks that the records 0 to n-1 were each reported once, in order.
func (d *deliveries) requireOnce(t testing.TB, n int) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	require.Len(t, d.order, n)
	for i, got := range d.order {
		require.Equal(t, i, got)
	}
}

var plain = stream.Topic[string]{Name: "plain", Codec: stream.String()}

func TestDeliveryIsReportedOncePerRecordInOrder(t *testing.T) {
	for _, acks := range []stream.Acks{stream.AcksAll, stream.AcksNone} {
		ctx := testContext(t)
		c := newClient(t)
		createTopic(t, c, plain.Spec())
		p := newProducer(t, c, plain, stream.ProducerConfig{Acks: acks, MaxInFlight: 50})
		var d deliveries
		for i := range 3000 {
			require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Key: "k", Value: "v", Done: d.done(i)}))
		}
		require.NoError(t, p.Flush(ctx))
		d.requireOnce(t, 3000)
		for _, err := range d.errs {
			require.NoError(t, err)
		}
	}
}

// Nobody flushes: the report comes all the same.
func TestDeliveryIsReportedWithoutFlush(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	createTopic(t, c, plain.Spec())
	p := newProducer(t, c, plain, stream.ProducerConfig{Linger: time.Millisecond})
	told := make(chan stream.Delivery, 1)
	require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Key: "k", Done: func(d stream.Delivery) { told <- d }}))
	select {
	case d := <-told:
		require.NoError(t, d.Err)
	case <-ctx.Done():
		t.Fatal("never told")
	}
}

// A batch lingers for more: its records are stored at once, and reported when it ends, by
// Flush, or when the server acknowledges on its own.
func TestLinger(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	createTopic(t, c, plain.Spec())
	var d deliveries
	p := newProducer(t, c, plain, stream.ProducerConfig{Linger: time.Hour})
	for i := range 3 {
		require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Key: "k", Done: d.done(i)}))
	}
	eventually(t, "they do not wait", func() bool { return total(t, c, plain.Spec()) == 3 })
	require.Less(t, d.count(), 3)
	require.NoError(t, p.Flush(ctx))
	d.requireOnce(t, 3)
	_, err := stream.NewProducer(c, plain, stream.ProducerConfig{Linger: time.Microsecond})
	require.ErrorContains(t, err, "Linger")
	_, err = stream.NewProducer(c, plain, stream.ProducerConfig{MaxInFlightBytes: -1})
	require.ErrorContains(t, err, "MaxInFlightBytes")
}

// stalled gives a producer whose server says nothing any more.
func stalled(t testing.TB, cfg stream.ProducerConfig) *stream.Producer[string] {
	t.Helper()
	s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	at, err := url.Parse(s.URL())
	require.NoError(t, err)
	px := startProxy(t, at.Host)
	createTopic(t, clientOf(t, embeddedtest.ConnectTo(t, s)), plain.Spec())
	p, err := stream.NewProducer(clientOf(t, px.connect(t)), plain, cfg)
	require.NoError(t, err)
	px.loseAnswers()
	return p
}

func TestSendBlocksWhereTheWindowIsFull(t *testing.T) {
	for name, cfg := range map[string]stream.ProducerConfig{
		"records": {MaxInFlight: 10},
		"bytes":   {MaxInFlightBytes: 10 * (len("plain.0.k") + 100)},
	} {
		t.Run(name, func(t *testing.T) {
			p := stalled(t, cfg)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var d deliveries
			r := stream.ProducerRecord[string]{Key: "k", Value: strings.Repeat("x", 100)}
			for i := range 10 {
				r.Done = d.done(i)
				require.NoError(t, p.Send(ctx, r))
			}
			brief, stop := context.WithTimeout(ctx, 50*time.Millisecond)
			defer stop()
			r.Done = d.done(10)
			require.ErrorIs(t, p.Send(brief, r), context.DeadlineExceeded)

			ended, end := context.WithCancel(ctx)
			end()
			require.ErrorIs(t, p.Send(ended, r), context.Canceled)

			// One waits for room when the producer is closed.
			waiting := make(chan error, 1)
			go func() { waiting <- p.Send(ctx, r) }()
			brief, stop = context.WithTimeout(ctx, 50*time.Millisecond)
			defer stop()
			err := p.Close(brief)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			var left *stream.UndeliveredError
			require.ErrorAs(t, err, &left)
			require.Equal(t, 10, left.Records)
			require.ErrorIs(t, <-waiting, stream.ErrClosed)
			d.requireOnce(t, 10)
			for _, err := range d.errs {
				require.ErrorAs(t, err, &left)
			}
		})
	}
}

// A server that stops for good does not hold up Close, and every record is
// reported: stored, or unknown.
func TestCloseAfterTheServerHasStopped(t *testing.T) {
	s := restartable(t)
	c := clientOf(t, s.connect(t))
	createTopic(t, c, plain.Spec())
	p, err := stream.NewProducer(c, plain, stream.ProducerConfig{})
	require.NoError(t, err)
	var d deliveries
	for i := range 1000 {
		require.NoError(t, p.Send(t.Context(), stream.ProducerRecord[string]{Key: "k", Done: d.done(i)}))
		if i == 500 {
			require.NoError(t, p.Flush(testContext(t)))
			require.NoError(t, s.s.Stop())
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var left *stream.UndeliveredError
	require.ErrorAs(t, p.Close(ctx), &left)
	require.Equal(t, 499, left.Records)
	d.requireOnce(t, 1000)
	for i, err := range d.errs {
		if i <= 500 {
			require.NoError(t, err)
		} else {
			require.ErrorAs(t, err, &left)
		}
	}
}

// What Send accepted while Close ran is stored: none falls between the two.
func TestSendAndCloseAtTheSameTime(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	for range 20 {
		p, err := stream.NewProducer(c, numbers, stream.ProducerConfig{MaxInFlight: 64})
		require.NoError(t, err)
		before := total(t, c, numbers.Spec())
		var wg sync.WaitGroup
		var mu sync.Mutex
		accepted, told := uint64(0), uint64(0)
		started := make(chan struct{}, 4)
		for w := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					err := p.Send(ctx, stream.ProducerRecord[string]{Key: fmt.Sprint(w, i), Done: func(d stream.Delivery) {
						mu.Lock()
						defer mu.Unlock()
						if told++; d.Err != nil {
							t.Error(d.Err)
						}
					}})
					if errors.Is(err, stream.ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					accepted++
					mu.Unlock()
					if i == 20 {
						started <- struct{}{}
					}
				}
			})
		}
		<-started
		var closers sync.WaitGroup
		for range 2 {
			closers.Go(func() {
				if err := p.Close(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		closers.Wait()
		wg.Wait()
		require.Equal(t, accepted, told)
		require.Equal(t, accepted, total(t, c, numbers.Spec())-before)
	}
}

func total(t testing.TB, c *stream.Client, spec stream.TopicSpec) (n uint64) {
	t.Helper()
	offsets, err := c.Offsets(testContext(t), spec)
	require.NoError(t, err)
	for _, o := range offsets {
		n += o.Records
	}
	return n
}

// A topic that vanishes while it is produced to is a typed error for every record
// that is not stored.
func TestVanishedTopicIsReportedToEveryRecord(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	createTopic(t, c, plain.Spec())
	p := newProducer(t, c, plain, stream.ProducerConfig{})
	var d deliveries
	for i := range 1000 {
		require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Key: "k", Done: d.done(i)}))
		if i == 500 {
			require.NoError(t, p.Flush(ctx))
			require.NoError(t, c.DeleteTopic(ctx, plain.Name))
		}
	}
	var missing *stream.TopicNotFoundError
	require.ErrorAs(t, p.Flush(ctx), &missing)
	d.requireOnce(t, 1000)
	for i, err := range d.errs {
		if i <= 500 {
			require.NoError(t, err)
		} else {
			require.ErrorAs(t, err, &missing)
		}
	}
}

// A producer that is never flushed does not collect errors without end.
func TestErrorsOfRefusedRecordsAreBounded(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	createTopic(t, c, plain.Spec())
	limitMessages(t, nc, "plain-0", 50)
	p := newProducer(t, c, plain, stream.ProducerConfig{})
	var d deliveries
	for i := range 300 {
		require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Key: "k", Value: strings.Repeat("x", 100), Done: d.done(i)}))
	}
	require.Eventually(t, func() bool { return d.count() == 300 }, patience, time.Millisecond)
	var refused *stream.PublishError
	for _, err := range d.errs {
		require.ErrorAs(t, err, &refused)
	}
	err := p.Flush(ctx)
	require.ErrorContains(t, err, "200 more records")
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok)
	require.Len(t, joined.Unwrap(), 101)
	require.NoError(t, p.Flush(ctx))
}

func TestProducerTombstones(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	topic := stream.Topic[map[string]int]{Name: "table", Compact: true}
	createTopic(t, c, topic.Spec())
	p := newProducer(t, c, topic, stream.ProducerConfig{})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	require.NoError(t, p.Send(ctx, stream.ProducerRecord[map[string]int]{Key: "a", Value: map[string]int{"n": 1}}))
	require.NoError(t, p.Send(ctx, stream.ProducerRecord[map[string]int]{Key: "b"}))
	require.NoError(t, p.Send(ctx, stream.ProducerRecord[map[string]int]{Key: "a", Tombstone: true, Time: at}))
	require.NoError(t, p.Flush(ctx))
	k, err := stream.NewConsumer(ctx, c, topic, stream.ConsumerConfig{Group: "g"})
	require.NoError(t, err)
	defer k.Close()
	var got []stream.Record[map[string]int]
	for len(got) < 2 {
		records, err := k.Poll(ctx)
		require.NoError(t, err)
		got = append(got, records...)
	}
	require.Len(t, got, 2)
	require.Equal(t, "b", got[0].Key)
	require.False(t, got[0].Tombstone, "a nil value is a value: null")
	require.Equal(t, "a", got[1].Key)
	require.True(t, got[1].Tombstone)
	require.Equal(t, at.Format(time.RFC3339Nano), got[1].Headers.Get(stream.TimeHeader))

	var refused *stream.KeyError
	require.ErrorAs(t, p.Send(ctx, stream.ProducerRecord[map[string]int]{Tombstone: true}), &refused)
	createTopic(t, c, plain.Spec())
	q := newProducer(t, c, plain, stream.ProducerConfig{})
	require.ErrorAs(t, q.Send(ctx, stream.ProducerRecord[string]{Key: "k", Tombstone: true}), &refused)
}

// Many producers that send a little each spread their records without keys, too.
func TestShortLivedProducersSpreadKeylessRecords(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	for i := range 64 {
		p, err := stream.NewProducer(c, numbers, stream.ProducerConfig{})
		require.NoError(t, err)
		require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Value: strconv.Itoa(i)}))
		require.NoError(t, p.Close(ctx))
	}
	offsets, err := c.Offsets(ctx, numbers.Spec())
	require.NoError(t, err)
	for _, o := range offsets {
		// All 64 miss a partition once in 10^8 runs.
		require.NotZero(t, o.Records)
	}
}

// Headers count: what the server would refuse for its size is refused before.
func TestHeadersCountForTheSize(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	createTopic(t, c, plain.Spec())
	p := newProducer(t, c, plain, stream.ProducerConfig{})
	var large *stream.TooLargeError
	r := stream.ProducerRecord[string]{Key: "k", Headers: stream.Headers{"H": {strings.Repeat("h", 1000)}}}
	r.Value = strings.Repeat("x", int(c.MaxPayload())-1000)
	require.ErrorAs(t, p.Send(ctx, r), &large)
	r.Value = r.Value[:len(r.Value)-int(large.Size-large.Max)]
	require.NoError(t, p.Send(ctx, r))
	require.NoError(t, p.Flush(ctx))
}
