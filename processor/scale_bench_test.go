package processor_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// scaleServer says that this process is the server of BenchmarkScale, in the folder that it names.
const scaleServer = "ROSSBY_SCALE_SERVER"

// usage is what a process takes, after a collection of garbage.
type usage struct {
	Heap       uint64 `json:"heap"` // bytes
	Goroutines int    `json:"goroutines"`
	URL        string `json:"url"`
}

func used(url string) usage {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return usage{Heap: m.HeapAlloc + m.StackInuse, Goroutines: runtime.NumGoroutine(), URL: url}
}

// minus gives what one of n takes, of all that has come since before.
func (u usage) minus(before usage, n int) (kB, goroutines float64) {
	return (float64(u.Heap) - float64(before.Heap)) / 1e3 / float64(n), float64(u.Goroutines-before.Goroutines) / float64(n)
}

// TestScaleServer is the process of the server: it says what it takes at each line that it reads, until there are no more. For itself it
// tests that it can be asked.
func TestScaleServer(t *testing.T) {
	dir := os.Getenv(scaleServer)
	if dir == "" {
		s := startScaleServer(t)
		require.NotEmpty(t, s.ask(t).URL)
		return
	}
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, Port: embedded.RandomPort})
	require.NoError(t, err)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		require.NoError(t, json.NewEncoder(os.Stdout).Encode(used(server.URL())))
	}
	require.NoError(t, server.Stop())
}

// serverProcess is a server in a process of its own, so that what it takes can be told from what an app takes.
type serverProcess struct {
	ask func(testing.TB) usage
}

func startScaleServer(tb testing.TB) serverProcess {
	tb.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestScaleServer$", "-test.timeout=30m")
	cmd.Env = append(os.Environ(), scaleServer+"="+tb.TempDir())
	in, err := cmd.StdinPipe()
	require.NoError(tb, err)
	pipe, err := cmd.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, cmd.Start())
	tb.Cleanup(func() {
		require.NoError(tb, in.Close())
		_, _ = bufio.NewReader(pipe).WriteTo(new(strings.Builder)) // what the test process says at its end
		require.NoError(tb, cmd.Wait())
	})
	out := bufio.NewReader(pipe)
	return serverProcess{ask: func(tb testing.TB) usage {
		_, err := in.Write([]byte("\n"))
		require.NoError(tb, err)
		said, err := out.ReadBytes('\n')
		require.NoError(tb, err)
		var u usage
		require.NoError(tb, json.Unmarshal(said, &u))
		return u
	}}
}

// BenchmarkScale measures what partitions, tasks and instances take that have nothing to do: memory, goroutines, streams, consumers and messages. The
// server is a process of its own with its files on disk; topics have one copy. Memory is the heap in use and the stacks. It is a state that is
// measured, and not a time: b.N plays no part, and one run takes longer than any benchtime.
func BenchmarkScale(b *testing.B) {
	for _, tasks := range []int{10, 100, 300} {
		b.Run(fmt.Sprint("tasks-", tasks), func(b *testing.B) {
			measureScale(b, tasks)
		})
	}
}

func measureScale(b *testing.B, tasks int) {
	server := startScaleServer(b)
	url := server.ask(b).URL
	admin, js, client := scaleClient(b, url)
	topic := stream.Topic[line]{Name: "scale", Partitions: tasks, Time: func(l line) time.Time { return l.At }}
	before := server.ask(b)
	began := time.Now()
	require.NoError(b, client.CreateTopic(b.Context(), topic.Spec()))
	b.ReportMetric(time.Since(began).Seconds()*1e3/float64(tasks), "create-ms/stream")
	kB, goroutines := server.ask(b).minus(before, tasks)
	b.ReportMetric(kB, "server-kB/stream")
	b.ReportMetric(goroutines, "server-goroutines/stream")

	builder := processor.NewBuilder("scaled")
	processor.Count(processor.From(builder, topic), processor.Counting{Name: "count"}).To(stream.Topic[int64]{Name: "counts", Partitions: tasks})
	topology, err := builder.Build()
	require.NoError(b, err)
	require.NoError(b, client.CreateTopic(b.Context(), stream.TopicSpec{Name: "counts", Partitions: tasks}))
	before = server.ask(b)
	account, err := js.AccountInfo(b.Context())
	require.NoError(b, err)
	own := used("")
	began = time.Now()
	first := startScaled(b, url, topology, tasks)
	b.ReportMetric(time.Since(began).Seconds()*1e3/float64(tasks), "start-ms/task")
	var after *jetstream.AccountInfo
	require.Eventually(b, func() bool { // with the group's durables, which follow the first commits
		after, err = js.AccountInfo(b.Context())
		return err == nil && after.Consumers-account.Consumers >= 2*tasks
	}, time.Minute, 100*time.Millisecond)
	kB, goroutines = server.ask(b).minus(before, tasks)
	b.ReportMetric(kB, "server-kB/task")
	b.ReportMetric(goroutines, "server-goroutines/task")
	b.ReportMetric(float64(after.Streams-account.Streams)/float64(tasks), "streams/task")
	b.ReportMetric(float64(after.Consumers-account.Consumers)/float64(tasks), "consumers/task")
	kB, goroutines = used("").minus(own, tasks)
	b.ReportMetric(kB, "app-kB/task")
	b.ReportMetric(goroutines, "app-goroutines/task")
	idle := first.traffic(b)
	b.ReportMetric(idle, "idle-msgs/s")
	b.ReportMetric(idle/float64(tasks), "idle-msgs/s/task")

	before, own = server.ask(b), used("")
	const more = 4
	others := make([]scaled, more)
	for i := range others {
		others[i] = startScaled(b, url, topology, tasks/(more+1)-1)
	}
	kB, _ = server.ask(b).minus(before, more)
	b.ReportMetric(kB, "server-kB/member")
	kB, goroutines = used("").minus(own, more)
	b.ReportMetric(kB, "app-kB/member")
	b.ReportMetric(goroutines, "app-goroutines/member")
	b.ReportMetric(others[0].traffic(b), "member-msgs/s")
	for _, s := range append(others, first) {
		s.end(b)
	}
	admin.Close()
}

