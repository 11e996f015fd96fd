package stream_test

import (
	"context"
	"fmt"
	"math/rand/v2"
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

// acked is what a producer was told about the values "key:0", "key:1"... that it sent.
type acked struct {
	mu     sync.Mutex
	stored map[string]int // by value
	failed int
}

func (a *acked) done(value string) func(stream.Delivery) {
	return func(d stream.Delivery) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if d.Err != nil {
			a.failed++
			return
		}
		if a.stored == nil {
			a.stored = map[string]int{}
		}
		a.stored[value]++
	}
}

// produceTwins sends rounds over ten keys until stop is closed. Producers that do
// the same send identical records.
func produceTwins(ctx context.Context, p *stream.Producer[string], a *acked, stop <-chan struct{}) error {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return p.Close(ctx)
		case <-time.After(2 * time.Millisecond): // faster than what is done to it, and leaves the servers room to start
		}
		for k := range 10 {
			key := fmt.Sprint("k", k)
			value := fmt.Sprint(key, ":", i)
			if err := p.Send(ctx, stream.ProducerRecord[string]{Key: key, Value: value, Done: a.done(value)}); err != nil {
				return err
			}
		}
	}
}

// requireExactlyOnce checks that what is stored is what the producers were told,
// no more and no less, and that each producer's records of a key are in order. It
// gives the number of records.
func requireExactlyOnce(t testing.TB, c *stream.Client, nc *nats.Conn, spec stream.TopicSpec, told []*acked) int {
	t.Helper()
	want := map[string]int{}
	for _, a := range told {
		require.Zero(t, a.failed)
		for value, n := range a.stored {
			require.Equal(t, 1, n, "%s was reported %d times", value, n)
			want[value]++
		}
	}
	have, all := map[string]int{}, readNumbers(t, c, spec)
	for _, m := range all {
		have[string(m.Data)]++
		require.Nil(t, m.Headers)
	}
	twice, lost := 0, 0
	for value, n := range want {
		twice += max(have[value]-n, 0)
		lost += max(n-have[value], 0)
	}
	require.Zero(t, twice, "stored twice of %d", len(all))
	require.Zero(t, lost, "acknowledged and not stored of %d", len(all))
	require.Equal(t, want, have)
	for part := range spec.Partitions {
		requireMarkOrder(t, nc, spec.BackingStream(part))
	}
	return len(all)
}

// requireMarkOrder checks in the backing stream that the marks of each producer
// are 1, 2, 3 and so on, and that the values of each key follow.
func requireMarkOrder(t testing.TB, nc *nats.Conn, backing string) {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	cons, err := js.OrderedConsumer(testContext(t), backing, jetstream.OrderedConsumerConfig{})
	require.NoError(t, err)
	it, err := cons.Messages()
	require.NoError(t, err)
	defer it.Stop()
	marks, values := map[string]int{}, map[string]int{}
	for {
		m, err := it.Next()
		require.NoError(t, err)
		lane, num, ok := strings.Cut(m.Headers().Get(stream.MarkHeader), ".")
		require.True(t, ok)
		n, err := strconv.Atoi(num)
		require.NoError(t, err)
		require.Equal(t, marks[lane]+1, n)
		marks[lane] = n
		key, num, _ := strings.Cut(string(m.Data()), ":")
		n, err = strconv.Atoi(num)
		require.NoError(t, err)
		require.Equal(t, values[lane+key], n, "of key %s", key)
		values[lane+key]++
		meta, err := m.Metadata()
		require.NoError(t, err)
		if meta.NumPending == 0 {
			return
		}
	}
}

