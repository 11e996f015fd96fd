//go:build unix

package processor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/internal/benchtable"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

const takeoverSession = 2 * time.Second

// BenchmarkTakeover kills the process of an instance, and measures how long it takes until another one has processed a record of its task, as a
// multiple of the session timeout: with and without a standby, for 10 MB and 1 GB of state. The latter takes minutes: it is left out with -short.
func BenchmarkTakeover(b *testing.B) {
	for _, size := range []int{10_000_000, 1_000_000_000} {
		if size > 10_000_000 && testing.Short() {
			continue
		}
		for _, standby := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dMB/standby=%t", size/1_000_000, standby), func(b *testing.B) { benchmarkTakeover(b, size, standby, processor.InMemory) })
		}
		b.Run(fmt.Sprintf("%dMB/standby=true/disk", size/1_000_000), func(b *testing.B) { benchmarkTakeover(b, size, true, processor.OnDisk) })
	}
}

func benchmarkTakeover(b *testing.B, size int, standby bool, keep processor.Medium) {
	server := embeddedtest.StartWith(b, embedded.Config{Port: embedded.RandomPort})
	client, err := stream.NewClient(embeddedtest.ConnectTo(b, server), stream.Config{})
	require.NoError(b, err)
	require.NoError(b, client.CreateTopic(b.Context(), largeIn.Spec()))
	require.NoError(b, client.CreateTopic(b.Context(), largeOut.Spec()))
	p, err := stream.NewProducer(client, largeIn, stream.ProducerConfig{})
	require.NoError(b, err)
	filling := strings.Repeat("x", 92)
	for i := range size / 100 {
		require.NoError(b, p.Send(b.Context(), stream.ProducerRecord[string]{Key: fmt.Sprintf("k%07d", i), Value: filling}))
	}
	require.NoError(b, p.Flush(b.Context()))
	x := &takeover{b: b, client: client, p: p, instance: chaosInstance{
		URLs: []string{server.URL()}, Session: takeoverSession, Standby: standby, Large: true, Keep: keep,
	}}
	var took []time.Duration
	for b.Loop() {
		took = append(took, x.run())
	}
	require.NoError(b, p.Close(b.Context()))
	slices.Sort(took)
	median := took[len(took)/2]
	b.ReportMetric(float64(median.Milliseconds()), "ms")
	b.ReportMetric(float64((median - takeoverSession).Milliseconds()), "ms-over-session")
	b.ReportMetric(median.Seconds()/takeoverSession.Seconds(), "sessions")
	name := fmt.Sprintf("from SIGKILL to the successor's first record, %d MB of state %v, standby %t, against the session timeout", size/1_000_000, keep, standby)
	require.NoError(b, benchtable.Record(name, 1/median.Seconds(), 1/takeoverSession.Seconds(), "1/s"))
}

// takeover is an app of one task and two instances: a process that is to die, and this one.
type takeover struct {
	b        *testing.B
	client   *stream.Client
	p        *stream.Producer[string]
	instance chaosInstance
	rounds   int
}

// run lets the process run the task, kills it, and returns how long nobody ran the task.
func (x *takeover) run() time.Duration {
	b := x.b
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	probes, reader := x.follow(ctx)
	defer reader.Close()
	victim, survivor := x.names()
	process := x.start(victim)
	defer func() { _ = process.Process.Kill() }()
	x.probe()
	<-probes // it has worked off what there was
	topology, err := largeTopology(x.instance.Keep)
	require.NoError(b, err)
	app := processor.NewApp(x.client, topology, processor.Config{
		Instance: survivor, SessionTimeout: x.instance.Session, Standby: x.instance.Standby, StateDir: b.TempDir(),
	})
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	defer func() {
		stop()
		require.NoError(b, <-ended)
	}()
	require.Eventually(b, func() bool { return x.isThere(survivor) && x.isWarm(app.Stats()) }, 10*time.Minute, 20*time.Millisecond, "%+v", app.Stats())
	return x.kill(process, probes)
}

// names finds names of which the first one has the task.
func (x *takeover) names() (owner, other string) {
	x.rounds++
	a, z := fmt.Sprintf("a%d", x.rounds), fmt.Sprintf("z%d", x.rounds)
	task := largeIn.Name + "-0"
	if stream.Assign([]string{a, z}, []string{task})[task] == a {
		return a, z
	}
	return z, a
}

func (x *takeover) start(name string) *exec.Cmd {
	x.instance.Instance, x.instance.StateDir = name, x.b.TempDir()
	text, err := json.Marshal(x.instance)
	require.NoError(x.b, err)
	process := exec.Command(os.Args[0]) // #nosec: this very program
	process.Env = append(os.Environ(), chaosEnv+"="+string(text))
	_, err = process.StdinPipe()
	require.NoError(x.b, err)
	require.NoError(x.b, process.Start())
	return process
}

func (x *takeover) probe() {
	require.NoError(x.b, x.p.Send(x.b.Context(), stream.ProducerRecord[string]{Key: "probe", Value: "probe " + strconv.FormatInt(time.Now().UnixNano(), 10)}))
}

// follow tells when the probes that come out were sent.
func (x *takeover) follow(ctx context.Context) (<-chan int64, *stream.Reader) {
	end, err := x.client.Offsets(ctx, largeOut.Spec())
	require.NoError(x.b, err)
	probes := make(chan int64, 1<<16)
	reader, err := x.client.OpenReader(ctx, largeOut.Spec(), 0, stream.ReaderConfig{
		From: end[0].Next,
		Deliver: func(m stream.Message) {
			if sent, err := strconv.ParseInt(strings.TrimPrefix(string(m.Data), "probe "), 10, 64); err == nil {
				probes <- sent
			}
		},
		Failed: func(err error) { x.b.Errorf("read: %v", err) },
	})
	require.NoError(x.b, err)
	return probes, reader
}

func (x *takeover) isThere(instance string) bool {
	members, err := x.client.Joined(x.b.Context(), "app.large")
	require.NoError(x.b, err)
	return len(members) == 2 && slices.ContainsFunc(members, func(m stream.MemberInfo) bool { return m.Name == instance })
}

// isWarm says whether the survivor is ready for what is to come.
func (x *takeover) isWarm(tasks []processor.TaskStats) bool {
	if !x.instance.Standby {
		return true
	}
	return len(tasks) == 1 && tasks[0].State == processor.TaskFollowing && tasks[0].Restored > 0 && tasks[0].ToRestore == 0
}

// kill kills the process while probes come in, and waits for one that was sent later.
func (x *takeover) kill(process *exec.Cmd, probes <-chan int64) time.Duration {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	killed := int64(0)
	for i := 0; ; i++ {
		if i == 100 {
			require.NoError(x.b, process.Process.Kill())
			killed = time.Now().UnixNano()
			_ = process.Wait() // it was killed
		}
		x.probe()
		select {
		case sent := <-probes:
			if killed > 0 && sent >= killed {
				return time.Since(time.Unix(0, killed))
			}
		case <-tick.C:
		}
	}
}
