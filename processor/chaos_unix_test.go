//go:build unix

package processor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// chaosPlan says how much a run is to go through.
type chaosPlan struct {
	lines   int
	atLeast time.Duration // of faults
	session time.Duration
	seed    uint64
}

func planChaos() chaosPlan {
	p := chaosPlan{lines: 30_000, atLeast: 20 * time.Second, session: 1500 * time.Millisecond, seed: rand.Uint64()}
	if os.Getenv(chaosLong) != "" {
		p.lines, p.atLeast = 1_000_000, 2*time.Minute
	}
	return p
}

// chaosRun is a cluster, an app of three processes on it, and what has been done to them.
type chaosRun struct {
	t       *testing.T
	plan    chaosPlan
	rnd     *rand.Rand
	cluster *embedded.Cluster
	nc      *nats.Conn
	client  *stream.Client
	logs    string
	slots   [3]*chaosProcess
	started int
	faults  map[string]int
}

// chaosProcess is an instance.
type chaosProcess struct {
	name string
	cmd  *exec.Cmd
	gate *gate
	log  *os.File
}

// TestChaosInstances runs an app as three processes on three servers, with three replicas, while processes are killed, and stopped for
// longer than their session, servers fail, leaders step down and networks break. Each line is copied once, in the order of its key; each
// word is counted once: the counts of a window are 1, 2, 3, ... in that order, and its total comes once.
func TestChaosInstances(t *testing.T) {
	x := &chaosRun{t: t, plan: planChaos(), faults: make(map[string]int), logs: t.TempDir()}
	x.rnd = rand.New(rand.NewPCG(x.plan.seed, 0))
	x.cluster = embeddedtest.StartCluster(t, 3)
	x.nc = embeddedtest.ConnectToCluster(t, x.cluster, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	var err error
	x.client, err = stream.NewClient(x.nc, stream.Config{Replicas: 3})
	require.NoError(t, err)
	require.NoError(t, x.client.CreateTopic(t.Context(), chaosLines.Spec()))
	t.Cleanup(x.tidy)
	for i := range x.slots {
		x.start(i)
	}
	produced := make(chan error, 1)
	go func() { produced <- x.produce() }()
	x.torment(produced)
	x.finish()
	x.check()
}

// chaosText gives the words of a line: some that are everywhere, some that are rare.
func chaosText(i int) string { return fmt.Sprintf("common w%d-%d", i%7, i%101) }

func chaosLine(i int) stream.ProducerRecord[line] {
	// Each line says which it is, so that it can be told whether copies are in order.
	return stream.ProducerRecord[line]{Key: fmt.Sprintf("k%d", i%50), Value: line{Text: fmt.Sprintf("#%08d %s", i, chaosText(i)), At: at(i)}}
}

// produce sends the lines, over at least the time that the faults are to last.
func (x *chaosRun) produce() error {
	p, err := stream.NewProducer(x.client, chaosLines, stream.ProducerConfig{})
	if err != nil {
		return err
	}
	ctx := x.t.Context()
	started := time.Now()
	for i := range x.plan.lines {
		if err := p.Send(ctx, chaosLine(i)); err != nil {
			return err
		}
		due := time.Duration(float64(x.plan.atLeast) * float64(i) / float64(x.plan.lines))
		if ahead := due - time.Since(started); ahead > 20*time.Millisecond {
			<-time.After(ahead)
		}
	}
	return p.Close(ctx)
}

// start runs an instance in a slot that is free.
func (x *chaosRun) start(slot int) {
	x.t.Helper()
	x.started++
	p := &chaosProcess{name: fmt.Sprintf("instance-%d", x.started), gate: newGate(x.t, x.cluster.URLs())}
	state := filepath.Join(x.logs, fmt.Sprintf("state-%d", slot)) // who comes next in this slot finds what this one has left
	text, err := json.Marshal(chaosInstance{URLs: p.gate.urls, Session: x.plan.session, Standby: true, StateDir: state})
	require.NoError(x.t, err)
	p.log, err = os.Create(filepath.Join(x.logs, p.name+".log"))
	require.NoError(x.t, err)
	p.cmd = exec.Command(os.Args[0]) // #nosec: this very program
	p.cmd.Env = append(os.Environ(), chaosEnv+"="+string(text))
	p.cmd.Stderr = p.log
	_, err = p.cmd.StdinPipe() // its end tells the process when this one has died
	require.NoError(x.t, err)
	require.NoError(x.t, p.cmd.Start())
	x.slots[slot] = p
}

// end ends the instance in a slot with a signal, and frees the slot.
func (x *chaosRun) end(slot int, how syscall.Signal) {
	x.t.Helper()
	p := x.slots[slot]
	x.slots[slot] = nil
	signalled := p.cmd.Process.Signal(how)
	err := p.cmd.Wait()
	p.gate.close()
	require.NoError(x.t, p.log.Close())
	require.NoError(x.t, signalled, "%s has ended by itself: %v", p.name, err)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() {
		return // killed, or asked to stop before it could hear that
	}
	if said, readErr := os.ReadFile(p.log.Name()); err != nil && readErr == nil && bytes.Contains(said, []byte("(Config.StopTimeout)")) {
		x.faults["SIGTERM while nothing could be committed"]++
		return
	}
	require.NoError(x.t, err, p.name)
}

// tidy leaves no process behind, and shows the logs of a run that has failed.
func (x *chaosRun) tidy() {
	for i, p := range x.slots {
		if p != nil {
			x.slots[i] = nil
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
			p.gate.close()
		}
	}
	if !x.t.Failed() {
		return
	}
	x.t.Logf("seed %d, faults %v", x.plan.seed, x.faults)
	for i := range x.started {
		data, err := os.ReadFile(filepath.Join(x.logs, fmt.Sprintf("instance-%d.log", i+1)))
		x.t.Logf("instance-%d: %v\n%s", i+1, err, data[max(0, len(data)-5000):])
	}
}

// torment does one thing after another until the time is over and all has been produced.
func (x *chaosRun) torment(produced <-chan error) {
	x.t.Helper()
	faults := []func(){x.kill, x.kill, x.pause, x.cut, x.stall, x.stopServer, x.stepDown, x.stepDown, x.leave}
	started := time.Now()
	for done := false; !done || time.Since(started) < x.plan.atLeast; {
		faults[x.rnd.IntN(len(faults))]()
		select {
		case err := <-produced:
			require.NoError(x.t, err)
			done = true
			produced = nil
		case <-time.After(x.upTo(time.Second)):
		}
	}
}

func (x *chaosRun) upTo(d time.Duration) time.Duration { return time.Duration(x.rnd.Int64N(int64(d))) }

func (x *chaosRun) kill() {
	i := x.rnd.IntN(len(x.slots))
	x.end(i, syscall.SIGKILL)
	<-time.After(x.upTo(2 * x.plan.session))
	x.start(i)
	x.faults["SIGKILL"]++
}

func (x *chaosRun) leave() {
	i := x.rnd.IntN(len(x.slots))
	x.end(i, syscall.SIGTERM)
	<-time.After(x.upTo(x.plan.session))
	x.start(i)
	x.faults["SIGTERM"]++
}

// pause stops a process for longer than its session, so that it wakes as a zombie.
func (x *chaosRun) pause() {
	p := x.slots[x.rnd.IntN(len(x.slots))]
	require.NoError(x.t, p.cmd.Process.Signal(syscall.SIGSTOP))
	<-time.After(x.plan.session + x.upTo(2*x.plan.session))
	require.NoError(x.t, p.cmd.Process.Signal(syscall.SIGCONT))
	x.faults["SIGSTOP past the session"]++
}

func (x *chaosRun) cut() {
	p := x.slots[x.rnd.IntN(len(x.slots))]
	p.gate.refuse()
	<-time.After(x.upTo(2 * x.plan.session))
	p.gate.open()
	x.faults["network cut"]++
}

func (x *chaosRun) stall() {
	p := x.slots[x.rnd.IntN(len(x.slots))]
	p.gate.stall()
	<-time.After(x.upTo(3 * x.plan.session))
	p.gate.open()
	x.faults["network stalled"]++
}

func (x *chaosRun) stopServer() {
	i := x.rnd.IntN(3)
	require.NoError(x.t, x.cluster.StopServer(i))
	<-time.After(x.upTo(2 * x.plan.session))
	ctx, cancel := context.WithTimeout(x.t.Context(), time.Minute)
	defer cancel()
	require.NoError(x.t, x.cluster.RestartServer(ctx, i))
	x.faults["server stopped"]++
}

// stepDown takes the leader from some streams: of topics, journals, or the members.
func (x *chaosRun) stepDown() {
	js, err := jetstream.New(x.nc)
	require.NoError(x.t, err)
	ctx, cancel := context.WithTimeout(x.t.Context(), 5*time.Second)
	defer cancel()
	var names []string
	for name := range js.StreamNames(ctx).Name() {
		names = append(names, name)
	}
	if len(names) == 0 {
		return // the servers are looking for a leader of their own
	}
	for range 1 + x.rnd.IntN(6) {
		// Whether there is one that can step down is the servers' business.
		_, _ = x.nc.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+names[x.rnd.IntN(len(names))], nil)
	}
	x.faults["leader step-down"]++
}