// Three producers send identical records; each has its connection cut at random
// points, its answers lost before that, and the server restarted. Nothing is lost,
// stored twice, reordered or taken for another producer's twin.
func TestIdempotentProducers(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := restartable(t)
	at, err := url.Parse(s.s.URL())
	require.NoError(t, err)
	nc := s.connect(t)
	direct := clientOf(t, nc)
	spec := stream.TopicSpec{Name: "numbers", Partitions: 2}
	createTopic(t, direct, spec)
	topic := stream.Topic[string]{Name: spec.Name, Partitions: 2, Codec: stream.String()}

	stop := make(chan struct{})
	proxies, told, ended := make([]*proxy, 3), make([]*acked, 3), make(chan error, 3)
	for i := range proxies {
		proxies[i], told[i] = startProxy(t, at.Host), &acked{}
		p, err := stream.NewProducer(clientOf(t, proxies[i].connect(t)), topic, stream.ProducerConfig{MaxInFlight: 300})
		require.NoError(t, err)
		go func() { ended <- produceTwins(ctx, p, told[i], stop) }()
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 40 {
		waitForRecords(t, direct, spec, total(t, direct, spec)+uint64(rnd.IntN(1500)))
		px := proxies[i%3]
		switch i % 4 {
		case 0, 1:
			px.cut()
		case 2:
			px.loseAnswers()
			waitForRecords(t, direct, spec, total(t, direct, spec)+uint64(rnd.IntN(300)))
			px.cut()
		default:
			s.restart(t)
		}
	}
	close(stop)
	for range proxies {
		require.NoError(t, <-ended)
	}
	n := requireExactlyOnce(t, direct, nc, spec, told)
	t.Logf("20 cuts, 10 losses of answers, 10 restarts: %d records, 0 lost, 0 stored twice, 0 out of order", n)
}

// On three servers: leaders step down, and servers are killed and come back, the
// one with the leader, or the one that a producer talks to.
func TestIdempotentProducersOnACluster(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	cluster := embeddedtest.StartCluster(t, 3)
	nc := embeddedtest.ConnectToCluster(t, cluster, reconnecting()...)
	direct := clientOf(t, nc)
	topic := stream.Topic[string]{Name: "numbers", Partitions: 2, Replicas: 3, Codec: stream.String()}
	spec := topic.Spec()
	createTopic(t, direct, spec)

	stop := make(chan struct{})
	told, ended := make([]*acked, 2), make(chan error, 2)
	for i := range told {
		told[i] = &acked{}
		conn := embeddedtest.ConnectToCluster(t, cluster, reconnecting()...)
		p, err := stream.NewProducer(clientOf(t, conn), topic, stream.ProducerConfig{MaxInFlight: 300})
		require.NoError(t, err)
		go func() { ended <- produceTwins(ctx, p, told[i], stop) }()
	}
	stepdowns, kills := 0, 0
	for i := range 12 {
		waitForRecords(t, direct, spec, total(t, direct, spec)+1000)
		if i%3 < 2 {
			one, cancel := context.WithTimeout(ctx, time.Second)
			if _, err := nc.RequestWithContext(one, "$JS.API.STREAM.LEADER.STEPDOWN.numbers-"+strconv.Itoa(i%2), nil); err != nil {
				t.Log(err) // a leader that is being elected gives no answer
			} else {
				stepdowns++
			}
			cancel()
			continue
		}
		victim := i % 3
		if i > 3 {
			info, err := direct.DescribeTopic(ctx, spec.Name)
			require.NoError(t, err)
			if at := cluster.ServerNamed(info.Partitions[0].Leader); at >= 0 {
				victim = at
			}
		}
		require.NoError(t, cluster.StopServer(victim))
		waitForRecords(t, direct, spec, total(t, direct, spec)+500)
		require.NoError(t, cluster.RestartServer(ctx, victim))
		kills++
	}
	close(stop)
	for range told {
		require.NoError(t, <-ended)
	}
	n := requireExactlyOnce(t, direct, nc, spec, told)
	t.Logf("%d changes of leader, %d servers killed: %d records, 0 lost, 0 stored twice, 0 out of order", stepdowns, kills, n)
}

// Where an answer was lost and retention has removed everything, the producer goes
// on.
func TestIdempotentProducerAfterAPurge(t *testing.T) {
	ctx := testContext(t)
	s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	at, err := url.Parse(s.URL())
	require.NoError(t, err)
	px := startProxy(t, at.Host)
	nc := embeddedtest.ConnectTo(t, s)
	direct := clientOf(t, nc)
	createTopic(t, direct, plain.Spec())
	p := newProducer(t, clientOf(t, px.connect(t)), plain, stream.ProducerConfig{})
	px.loseAnswers()
	require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Key: "k", Value: "a"}))
	waitForRecords(t, direct, plain.Spec(), 1)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	backing, err := js.Stream(ctx, "plain-0")
	require.NoError(t, err)
	require.NoError(t, backing.Purge(ctx))
	px.cut()
	require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Key: "k", Value: "b"}))
	require.NoError(t, p.Flush(ctx))
	msgs := readAll(t, direct, plain.Spec(), 0)
	require.Equal(t, "b", string(msgs[len(msgs)-1].Data))
}

// Unmarked records carry nothing, and still arrive, in order, at least once.
func TestUnmarkedProducer(t *testing.T) {
	ctx := testContext(t)
	s := restartable(t)
	nc := s.connect(t)
	c := clientOf(t, nc)
	createTopic(t, c, numbers.Spec())
	p := newProducer(t, c, numbers, stream.ProducerConfig{MaxInFlight: 512, Unmarked: true})
	stop := make(chan struct{})
	done := produce(ctx, t, p, false, stop)
	for i := range 3 {
		waitForRecords(t, c, numbers.Spec(), uint64(1000*(i+1)))
		s.restart(t)
	}
	close(stop)
	rounds := <-done
	repeated := requireKeyOrder(t, tenKeys(rounds), readNumbers(t, c, numbers.Spec()))
	t.Logf("3 restarts, %d of %d records stored twice", repeated, rounds*10)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	backing, err := js.Stream(ctx, "numbers-0")
	require.NoError(t, err)
	m, err := backing.GetMsg(ctx, 1)
	require.NoError(t, err)
	require.Empty(t, m.Header.Get(stream.MarkHeader))
}
