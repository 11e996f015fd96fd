package processor_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// deathAt is a dialer of connections that die together, for ever, at the n-th message that is published on one of them: before the server
// has it, or after, so that its answer is lost. It is how a process ends at that step, seen from the server.
type deathAt struct {
	n     int // 0: never
	after bool

	mu    sync.Mutex
	seen  int
	dead  bool
	conns []net.Conn
}

var errDead = errors.New("the process has died")

// Dial implements nats.CustomDialer.
func (d *deathAt) Dial(network, address string) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return nil, errDead
	}
	c, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	d.conns = append(d.conns, c)
	return &dyingConn{Conn: c, d: d}, nil
}

// die ends all connections. It is called with the mutex held.
func (d *deathAt) die() {
	d.dead = true
	for _, c := range d.conns {
		_ = c.Close()
	}
}

func (d *deathAt) died() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// dyingConn takes what the client says apart.
type dyingConn struct {
	net.Conn
	d    *deathAt
	rest []byte // of an operation that is not whole
}

// Write sends whole operations only.
func (c *dyingConn) Write(p []byte) (int, error) {
	c.rest = append(c.rest, p...)
	for {
		n := operation(c.rest)
		if n == 0 {
			return len(p), nil
		}
		if err := c.send(c.rest[:n]); err != nil {
			return 0, err
		}
		c.rest = c.rest[n:]
	}
}

func (c *dyingConn) send(op []byte) error {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	if c.d.dead {
		return errDead
	}
	last := false
	if bytes.HasPrefix(op, []byte("PUB ")) || bytes.HasPrefix(op, []byte("HPUB ")) {
		c.d.seen++
		last = c.d.seen == c.d.n
	}
	if last && !c.d.after {
		c.d.die()
		return errDead
	}
	_, err := c.Conn.Write(op)
	if last {
		// The server reads what came before a connection ends: it has been carried out.
		c.d.dead = true
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		_, _ = io.Copy(io.Discard, c.Conn)
		c.d.die()
		return errDead
	}
	return err
}

// operation returns how long the first operation in the text of the client is, 0: it is not whole.
func operation(text []byte) int {
	line, err := bufio.NewReader(bytes.NewReader(text)).ReadSlice('\n')
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(line))
	size := 0
	if len(fields) > 2 && (fields[0] == "PUB" || fields[0] == "HPUB") {
		payload, err := strconv.Atoi(fields[len(fields)-1])
		if err != nil {
			return 0
		}
		size = payload + len("\r\n")
	}
	if len(line)+size > len(text) {
		return 0
	}
	return len(line) + size
}

// crashScene is what happens while an instance dies.
type crashScene struct {
	name string
	play func(x *crashRun, d *deathAt)
}

// crashRun is one app on a server that it shares with others.
type crashRun struct {
	t      *testing.T
	name   string
	server *embedded.Server
	client *stream.Client
	ended  []chan error
	stops  []context.CancelFunc
}

const crashLines = 60

func (x *crashRun) in() stream.Topic[string] {
	return stream.Topic[string]{Name: x.name + "-in", Partitions: 1}
}
func (x *crashRun) out() stream.Topic[int64] {
	return stream.Topic[int64]{Name: x.name + "-out", Partitions: 1}
}

func (x *crashRun) topology() *processor.Topology {
	x.t.Helper()
	b := processor.NewBuilder(x.name)
	words := processor.FlatMap(processor.From(b, x.in()), strings.Fields)
	processor.Count(processor.KeyBy(words, "by-word", strings.ToLower), processor.Counting{Name: "count"}).To(x.out())
	topology, err := b.Build()
	require.NoError(x.t, err)
	return topology
}

