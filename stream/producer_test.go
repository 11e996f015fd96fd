package stream_test

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

var numbers = stream.Topic[string]{Name: "numbers", Partitions: 4, Codec: stream.String()}

func newProducer[V any](t testing.TB, c *stream.Client, topic stream.Topic[V], cfg stream.ProducerConfig) *stream.Producer[V] {
	t.Helper()
	p, err := stream.NewProducer(c, topic, cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, p.Close(ctx))
	})
	return p
}

// requireKeyOrder checks that the values "key:0", "key:1"... of every key are all
// there, first occurrences in order. It gives the number of repetitions.
func requireKeyOrder(t testing.TB, want map[string]int, msgs []stream.Message) (repeated int) {
	t.Helper()
	next := map[string]int{}
	for _, m := range msgs {
		key, num, ok := strings.Cut(string(m.Data), ":")
		require.True(t, ok)
		require.Equal(t, key, m.Key)
		n, err := strconv.Atoi(num)
		require.NoError(t, err)
		require.LessOrEqual(t, n, next[key], "key %s: %d came before %d", key, n, next[key])
		if n < next[key] {
			repeated++
			continue
		}
		next[key]++
	}
	require.Equal(t, want, next)
	return repeated
}

func TestProducerStoresInOrder(t *testing.T) {
	for _, acks := range []stream.Acks{stream.AcksAll, stream.AcksLeader, stream.AcksNone} {
		t.Run(fmt.Sprint(acks), func(t *testing.T) {
			ctx := testContext(t)
			c := newClient(t)
			createTopic(t, c, numbers.Spec())
			p := newProducer(t, c, numbers, stream.ProducerConfig{Acks: acks, MaxInFlight: 100})
			want := map[string]int{}
			var wg sync.WaitGroup
			for w := range 4 {
				for k := range 5 {
					want[fmt.Sprint("w", w, "k", k)] = 500
				}
				wg.Go(func() {
					for i := range 500 {
						for k := range 5 {
							key := fmt.Sprint("w", w, "k", k)
							if err := p.Send(ctx, stream.ProducerRecord[string]{Key: key, Value: fmt.Sprint(key, ":", i)}); err != nil {
								t.Error(err)
								return
							}
						}
					}
				})
			}
			wg.Wait()
			require.NoError(t, p.Flush(ctx))
			var all []stream.Message
			for part := range 4 {
				msgs := readAll(t, c, numbers.Spec(), part)
				for _, m := range msgs {
					require.Equal(t, part, stream.Partition(m.Key, 4))
					require.Nil(t, m.Headers)
				}
				all = append(all, msgs...)
			}
			require.Zero(t, requireKeyOrder(t, want, all))
		})
	}
}

// A record that nobody flushes is stored all the same, soon.
func TestProducerDoesNotSitOnRecords(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	topic := stream.Topic[string]{Name: "t", Codec: stream.String()}
	createTopic(t, c, topic.Spec())
	p := newProducer(t, c, topic, stream.ProducerConfig{})
	for i := range 20 {
		require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Key: "k", Value: strconv.Itoa(i)}))
		require.Eventually(t, func() bool {
			o, err := c.Offsets(ctx, topic.Spec())
			return err == nil && o[0].Records == uint64(i+1)
		}, patience, time.Millisecond)
	}
}

func TestProducerSpreadsKeylessRecords(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	createTopic(t, c, numbers.Spec())
	p := newProducer(t, c, numbers, stream.ProducerConfig{})
	for i := range 4 * 512 {
		require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Value: strconv.Itoa(i)}))
	}
	require.NoError(t, p.Flush(ctx))
	offsets, err := c.Offsets(ctx, numbers.Spec())
	require.NoError(t, err)
	for _, o := range offsets {
		require.EqualValues(t, 512, o.Records)
	}
	for part := range numbers.Partitions { // 512 in a row each: sticky
		msgs := readAll(t, c, numbers.Spec(), part)
		first, err := strconv.Atoi(string(msgs[0].Data))
		require.NoError(t, err)
		require.Zero(t, first%512)
		for i, m := range msgs {
			require.Empty(t, m.Key)
			require.Equal(t, strconv.Itoa(first+i), string(m.Data))
		}
	}
}

type reading struct {
	At time.Time
	V  float64
	D  time.Duration
}

func TestEventTimes(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	other := at.Add(time.Hour)
	stored := at.Add(2 * time.Hour)
	withTime := stream.Topic[reading]{Name: "with", Time: func(r reading) time.Time { return r.At }}
	without := stream.Topic[reading]{Name: "without"}
	for _, topic := range []stream.Topic[reading]{withTime, without} {
		createTopic(t, c, topic.Spec())
		p := newProducer(t, c, topic, stream.ProducerConfig{})
		for _, set := range []time.Time{{}, at, other} {
			require.NoError(t, p.Send(ctx, stream.ProducerRecord[reading]{Key: "k", Value: reading{At: at, D: time.Second}, Time: set}))
		}
		require.NoError(t, p.Flush(ctx))
	}
	check := func(topic stream.Topic[reading], want ...time.Time) {
		t.Helper()
		for i, m := range readAll(t, c, topic.Spec(), 0) {
			v, err := stream.JSON[reading]().Decode(m.Data)
			require.NoError(t, err)
			require.Equal(t, time.Second, v.D)
			got, err := topic.EventTime(v, m.Headers, stored)
			require.NoError(t, err)
			require.True(t, want[i].Equal(got), "record %d: %v", i, got)
		}
	}
	check(withTime, at, at, other)
	check(without, stored, at, other)
	require.Nil(t, readAll(t, c, withTime.Spec(), 0)[1].Headers, "no header where the value says it already")

	_, err := without.EventTime(reading{}, stream.Headers{stream.TimeHeader: {"yesterday"}}, stored)
	require.Error(t, err)
}

