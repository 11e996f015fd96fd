package processor_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// TestBlockedFunctionDoesNotBlockRun has a user function that never returns: Run must, and say whose it is and where it hangs. What
// it had in hand is processed by the next Run.
func TestBlockedFunctionDoesNotBlockRun(t *testing.T) {
	for _, bounded := range []bool{false, true} {
		testBlocked(t, bounded)
	}
}

func testBlocked(t *testing.T, bounded bool) {
	t.Helper()
	client := newClient(t)
	produce(t, client, ints, stream.ProducerRecord[int]{Key: "k", Value: 1}, stream.ProducerRecord[int]{Key: "k", Value: 2})
	release := make(chan struct{})
	blocked := make(chan struct{}, 1)
	var released atomic.Bool
	describe := func() *processor.Topology {
		b := processor.NewBuilder("blocking")
		double := processor.Map(processor.From(b, ints), func(n int) int { return 2 * n })
		processor.Process(double, "hang", func(c *processor.Context[int]) processor.Handler[int] {
			return processor.Handler[int]{Record: func(r processor.Record[int]) error {
				if !released.Load() {
					blocked <- struct{}{}
					waitForever(release)
				}
				c.Forward(r)
				return nil
			}}
		}).To(passed)
		return build(t, b)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	app := processor.NewApp(client, describe(), processor.Config{StopTimeout: 50 * time.Millisecond, Bounded: bounded})
	go func() { ended <- app.Run(ctx) }()
	<-blocked
	cancel()
	err := <-ended
	var be *processor.BlockedError
	require.ErrorAs(t, err, &be)
	require.Equal(t, "ints-0", be.Task)
	require.Contains(t, be.Operator, "process hang (processor/stopping_test.go:")
	require.Contains(t, be.Stack, "waitForever")
	require.NotContains(t, err.Error(), "\n")
	released.Store(true)
	close(release)
	require.NoError(t, newApp(t, client, describe(), true).Run(t.Context()))
	var got []int
	for _, r := range all(t, client, passed) {
		got = append(got, r.Value)
	}
	require.Equal(t, []int{2, 4}, got)
}

func waitForever(release <-chan struct{}) { <-release }

// TestRetryWaitsStoppably asks an app to stop whose operator is to be tried again in an hour. Another task goes on meanwhile.
func TestRetryWaitsStoppably(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	in := stream.Topic[int]{Name: "ints", Partitions: 2}
	keys := []string{"", ""}
	for i := 0; keys[0] == "" || keys[1] == ""; i++ {
		key := fmt.Sprint(i)
		keys[stream.Partition(key, 2)] = key
	}
	var well atomic.Bool
	describe := func() *processor.Topology {
		b := processor.NewBuilder("patient")
		processor.Map(processor.From(b, in), func(n int) int {
			if n == 13 && !well.Load() {
				panic("later")
			}
			return n
		}).OnFailure(processor.Retry{Backoff: time.Hour}).To(passed)
		return build(t, b)
	}
	produce(t, client, in, stream.ProducerRecord[int]{Key: keys[0], Value: 13}, stream.ProducerRecord[int]{Key: keys[0], Value: 14})
	core, logs := observer.New(zap.WarnLevel)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- processor.NewApp(client, describe(), processor.Config{Logger: zap.New(core)}).Run(ctx)
	}()
	waiting := func() bool { return logs.FilterMessage("an attempt has failed; there is another one").Len() == 1 }
	require.Eventually(t, waiting, 30*time.Second, 5*time.Millisecond)
	produce(t, client, in, stream.ProducerRecord[int]{Key: keys[1], Value: 1})
	require.Eventually(t, func() bool {
		offsets, err := client.Offsets(t.Context(), passed.Spec())
		return err == nil && offsets[0].Records == 1
	}, 30*time.Second, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
	well.Store(true)
	require.NoError(t, newApp(t, client, describe(), true).Run(t.Context()))
	var got []int
	for _, r := range all(t, client, passed) {
		got = append(got, r.Value)
	}
	require.Equal(t, []int{1, 13, 14}, got)
}

// TestStopBetweenRecords asks an app to stop that has read many records and takes its time with each: it finishes the one in hand.
func TestStopBetweenRecords(t *testing.T) {
	client := newClient(t)
	records := make([]stream.ProducerRecord[int], 100)
	for i := range records {
		records[i] = stream.ProducerRecord[int]{Key: "k", Value: i}
	}
	produce(t, client, ints, records...)
	at, release := make(chan int), make(chan struct{})
	b := processor.NewBuilder("slow")
	processor.Map(processor.From(b, ints), func(n int) int { at <- n; <-release; return n }).To(passed)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- newApp(t, client, build(t, b), false).Run(ctx) }()
	require.Equal(t, 0, <-at)
	cancel()
	release <- struct{}{}
	require.NoError(t, <-ended)
	require.Len(t, all(t, client, passed), 1)
}

// deafTo is a dialer whose connections say something else to the server in place of a word, once they are told to: nobody answers then.
type deafTo struct {
	word string
	deaf atomic.Bool
}

func (d *deafTo) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return deafConn{c, d}, nil
}

type deafConn struct {
	net.Conn
	d *deafTo
}

func (c deafConn) Write(p []byte) (int, error) {
	if !c.d.deaf.Load() || c.d.word == "" {
		return c.Conn.Write(p)
	}
	return c.Conn.Write(bytes.ReplaceAll(p, []byte(c.d.word), []byte(c.d.word[:len(c.d.word)-1]+"x")))
}

// endsSoon wants an app that was asked to stop to end within its StopTimeout and a generous little.
func endsSoon(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(time.Minute):
		require.FailNow(t, "Run does not return")
		return nil
	}
}