// start runs an instance whose connection dies as d says; nil: it does not.
func (x *crashRun) start(d *deathAt) *processor.App {
	x.t.Helper()
	if d == nil {
		d = &deathAt{}
	}
	app := new(processor.App)
	done := make(chan error, 1)
	ctx, stop := context.WithCancel(x.t.Context())
	x.ended, x.stops = append(x.ended, done), append(x.stops, stop)
	nc, err := nats.Connect(x.server.URL(), nats.SetCustomDialer(d), nats.NoReconnect(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		done <- err
		return app
	}
	x.t.Cleanup(nc.Close)
	client, err := stream.NewClient(nc, stream.Config{})
	if err != nil {
		done <- err
		return app
	}
	app = processor.NewApp(client, x.topology(), processor.Config{SessionTimeout: 500 * time.Millisecond})
	go func() { done <- app.Run(ctx) }()
	return app
}

// untilRuns waits until an instance runs one of the two tasks, or d has died.
func (x *crashRun) untilRuns(app *processor.App, d *deathAt) {
	x.t.Helper()
	require.Eventually(x.t, func() bool {
		return d.died() || slices.ContainsFunc(app.Stats(), func(s processor.TaskStats) bool { return s.State == processor.TaskRunning })
	}, time.Minute, 10*time.Millisecond)
}

// send stores lines.
func (x *crashRun) send(from, to int) {
	x.t.Helper()
	p, err := stream.NewProducer(x.client, x.in(), stream.ProducerConfig{})
	require.NoError(x.t, err)
	for i := from; i < to; i++ {
		require.NoError(x.t, p.Send(x.t.Context(), stream.ProducerRecord[string]{Key: "k", Value: fmt.Sprintf("all w%d", i%7), Time: at(i)}))
	}
	require.NoError(x.t, p.Close(x.t.Context()))
}

// until waits until there are so many results, or d has died.
func (x *crashRun) until(results int, d *deathAt) {
	x.t.Helper()
	require.Eventually(x.t, func() bool {
		if d.died() {
			return true
		}
		o, err := x.client.Offsets(x.t.Context(), x.out().Spec())
		return err == nil && o[0].Next > uint64(results)
	}, time.Minute, 10*time.Millisecond)
}

// check ends the instances, lets another one finish, and counts.
func (x *crashRun) check() {
	x.t.Helper()
	for i, stop := range x.stops {
		stop()
		<-x.ended[i] // whatever it says: it may have died
	}
	require.NoError(x.t, processor.NewApp(x.client, x.topology(), processor.Config{Bounded: true}).Run(x.t.Context()))
	got := make(map[string]int64)
	for _, r := range all(x.t, x.client, x.out()) {
		require.Equal(x.t, got[r.Key]+1, r.Value, "word %q: lost, doubled or out of order", r.Key)
		got[r.Key] = r.Value
	}
	want := make(map[string]int64)
	for i := range crashLines {
		want["all"]++
		want[fmt.Sprintf("w%d", i%7)]++
	}
	require.Equal(x.t, want, got)
}

var crashScenes = []crashScene{
	{"an instance begins, processes, commits, delivers, trims and leaves", func(x *crashRun, d *deathAt) {
		x.send(0, crashLines/2)
		x.start(d)
		x.until(crashLines, d)
		x.send(crashLines/2, crashLines)
		x.until(2*crashLines, d)
	}},
	{"an instance restores what another one has left, with records that were not delivered", func(x *crashRun, d *deathAt) {
		x.send(0, crashLines/2)
		first := &deathAt{n: 40, after: true}
		x.start(first)
		x.until(crashLines, first)
		x.start(d)
		x.send(crashLines/2, crashLines)
		x.until(2*crashLines, d)
	}},
	{"an instance gives a task to another one", func(x *crashRun, d *deathAt) {
		x.send(0, crashLines/2)
		x.start(d)
		x.until(crashLines, d)
		x.untilRuns(x.start(nil), d)
		x.send(crashLines/2, crashLines)
		x.until(2*crashLines, d)
	}},
	{"an instance warms up and takes a task", func(x *crashRun, d *deathAt) {
		x.send(0, crashLines/2)
		x.start(nil)
		x.until(crashLines, d)
		x.untilRuns(x.start(d), d)
		x.send(crashLines/2, crashLines)
		x.until(2*crashLines, d)
	}},
}

// TestCrashPoints lets an instance die at each message that it publishes, one after another: before the server has it, or after, so that
// the answer is lost, by turns; both at each with ROSSBY_CHAOS. Requests of the server's API are messages, too: these are all steps of commit, delivery, trim, restore and
// hand-over. Whatever the step, others finish the work, and each word is counted once.
func TestCrashPoints(t *testing.T) {
	for _, scene := range crashScenes {
		t.Run(scene.name, func(t *testing.T) {
			points := enumerate(t, scene, 0)
			if os.Getenv(chaosLong) != "" {
				points += enumerate(t, scene, 1)
			}
			t.Logf("%d crash points, each survived", points)
		})
	}
}

// atATime is how many points are played at the same time: they wait more than they work.
const atATime = 6

// enumerate plays a scene with a death at the first message, the second, and so on, until the scene ends before. The server has every
// second message: those with an even number, or with an odd one.
func enumerate(t *testing.T, scene crashScene, odd int) (points int) {
	t.Helper()
	server := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	client, err := stream.NewClient(embeddedtest.ConnectTo(t, server), stream.Config{})
	require.NoError(t, err)
	for last := false; !last && !t.Failed(); {
		var wg sync.WaitGroup
		survived := make([]bool, atATime)
		for i := range atATime {
			n := points + i + 1
			after := n%2 == odd
			wg.Go(func() {
				t.Run(fmt.Sprintf("%d,after=%t", n, after), func(t *testing.T) {
					x := &crashRun{t: t, name: "crash" + strconv.Itoa(n), server: server, client: client}
					require.NoError(t, x.client.CreateTopic(t.Context(), x.in().Spec()))
					require.NoError(t, x.client.CreateTopic(t.Context(), x.out().Spec()))
					d := &deathAt{n: n, after: after}
					scene.play(x, d)
					x.check()
					survived[i] = !d.died()
				})
			})
		}
		wg.Wait()
		for _, s := range survived {
			if s {
				last = true
			} else {
				points++
			}
		}
	}
	return points
}