func TestSendRefusesWhatCannotBeSent(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	topic := stream.Topic[[]byte]{Name: "t", Codec: stream.Bytes()}
	createTopic(t, c, topic.Spec())
	p := newProducer(t, c, topic, stream.ProducerConfig{})
	var large *stream.TooLargeError
	before := nc.Stats().OutMsgs
	tooLarge := make([]byte, c.MaxPayload()+1)
	require.ErrorAs(t, p.Send(ctx, stream.ProducerRecord[[]byte]{Key: "k", Value: tooLarge, Done: func(stream.Delivery) { t.Error("told twice") }}), &large)
	require.ErrorAs(t, c.Publish(ctx, []stream.Outgoing{{Topic: topic.Spec(), Key: "small"}, {Topic: topic.Spec(), Key: "k", Data: tooLarge}}), &large)
	require.ErrorContains(t, large, "raise max_payload")
	require.Equal(t, before, nc.Stats().OutMsgs, "nothing is sent")
	require.NoError(t, p.Send(ctx, stream.ProducerRecord[[]byte]{Key: "k", Value: []byte("x")}))
	require.NoError(t, p.Close(ctx))
	require.NoError(t, p.Close(ctx))
	require.ErrorIs(t, p.Send(ctx, stream.ProducerRecord[[]byte]{}), stream.ErrClosed)

	floats, err := stream.NewProducer(c, stream.Topic[float64]{Name: "t"}, stream.ProducerConfig{})
	require.NoError(t, err)
	require.ErrorContains(t, floats.Send(ctx, stream.ProducerRecord[float64]{Value: math.NaN()}), "encode")
	require.NoError(t, floats.Close(ctx))

	_, err = stream.NewProducer(c, topic, stream.ProducerConfig{MaxInFlight: 1})
	require.ErrorContains(t, err, "MaxInFlight")
	_, err = stream.NewProducer(c, topic, stream.ProducerConfig{Acks: 7})
	require.ErrorContains(t, err, "Acks")
	var bad *stream.SpecError
	_, err = stream.NewProducer(c, stream.Topic[int]{Name: "a.b"}, stream.ProducerConfig{})
	require.ErrorAs(t, err, &bad)
}

// Records that the server refuses for good are reported; the others are stored,
// in order.
func TestRefusedRecordsAreReported(t *testing.T) {
	ctx := testContext(t)
	nc := embeddedtest.Connect(t)
	c := clientOf(t, nc)
	topic := stream.Topic[string]{Name: "t", Codec: stream.String()}
	createTopic(t, c, topic.Spec())
	limitMessages(t, nc, "t-0", 100)

	p := newProducer(t, c, topic, stream.ProducerConfig{})
	var want []string
	refused := map[string]bool{}
	for i := range 2000 {
		v := strconv.Itoa(i)
		key := "k" + v
		if i%500 == 0 || i == 1999 {
			v += strings.Repeat("x", 100)
			refused[key] = true
		} else {
			want = append(want, v)
		}
		require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Key: key, Value: v}))
	}
	err := p.Flush(ctx)
	require.Error(t, err)
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok)
	for _, e := range joined.Unwrap() {
		var pe *stream.PublishError
		require.ErrorAs(t, e, &pe)
		require.True(t, refused[pe.Key], "%v", e)
		delete(refused, pe.Key)
	}
	require.Empty(t, refused)
	require.NoError(t, p.Flush(ctx), "told once")
	var got []string
	for _, m := range readAll(t, c, topic.Spec(), 0) {
		got = append(got, string(m.Data))
	}
	require.Equal(t, want, got)
}

// limitMessages makes the server refuse larger messages for good.
func limitMessages(t testing.TB, nc *nats.Conn, backing string, size int32) {
	t.Helper()
	ctx := testContext(t)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(ctx, backing)
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxMsgSize = size
	_, err = js.UpdateStream(ctx, cfg)
	require.NoError(t, err)
}

// produce sends rounds over ten keys in the background until stop is closed, and
// gives their number.
func produce(ctx context.Context, t *testing.T, p *stream.Producer[string], ids bool, stop <-chan struct{}) <-chan int {
	done := make(chan int, 1)
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				if err := p.Flush(ctx); err != nil {
					t.Error(err)
				}
				done <- i
				return
			default:
			}
			for k := range 10 {
				key := fmt.Sprint("k", k)
				r := stream.ProducerRecord[string]{Key: key, Value: fmt.Sprint(key, ":", i)}
				if ids {
					r.ID = r.Value
				}
				if err := p.Send(ctx, r); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	return done
}

