package processor_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// running is an instance of an app, with a connection of its own.
type running struct {
	server *embedded.Server
	nc     *nats.Conn
	app    *processor.App
	stop   context.CancelFunc
	err    chan error
	logs   *observer.ObservedLogs
}

func startInstance(t *testing.T, server *embedded.Server, topology *processor.Topology, cfg processor.Config) *running {
	t.Helper()
	nc, err := server.Connect(nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	require.NoError(t, err)
	client, err := stream.NewClient(nc, stream.Config{})
	require.NoError(t, err)
	core, logs := observer.New(zap.DebugLevel)
	cfg.Logger = zap.New(core)
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = time.Second
	}
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = time.Minute // tests that stop instances are not about how long that takes on a machine that does much else
	}
	ctx, stop := context.WithCancel(t.Context())
	r := &running{server: server, nc: nc, app: processor.NewApp(client, topology, cfg), stop: stop, err: make(chan error, 1), logs: logs}
	go func() { r.err <- r.app.Run(ctx) }()
	t.Cleanup(func() { stop(); nc.Close() })
	return r
}

// tasks says how many tasks the instance has taken over so far.
func (r *running) tasks() int { return r.logs.FilterMessage("took over").Len() }

func (r *running) leave(t *testing.T) {
	t.Helper()
	r.stop()
	require.NoError(t, <-r.err)
	r.nc.Close()
}

// kill lets an instance die: nothing that it does reaches the server any more.
func (r *running) kill() {
	r.nc.Close()
	<-r.err
}

func newServer(t *testing.T) (*embedded.Server, *stream.Client) {
	t.Helper()
	server := embeddedtest.Start(t)
	client, err := stream.NewClient(embeddedtest.ConnectTo(t, server), stream.Config{})
	require.NoError(t, err)
	return server, client
}

// TestInstancesShareTasks lets instances come, leave and die at random while records come in. Whoever has counted a line, it counts
// once.
func TestInstancesShareTasks(t *testing.T) {
	t.Parallel()
	for name, topology := range map[string]func(*testing.T) *processor.Topology{
		"with standbys": wordCount, "without": wordCount, "with standbys, on disk": wordCountOnDisk,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := func(server *embedded.Server) *running {
				cfg := processor.Config{SessionTimeout: 300 * time.Millisecond, Standby: name != "without", StateDir: t.TempDir()}
				return startInstance(t, server, topology(t), cfg)
			}
			server, client := newServer(t)
			require.NoError(t, client.CreateTopic(t.Context(), lines.Spec()))
			const n = 8_000
			var wg sync.WaitGroup
			wg.Go(func() {
				for i := range 20 {
					produce(t, client, lines, textLines(n)[i*n/20:(i+1)*n/20]...)
					<-time.After(200 * time.Millisecond) // so that every change meets some
				}
			})
			alive := []*running{start(server)}
			left, killed, moved := 0, 0, 0
			for range 14 {
				<-time.After(time.Duration(rand.IntN(400)) * time.Millisecond)
				i := rand.IntN(len(alive))
				switch what := rand.IntN(3); {
				case what == 0 && len(alive) > 1:
					alive[i].leave(t)
					left++
				case what == 1 && len(alive) > 1:
					alive[i].kill()
					killed++
				default:
					alive = append(alive, start(server))
					continue
				}
				moved += alive[i].tasks()
				alive = append(alive[:i], alive[i+1:]...)
			}
			wg.Wait()
			for _, r := range alive {
				r.leave(t)
				moved += r.tasks()
			}
			require.NoError(t, processor.NewApp(client, topology(t), processor.Config{Bounded: true, StateDir: t.TempDir()}).Run(t.Context()))
			checkCounts(t, client, n)
			t.Logf("%d instances left, %d were killed, %d take-overs of 8 tasks, %d lines", left, killed, moved, n)
		})
	}
}