// finish lets the instances leave, and processes what is left.
func (x *chaosRun) finish() {
	x.t.Helper()
	for i := range x.slots {
		x.end(i, syscall.SIGTERM)
	}
	topology, err := chaosTopology()
	require.NoError(x.t, err)
	require.NoError(x.t, processor.NewApp(x.client, topology, processor.Config{Bounded: true, StateDir: x.t.TempDir()}).Run(x.t.Context()))
}

// check compares what there is with what there should be.
func (x *chaosRun) check() {
	x.t.Helper()
	type cell struct {
		word  string
		start int64
	}
	want := make(map[cell]int64)
	copies := 0
	for i := range x.plan.lines {
		l := chaosLine(i).Value
		for _, w := range chaosWords(l.Text) {
			want[cell{w, l.At.Truncate(chaosWindow).UnixNano()}]++
		}
	}
	last := make(map[string]int)
	for _, r := range all(x.t, x.client, chaosCopies) {
		var i int
		_, err := fmt.Sscanf(r.Value, "#%d ", &i)
		require.NoError(x.t, err)
		before, ok := last[r.Key]
		require.Equal(x.t, chaosLine(i).Key, r.Key)
		require.True(x.t, ok && i == before+50 || !ok && i < 50, "key %s: line %d after %d", r.Key, i, before)
		last[r.Key] = i
		copies++
	}
	require.Equal(x.t, x.plan.lines, copies)
	got := make(map[cell]int64)
	updates := 0
	for _, r := range all(x.t, x.client, chaosCounts) {
		c := cell{r.Key, r.Value.Start.UnixNano()}
		require.Equal(x.t, got[c]+1, r.Value.N, "word %q in the window of %v: lost, doubled or out of order", r.Key, r.Value.Start)
		got[c] = r.Value.N
		updates++
	}
	require.Equal(x.t, want, got)
	clear(got)
	for _, r := range all(x.t, x.client, chaosTotals) {
		c := cell{r.Key, r.Value.Start.UnixNano()}
		require.Zero(x.t, got[c], "word %q in the window of %v has two totals", r.Key, r.Value.Start)
		got[c] = r.Value.N
	}
	require.Equal(x.t, want, got)
	ever, counted := make(map[string]int64), 0
	for _, r := range all(x.t, x.client, chaosEver) {
		require.Equal(x.t, ever[r.Key]+1, r.Value, "word %q: lost, doubled or out of order", r.Key)
		ever[r.Key] = r.Value
		counted++
	}
	require.Equal(x.t, updates, counted)
	x.t.Logf("survived %v; %d instances; %d lines, %d copies, %d counts, %d totals, %d counts on disk, each once and in order; seed %d",
		x.faults, x.started, x.plan.lines, copies, updates, len(got), counted, x.plan.seed)
}
