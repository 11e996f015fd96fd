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
	"sync/atomic"
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
// multiple of the session timeout: with and without a standby, for 10 MB of state, and with ROSSBY_CHAOS for 1 GB.
func BenchmarkTakeover(b *testing.B) {
	sizes := []int{10_000_000}
	if os.Getenv(chaosLong) != "" {
		sizes = append(sizes, 1_000_000_000)
	}
	for _, size := range sizes {
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
	for i := range 2 * size / 100 { // for two tasks
		require.NoError(b, p.Send(b.Context(), stream.ProducerRecord[string]{Key: fmt.Sprintf("k%07d", i), Value: filling}))
	}
	require.NoError(b, p.Flush(b.Context()))
	var took []time.Duration
	for b.Loop() {
		took = append(took, takeover(b, server, client, p, chaosInstance{Session: takeoverSession, Standby: standby, Large: true, Keep: keep}))
	}
	require.NoError(b, p.Close(b.Context()))
	slices.Sort(took)
	median := took[len(took)/2]
	b.ReportMetric(float64(median.Milliseconds()), "ms")
	b.ReportMetric(median.Seconds()/takeoverSession.Seconds(), "sessions")
	name := fmt.Sprintf("from SIGKILL to the successor's first record, %d MB of state %v, standby %t, against the session timeout", size/1_000_000, keep, standby)
	require.NoError(b, benchtable.Record(name, 1/median.Seconds(), 1/takeoverSession.Seconds(), "1/s"))
}

// takeover lets a process run one of the two tasks, kills it, and returns how long nobody ran the task.
func takeover(b *testing.B, server *embedded.Server, client *stream.Client, p *stream.Producer[string], i chaosInstance) time.Duration {
	topology, err := largeTopology(i.Keep)
	require.NoError(b, err)
	app := processor.NewApp(client, topology, processor.Config{SessionTimeout: i.Session, Standby: i.Standby, StateDir: b.TempDir()})
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	defer func() {
		stop()
		require.NoError(b, <-ended)
	}()
	is := func(n int, state processor.TaskState) func() bool {
		return func() bool {
			for _, s := range app.Stats() {
				caughtUp := s.Wait == processor.WaitRecords && !slices.ContainsFunc(s.Inputs, func(i processor.InputStats) bool { return i.Next <= 1 || i.Lag > 0 })
				idle := state != processor.TaskRunning || caughtUp
				warm := state != processor.TaskFollowing || s.Restored > 0 // there is something to restore, so none means that it has not begun
				if s.State == state && idle && warm && s.ToRestore == 0 {
					n--
				}
			}
			return n == 0
		}
	}
	wait := func(what string, f func() bool) {
		b.Helper()
		require.Eventually(b, f, 10*time.Minute, 20*time.Millisecond, "%s: %+v", what, app.Stats())
	}
	wait("both tasks run here", func() bool { return is(2, processor.TaskRunning)() })
	i.URLs, i.StateDir = []string{server.URL()}, b.TempDir()
	text, err := json.Marshal(i)
	require.NoError(b, err)
	other := exec.Command(os.Args[0]) // #nosec: this very program
	other.Env = append(os.Environ(), chaosEnv+"="+string(text))
	_, err = other.StdinPipe()
	require.NoError(b, err)
	require.NoError(b, other.Start())
	wait("one of them runs there", func() bool {
		return is(1, processor.TaskRunning)() && (is(1, processor.TaskFollowing)() == i.Standby)
	})
	partition := -1
	for _, s := range app.Stats() {
		if s.State == processor.TaskRunning {
			partition = 1 - s.Partition
		}
	}
	end, err := client.Offsets(b.Context(), largeOut.Spec())
	require.NoError(b, err)
	var killed atomic.Int64
	gap := make(chan time.Duration, 1)
	reader, err := client.OpenReader(b.Context(), largeOut.Spec(), partition, stream.ReaderConfig{
		From: end[partition].Next,
		Deliver: func(m stream.Message) {
			sent, err := strconv.ParseInt(strings.TrimPrefix(string(m.Data), "probe "), 10, 64)
			at := killed.Load()
			if err != nil || at == 0 || sent < at {
				return
			}
			select {
			case gap <- time.Since(time.Unix(0, at)):
			default:
			}
		},
		Failed: func(err error) { b.Errorf("read: %v", err) },
	})
	require.NoError(b, err)
	defer reader.Close()
	key := "probe"
	for i := 0; stream.Partition(key, 2) != partition; i++ {
		key = "probe-" + strconv.Itoa(i)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		if i == 100 {
			require.NoError(b, other.Process.Kill())
			killed.Store(time.Now().UnixNano())
			_ = other.Wait() // it was killed
		}
		require.NoError(b, p.Send(b.Context(), stream.ProducerRecord[string]{Key: key, Value: "probe " + strconv.FormatInt(time.Now().UnixNano(), 10)}))
		select {
		case d := <-gap:
			return d
		case <-tick.C:
		}
	}
}