// TestNewInstanceWarmsUp has an instance join that takes half of the tasks: it has read their journals before it takes them over.
func TestNewInstanceWarmsUp(t *testing.T) {
	t.Parallel()
	server, client := newServer(t)
	produce(t, client, lines, textLines(2000)...)
	first := startInstance(t, server, wordCount(t), processor.Config{})
	require.Eventually(t, func() bool { return first.tasks() == 8 }, time.Minute, 5*time.Millisecond)
	second := startInstance(t, server, wordCount(t), processor.Config{})
	require.Eventually(t, func() bool { return second.tasks() == 4 }, time.Minute, 5*time.Millisecond)
	require.Equal(t, 4, second.logs.FilterMessage("follows the task's owner").Len())
	require.NotEmpty(t, first.logs.FilterMessage("the task is handed over to another instance").All())
	for _, e := range second.logs.FilterMessage("took over").All() {
		require.LessOrEqual(t, e.ContextMap()["journal_entries"], int64(8), "the last commits of the owner")
	}
	second.leave(t)
	require.Eventually(t, func() bool { return first.tasks() == 12 }, time.Minute, 5*time.Millisecond)
	first.leave(t)
}

// TestStandbyOnDisk has an instance follow tasks with stores on disk. It goes on from its own disk when it is started again, and takes over
// without reading the journal when their owner dies.
func TestStandbyOnDisk(t *testing.T) {
	t.Parallel()
	server, client := newServer(t)
	require.NoError(t, client.CreateTopic(t.Context(), lines.Spec()))
	produced := 0
	count := func(n int) {
		produce(t, client, lines, textLines(produced + n)[produced:]...)
		produced += n
		awaitCounts(t, client, produced)
	}
	dir := t.TempDir()
	start := func(name string) *running {
		return startInstance(t, server, wordCountOnDisk(t), processor.Config{StateDir: filepath.Join(dir, name), Standby: true, Instance: name})
	}
	// entries says how many entries of the journals of tasks on disk were read until a message was logged, for each time.
	entries := func(r *running, message string) (n []int64) {
		for _, e := range r.logs.FilterMessage(message).All() {
			if fields := e.ContextMap(); strings.Contains(fields["task"].(string), "by-word") {
				n = append(n, fields["journal_entries"].(int64))
			}
		}
		return n
	}
	const follows, few = "follows the task's owner", 20
	one := start("one")
	for range 60 {
		count(20)
	}
	other := start("other")
	require.Eventually(t, func() bool { return len(entries(other, follows)) == 4 && other.tasks() == 4 }, time.Minute, 5*time.Millisecond)
	require.Positive(t, slices.Min(entries(other, follows)), "it has read the journals, in which trimming may have left few entries")
	for range 20 {
		count(20)
	}
	other.leave(t)
	count(20)
	other = start("other")
	require.Eventually(t, func() bool { return len(entries(other, follows)) == 4 && other.tasks() == 4 }, time.Minute, 5*time.Millisecond)
	require.Less(t, slices.Max(entries(other, follows)), int64(few), "it has the rest on its disk")
	count(20)
	one.kill()
	require.Eventually(t, func() bool { return other.tasks() == 8 }, time.Minute, 5*time.Millisecond)
	require.Less(t, slices.Max(entries(other, "took over")), int64(few), "it was warm")
	count(200)
	other.leave(t)
	checkCounts(t, client, produced)
}

// TestBoundedRunTakesOverFromTheBusy runs an app to its end while instances commit one thing after another: they are ended, not the bounded run.
func TestBoundedRunTakesOverFromTheBusy(t *testing.T) {
	t.Parallel()
	server, client := newServer(t)
	require.NoError(t, client.CreateTopic(t.Context(), lines.Spec()))
	const rounds, each = 6, 1_500
	for i := range rounds {
		r := startInstance(t, server, wordCount(t), processor.Config{})
		require.Eventually(t, func() bool { return r.tasks() == 8 }, time.Minute, time.Millisecond)
		records := textLines((i + 1) * each)[i*each:]
		produce(t, client, lines, records[1:]...)
		require.NoError(t, newApp(t, client, wordCount(t), true).Run(t.Context()))
		produce(t, client, lines, records[0]) // whoever has nothing more to commit does not notice
		require.ErrorIs(t, <-r.err, stream.ErrFenced)
		r.nc.Close()
	}
	require.NoError(t, newApp(t, client, wordCount(t), true).Run(t.Context()))
	checkCounts(t, client, rounds*each)
}