// TestStopWithoutServer stops apps whose server has gone, or does not answer what they ask, at moments at which they need it.
func TestStopWithoutServer(t *testing.T) {
	const timeout = time.Second
	one := stream.ProducerRecord[int]{Key: "k", Value: 1}
	start := func(t *testing.T, double func(int) string) (*embedded.Server, *stream.Client, *running) {
		t.Parallel()
		server, client := newServer(t)
		produce(t, client, ints, one, one, one)
		produce(t, client, words) // it exists
		b := processor.NewBuilder("stopping")
		processor.Map(processor.From(b, ints), double).To(words)
		return server, client, startInstance(t, server, build(t, b), processor.Config{StopTimeout: timeout})
	}
	stored := func(t *testing.T, client *stream.Client, n uint64) {
		require.Eventually(t, func() bool { return ends(t, client, words.Spec()) == n }, 30*time.Second, time.Millisecond)
	}
	t.Run("idle", func(t *testing.T) {
		server, client, r := start(t, strconv.Itoa)
		stored(t, client, 3)
		require.NoError(t, server.Stop())
		r.stop()
		require.NoError(t, endsSoon(t, r.err))
	})
	for name, size := range map[string]int{"a commit": 1, "more than a commit": 800 << 10} {
		t.Run(name, func(t *testing.T) {
			at, release := make(chan struct{}, 3), make(chan struct{})
			server, _, r := start(t, func(int) string { at <- struct{}{}; <-release; return strings.Repeat("x", size) })
			<-at
			require.NoError(t, server.Stop())
			close(release)
			r.stop()
			err := endsSoon(t, r.err)
			require.ErrorContains(t, err, "Config.StopTimeout")
			require.NotErrorAs(t, err, new(*processor.BlockedError))
		})
	}
	t.Run("closed connection", func(t *testing.T) {
		_, client, r := start(t, strconv.Itoa)
		stored(t, client, 3)
		r.nc.Close()
		require.ErrorIs(t, endsSoon(t, r.err), nats.ErrConnectionClosed)
	})
}

// deafApp runs an app over a connection that can be made deaf.
func deafApp(t *testing.T, d *deafTo, topology *processor.Topology) (*stream.Client, *running) {
	t.Helper()
	server := embeddedtest.StartWith(t, embedded.Config{Port: -1})
	client, err := stream.NewClient(embeddedtest.ConnectTo(t, server), stream.Config{})
	require.NoError(t, err)
	nc, err := nats.Connect(server.URL(), nats.SetCustomDialer(d), nats.MaxReconnects(-1), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	deaf, err := stream.NewClient(nc, stream.Config{})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	r := &running{server: server, nc: nc, stop: stop, err: make(chan error, 1)}
	r.app = processor.NewApp(deaf, topology, processor.Config{StopTimeout: time.Second})
	go func() { r.err <- r.app.Run(ctx) }()
	return client, r
}

func passOn(t *testing.T) *processor.Topology {
	t.Helper()
	b := processor.NewBuilder("passing")
	processor.From(b, ints).To(passed)
	return build(t, b)
}

// TestDurablesDoNotHoldCommits has nobody move the group's durables: commits go on, and the app stops.
func TestDurablesDoNotHoldCommits(t *testing.T) {
	t.Parallel()
	d := &deafTo{word: "CONSUMER.RESET"}
	d.deaf.Store(true)
	client, r := deafApp(t, d, passOn(t))
	produce(t, client, passed)  // it exists
	for n := range uint64(30) { // longer than it takes until the durables are to follow
		produce(t, client, ints, stream.ProducerRecord[int]{Key: "k", Value: 1})
		require.Eventually(t, func() bool { return ends(t, client, passed.Spec()) == n+1 }, 30*time.Second, 50*time.Millisecond)
	}
	r.stop()
	require.NoError(t, endsSoon(t, r.err))
}

// TestStopWhileAskingWhoseTaskItIs stops an app that has been fenced and cannot find out by whom.
func TestStopWhileAskingWhoseTaskItIs(t *testing.T) {
	t.Parallel()
	d := &deafTo{word: "_rossby.groups."}
	client, r := deafApp(t, d, passOn(t))
	require.Eventually(t, func() bool { return len(r.app.Stats()) == 1 && r.app.Stats()[0].State == processor.TaskRunning }, 30*time.Second, time.Millisecond)
	d.deaf.Store(true)
	require.NoError(t, newApp(t, client, passOn(t), true).Run(t.Context()))
	produce(t, client, ints, stream.ProducerRecord[int]{Key: "k", Value: 1})
	require.Eventually(t, func() bool { return len(r.app.Stats()) == 0 }, 30*time.Second, time.Millisecond, "it has not been fenced")
	r.stop()
	require.ErrorIs(t, endsSoon(t, r.err), stream.ErrFenced)
}

// TestBlockedDeliveryDoesNotBlockRun has a function that delivers not return when its context ends.
func TestBlockedDeliveryDoesNotBlockRun(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	produce(t, client, ints, stream.ProducerRecord[int]{Key: "k", Value: 1})
	release, blocked := make(chan struct{}), make(chan struct{}, 1)
	b := processor.NewBuilder("blocking")
	processor.From(b, ints).Deliver("hook", func(context.Context, []processor.Delivery[int]) error {
		blocked <- struct{}{}
		waitForever(release)
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- processor.NewApp(client, build(t, b), processor.Config{StopTimeout: 50 * time.Millisecond}).Run(ctx)
	}()
	<-blocked
	cancel()
	err := endsSoon(t, ended)
	close(release)
	var be *processor.BlockedError
	require.ErrorAs(t, err, &be)
	require.Equal(t, "ints-0", be.Task)
	require.Contains(t, be.Operator, "deliver hook (processor/stopping_test.go:")
	require.Contains(t, be.Stack, "waitForever")
}