func tenKeys(rounds int) map[string]int {
	want := map[string]int{}
	for k := range 10 {
		want[fmt.Sprint("k", k)] = rounds
	}
	return want
}

func readNumbers(t testing.TB, c *stream.Client, spec stream.TopicSpec) []stream.Message {
	t.Helper()
	var all []stream.Message
	for part := range spec.Partitions {
		all = append(all, readAll(t, c, spec, part)...)
	}
	return all
}

// The server is restarted under a producer again and again: everything is
// there, in order; with ids nothing is there twice.
func TestProducerAcrossServerRestarts(t *testing.T) {
	ctx := testContext(t)
	s := restartable(t)
	c := clientOf(t, s.connect(t))
	createTopic(t, c, numbers.Spec())
	p := newProducer(t, c, numbers, stream.ProducerConfig{MaxInFlight: 512})
	stop := make(chan struct{})
	done := produce(ctx, t, p, false, stop)
	for i := range 4 {
		waitForRecords(t, c, numbers.Spec(), uint64(1000*(i+1)))
		s.restart(t)
	}
	close(stop)
	require.Zero(t, requireKeyOrder(t, tenKeys(<-done), readNumbers(t, c, numbers.Spec())))
}

// waitForRecords returns when the topic has n records.
func waitForRecords(t testing.TB, c *stream.Client, spec stream.TopicSpec, n uint64) {
	t.Helper()
	require.Eventually(t, hasRecords(testContext(t), c, spec, n), patience, time.Millisecond)
}

func hasRecords(ctx context.Context, c *stream.Client, spec stream.TopicSpec, n uint64) func() bool {
	return func() bool {
		offsets, err := c.Offsets(ctx, spec)
		var have uint64
		for _, o := range offsets {
			have += o.Records
		}
		return err == nil && have >= n
	}
}

// The connection is cut under a producer while the server lives: the server
// knows what it has of each session, so that even without ids nothing is lost,
// reordered or, unless an answer was lost, stored twice.
func TestProducerUnderConstantCuts(t *testing.T) {
	ctx := testContext(t)
	s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	at, err := url.Parse(s.URL())
	require.NoError(t, err)
	p := startProxy(t, at.Host)
	direct := clientOf(t, embeddedtest.ConnectTo(t, s))
	createTopic(t, direct, numbers.Spec())
	prod := newProducer(t, clientOf(t, p.connect(t)), numbers, stream.ProducerConfig{MaxInFlight: 500})
	stop := make(chan struct{})
	done := produce(ctx, t, prod, false, stop)
	for i := range 20 {
		waitForRecords(t, direct, numbers.Spec(), uint64(500*(i+1)))
		p.cut()
	}
	close(stop)
	rounds := <-done
	repeated := requireKeyOrder(t, tenKeys(rounds), readNumbers(t, direct, numbers.Spec()))
	t.Logf("20 cuts, %d of %d records stored twice", repeated, rounds*10)
}

// The leaders of a replicated topic step down while a producer runs.
func TestProducerAcrossLeaderChanges(t *testing.T) {
	ctx := testContext(t)
	cluster := embeddedtest.StartCluster(t, 3)
	nc := embeddedtest.ConnectToCluster(t, cluster, reconnecting()...)
	c := clientOf(t, nc)
	topic := stream.Topic[string]{Name: "numbers", Partitions: 2, Replicas: 3, Codec: stream.String()}
	createTopic(t, c, topic.Spec())

	var got collector // reads along
	r, err := c.OpenReader(ctx, topic.Spec(), 0, got.config(0))
	require.NoError(t, err)
	defer r.Close()

	p := newProducer(t, c, topic, stream.ProducerConfig{MaxInFlight: 256})
	stop := make(chan struct{})
	done := produce(ctx, t, p, false, stop)
	for change := range 6 {
		waitForRecords(t, c, topic.Spec(), uint64(1000*(change+1)))
		// The answer does not matter: a leader that is being elected gives none.
		one, cancel := context.WithTimeout(ctx, time.Second)
		_, err := nc.RequestWithContext(one, "$JS.API.STREAM.LEADER.STEPDOWN.numbers-"+strconv.Itoa(change%2), nil)
		cancel()
		if err != nil {
			t.Log(err)
		}
	}
	close(stop)
	rounds := <-done
	repeated := requireKeyOrder(t, tenKeys(rounds), readNumbers(t, c, topic.Spec()))
	t.Logf("6 changes of leader, %d of %d records stored twice", repeated, rounds*10)

	msgs := readAll(t, c, topic.Spec(), 0)
	along := got.waitFor(t, len(msgs))
	require.Len(t, along, len(msgs))
	for i, m := range along {
		require.Equal(t, msgs[i].Offset, m.Offset)
		require.Equal(t, msgs[i].Data, m.Data)
	}
}