// askingConn is a connection that waits, before it asks how far a group is, until it may go on, or all is over.
type askingConn struct {
	net.Conn
	asks, goOn, over chan struct{}
}

func (c askingConn) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("CONSUMER.INFO.lines-")) {
		select {
		case c.asks <- struct{}{}:
			<-c.goOn
		case <-c.over:
		}
	}
	return c.Conn.Write(b)
}

// Dial makes it a nats.CustomDialer.
func (c askingConn) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	return askingConn{conn, c.asks, c.goOn, c.over}, err
}

// TestOwnerGoesOnWhileItsStateIsChecked has an instance commit between the moment when a bounded run has read a journal and the one when it asks how far
// the group is: nothing is lost because the group is further.
func TestOwnerGoesOnWhileItsStateIsChecked(t *testing.T) {
	t.Parallel()
	server := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	client, err := stream.NewClient(embeddedtest.ConnectTo(t, server), stream.Config{})
	require.NoError(t, err)
	require.NoError(t, client.CreateTopic(t.Context(), lines.Spec()))
	require.NoError(t, client.CreateTopic(t.Context(), counts.Spec()))
	r := startInstance(t, server, wordCount(t), processor.Config{})
	produced := 0
	more := func() { // until the instance has counted them, or has ended since a task of its has been taken
		produced += 50
		produce(t, client, lines, textLines(produced)[produced-50:]...)
		require.Eventually(t, func() bool {
			return len(r.err) > 0 || ends(t, client, counts.Spec()) == uint64(3*produced)
		}, time.Minute, 5*time.Millisecond)
	}
	more()
	asking := askingConn{asks: make(chan struct{}), goOn: make(chan struct{}), over: make(chan struct{})}
	nc, err := nats.Connect(server.URL(), nats.SetCustomDialer(asking))
	require.NoError(t, err)
	defer nc.Close()
	beside, err := stream.NewClient(nc, stream.Config{})
	require.NoError(t, err)
	app, done := newApp(t, beside, wordCount(t), true), make(chan error, 1)
	go func() { done <- app.Run(t.Context()) }()
	for commits := 0; ; {
		select {
		case <-asking.asks:
			if len(r.err) == 0 && commits < 12 {
				more()
				commits++
			}
			asking.goOn <- struct{}{}
			continue
		case err = <-done:
			close(asking.over)
		}
		require.NoError(t, err)
		require.Positive(t, commits)
		break
	}
	produced += 50
	produce(t, client, lines, textLines(produced)[produced-50:]...) // whoever has nothing more to commit does not notice
	require.ErrorIs(t, <-r.err, stream.ErrFenced)
	require.NoError(t, newApp(t, client, wordCount(t), true).Run(t.Context()))
	checkCounts(t, client, produced)
}

// TestStaticInstance restarts an instance with a name of its own: the other one does not get its tasks.
func TestStaticInstance(t *testing.T) {
	t.Parallel()
	server, client := newServer(t)
	require.NoError(t, client.CreateTopic(t.Context(), lines.Spec()))
	long := 30 * time.Second
	a := startInstance(t, server, wordCount(t), processor.Config{Instance: "a", SessionTimeout: long})
	require.Eventually(t, func() bool { return a.tasks() == 8 }, time.Minute, 5*time.Millisecond)
	b := startInstance(t, server, wordCount(t), processor.Config{Instance: "b", SessionTimeout: long})
	require.Eventually(t, func() bool { return b.tasks() == 4 }, time.Minute, 5*time.Millisecond)
	b.leave(t)
	b = startInstance(t, server, wordCount(t), processor.Config{Instance: "b", SessionTimeout: long})
	require.Eventually(t, func() bool { return b.tasks() == 4 }, time.Minute, 5*time.Millisecond)
	require.Equal(t, 8, a.tasks())
	twin := startInstance(t, server, wordCount(t), processor.Config{Instance: "b", SessionTimeout: long})
	var replaced *stream.MemberReplacedError
	require.ErrorAs(t, <-b.err, &replaced)
	twin.leave(t)
	a.leave(t)
}