func scaleClient(b *testing.B, url string) (*nats.Conn, jetstream.JetStream, *stream.Client) {
	nc, err := nats.Connect(url)
	require.NoError(b, err)
	js, err := jetstream.New(nc)
	require.NoError(b, err)
	client, err := stream.NewClient(nc, stream.Config{})
	require.NoError(b, err)
	return nc, js, client
}

// scaled is an instance with a connection of its own.
type scaled struct {
	nc   *nats.Conn
	stop context.CancelFunc
	done chan error
}

// startScaled returns when the instance has taken over so many tasks.
func startScaled(b *testing.B, url string, topology *processor.Topology, tasks int) scaled {
	nc, _, client := scaleClient(b, url)
	core, logs := observer.New(zap.DebugLevel)
	ctx, stop := context.WithCancel(b.Context())
	s := scaled{nc: nc, stop: stop, done: make(chan error, 1)}
	app := processor.NewApp(client, topology, processor.Config{Logger: zap.New(core)})
	go func() { s.done <- app.Run(ctx) }()
	require.Eventually(b, func() bool { return logs.FilterMessage("took over").Len() >= tasks }, 5*time.Minute, 5*time.Millisecond)
	return s
}

// traffic is the messages per second, in and out, of the instance's connection while nothing comes.
func (s scaled) traffic(b *testing.B) float64 {
	const settle, window = 3 * time.Second, 10 * time.Second
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-b.Context().Done():
		}
	}
	wait(settle)
	before, began := s.nc.Stats(), time.Now()
	wait(window)
	after := s.nc.Stats()
	return float64(after.InMsgs-before.InMsgs+after.OutMsgs-before.OutMsgs) / time.Since(began).Seconds()
}

func (s scaled) end(b *testing.B) {
	s.stop()
	require.NoError(b, <-s.done)
	s.nc.Close()
}

// BenchmarkScaleReplicas measures what a stream with three copies takes on each of three servers, which are in this process, and what the durable of a
// group does, which has as many copies.
func BenchmarkScaleReplicas(b *testing.B) {
	const streams, servers = 50, 3
	cluster := embeddedtest.StartCluster(b, servers)
	client, err := stream.NewClient(embeddedtest.ConnectToCluster(b, cluster), stream.Config{Replicas: servers})
	require.NoError(b, err)
	topic := stream.TopicSpec{Name: "warm", Partitions: 1}
	require.NoError(b, client.CreateTopic(b.Context(), topic))
	before := used("")
	topic = stream.TopicSpec{Name: "replicated", Partitions: streams}
	began := time.Now()
	require.NoError(b, client.CreateTopic(b.Context(), topic))
	b.ReportMetric(time.Since(began).Seconds()*1e3/streams, "create-ms/stream")
	kB, goroutines := used("").minus(before, streams*servers)
	b.ReportMetric(kB, "server-kB/copy")
	b.ReportMetric(goroutines, "server-goroutines/copy")
	before = used("")
	for p := range streams {
		require.NoError(b, client.StoreOffset(b.Context(), topic, "group", p, 1))
	}
	kB, goroutines = used("").minus(before, streams*servers)
	b.ReportMetric(kB, "server-kB/durable-copy")
	b.ReportMetric(goroutines, "server-goroutines/durable-copy")
}
