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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

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
	p := chaosPlan{lines: 15_000, atLeast: 20 * time.Second, session: 1500 * time.Millisecond, seed: rand.Uint64()}
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
	servers *chaosServers
	nc      *nats.Conn
	client  *stream.Client
	logs    string
	slots   [3]*chaosProcess
	started int
	faults  map[string]int
	atOnce  int // times that two faults met
}

// chaosProcess is an instance.
type chaosProcess struct {
	name string
	cmd  *exec.Cmd
	gate *gate
	log  *os.File
	// disturbed says that something is done to it already.
	disturbed bool
}

// TestChaosInstances runs an app as three processes on three servers, with three replicas, while processes are killed, and stopped for
// longer than their session, servers fail, leaders step down and networks break. Each line is copied once, in the order of its key; each
// word is counted once: the counts of a window are 1, 2, 3, ... in that order, and its total comes once.
func TestChaosInstances(t *testing.T) {
	t.Parallel()
	x := &chaosRun{t: t, plan: planChaos(), faults: make(map[string]int), logs: t.TempDir()}
	x.rnd = rand.New(rand.NewPCG(x.plan.seed, 0))
	t.Logf("seed %d", x.plan.seed)
	x.servers = startChaosServers(t)
	var err error
	x.nc, err = nats.Connect(strings.Join(x.servers.urls(), ","), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(x.nc.Close)
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
	underFaults := x.copied()
	x.finish()
	x.checkLogs()
	x.check()
	t.Logf("survived %v, %d times two at once; %d instances; %d of %d lines while there were faults; seed %d",
		x.faults, x.atOnce, x.started, underFaults, x.plan.lines, x.plan.seed)
}

// chaosKeyCount is how many keys lines have, by turns.
const chaosKeyCount = 50

// chaosText gives the words of a line: some that are everywhere, some that are rare.
func chaosText(i int) string { return fmt.Sprintf("common w%d-%d", i%7, i%101) }

func chaosLine(i int) stream.ProducerRecord[line] {
	// Each line says which it is, so that it can be told whether copies are in order.
	return stream.ProducerRecord[line]{Key: fmt.Sprintf("k%d", i%chaosKeyCount), Value: line{Text: fmt.Sprintf("#%08d %s", i, chaosText(i)), At: at(i)}}
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
	p := &chaosProcess{name: fmt.Sprintf("instance-%d", x.started), gate: newGate(x.t, x.servers.urls())}
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

// fault breaks something and returns what mends it. nil: there is nothing to break.
type fault func() (mend func())

// torment breaks one thing after another, sometimes two at once, until the time is over, all has been produced, and a tenth of it has been
// processed in spite of that.
func (x *chaosRun) torment(produced <-chan error) {
	x.t.Helper()
	faults := []fault{x.kill, x.kill, x.pause, x.cut, x.stall, x.killServer, x.stepDown, x.stepDown, x.leave}
	started := time.Now()
	for done := false; !done || time.Since(started) < x.plan.atLeast || x.copied() < x.plan.lines/10; {
		var mend []func()
		for range 1 + x.rnd.IntN(2) {
			if m := faults[x.rnd.IntN(len(faults))](); m != nil {
				mend = append(mend, m)
			}
		}
		if len(mend) > 1 {
			x.atOnce++
		}
		<-time.After(x.upTo(3 * x.plan.session))
		for _, m := range mend {
			m()
		}
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

// victim chooses an instance that runs undisturbed; -1: there is none.
func (x *chaosRun) victim() int {
	for _, i := range x.rnd.Perm(len(x.slots)) {
		if p := x.slots[i]; p != nil && !p.disturbed {
			p.disturbed = true
			return i
		}
	}
	return -1
}

func (x *chaosRun) kill() func() {
	i := x.victim()
	x.end(i, syscall.SIGKILL)
	x.faults["SIGKILL"]++
	return func() { x.start(i) }
}

func (x *chaosRun) leave() func() {
	i := x.victim()
	x.end(i, syscall.SIGTERM)
	x.faults["SIGTERM"]++
	return func() { x.start(i) }
}

// pause stops a process for longer than its session, so that it wakes as a zombie.
func (x *chaosRun) pause() func() {
	p := x.slots[x.victim()]
	require.NoError(x.t, p.cmd.Process.Signal(syscall.SIGSTOP))
	awake := time.After(x.plan.session + x.upTo(x.plan.session))
	x.faults["SIGSTOP past the session"]++
	return func() {
		<-awake
		require.NoError(x.t, p.cmd.Process.Signal(syscall.SIGCONT))
		p.disturbed = false
	}
}

func (x *chaosRun) cut() func() {
	p := x.slots[x.victim()]
	p.gate.refuse()
	x.faults["network cut"]++
	return func() { p.gate.open(); p.disturbed = false }
}

func (x *chaosRun) stall() func() {
	p := x.slots[x.victim()]
	p.gate.stall()
	x.faults["network stalled"]++
	return func() { p.gate.open(); p.disturbed = false }
}

func (x *chaosRun) killServer() func() {
	i := x.rnd.IntN(3)
	if x.servers.servers[i].cmd == nil {
		return nil
	}
	x.servers.kill(i)
	x.faults["server killed"]++
	return func() { x.servers.start(i); x.servers.waitHealthy(i) }
}

// stepDown takes the leader from some streams: of topics, journals, or the members.
func (x *chaosRun) stepDown() func() {
	js, err := jetstream.New(x.nc)
	require.NoError(x.t, err)
	ctx, cancel := context.WithTimeout(x.t.Context(), 5*time.Second)
	defer cancel()
	var names []string
	for name := range js.StreamNames(ctx).Name() {
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil // the servers are looking for a leader of their own
	}
	for range 1 + x.rnd.IntN(6) {
		// Whether there is one that can step down is the servers' business.
		_, _ = x.nc.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+names[x.rnd.IntN(len(names))], nil)
	}
	x.faults["leader step-down"]++
	return nil
}

// copied is how many lines have been processed.
func (x *chaosRun) copied() (n int) {
	x.t.Helper()
	offsets, err := x.client.Offsets(x.t.Context(), chaosCopies.Spec())
	require.NoError(x.t, err)
	for _, o := range offsets {
		n += int(o.Records)
	}
	return n
}

// checkLogs looks for what an instance cannot tell any more when it is killed.
func (x *chaosRun) checkLogs() {
	x.t.Helper()
	for i := range x.started {
		name := fmt.Sprintf("instance-%d.log", i+1)
		text, err := os.ReadFile(filepath.Join(x.logs, name))
		require.NoError(x.t, err)
		for _, bad := range []string{"DATA RACE", "panic: ", "fatal error: "} {
			require.False(x.t, bytes.Contains(text, []byte(bad)), "%s: %s", name, bad)
		}
	}
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

// cell is a count of a key in a window.
type cell struct {
	key   string
	start int64
}

func (c cell) in(at time.Time) cell {
	c.start = at.Truncate(chaosWindow).UnixNano()
	return c
}

// check compares what there is with what there should be.
func (x *chaosRun) check() {
	x.t.Helper()
	words, keys := make(map[cell]int64), make(map[cell]int64)
	rare := 0
	for i := range x.plan.lines {
		l := chaosLine(i)
		keys[cell{key: l.Key}.in(l.Value.At)]++
		for _, w := range chaosWords(l.Value.Text) {
			words[cell{key: w}.in(l.Value.At)]++
			if strings.HasPrefix(w, "w0-") {
				rare++
			}
		}
	}
	require.Equal(x.t, x.plan.lines, x.checkOrder(chaosCopies, true))
	require.Equal(x.t, rare, x.checkOrder(chaosRare, false))
	updates := x.checkUpdates(words)
	x.checkTotals(chaosTotals, words)
	x.checkTotals(chaosKeys, keys)
	ever, counted := make(map[string]int64), 0
	records := all(x.t, x.client, chaosEver)
	for _, r := range records {
		if ever[r.Key]+1 != r.Value {
			require.Fail(x.t, "lost, doubled or out of order", "word %q: %d after %d:%s", r.Key, r.Value, ever[r.Key], historyOf(r, records))
		}
		ever[r.Key] = r.Value
		counted++
	}
	require.Equal(x.t, updates, counted)
	x.t.Logf("%d lines, %d rare words, %d counts, %d totals on disk, %d totals of keys, %d counts on disk, each once and in order",
		x.plan.lines, rare, updates, len(words), len(keys), counted)
}

// historyOf shows the records of a key around an offset: by their ids and places it can be told whether a delivery has come twice, or state has gone back.
func historyOf[V any](r stream.Record[V], records []stream.Record[V]) string {
	const around = 3000
	var text strings.Builder
	for _, o := range records {
		if o.Key == r.Key && o.Partition == r.Partition && o.Offset+around > r.Offset && o.Offset < r.Offset+around {
			fmt.Fprintf(&text, "\n%v at %d %v", o.Value, o.Offset, o.Headers)
		}
	}
	return text.String()
}

// checkOrder makes sure that the lines of a key, or words of the lines of a key, are in the order in which the lines of that key were sent; whole says
// that none of these is missing.
func (x *chaosRun) checkOrder(topic stream.Topic[string], whole bool) (records int) {
	x.t.Helper()
	type flow struct {
		key  string
		line int // of which key the line was
	}
	last := make(map[flow]int)
	all := all(x.t, x.client, topic)
	for _, r := range all {
		var i int
		_, err := fmt.Sscanf(r.Value, "#%d ", &i)
		require.NoError(x.t, err)
		f := flow{r.Key, i % chaosKeyCount}
		before, ok := last[f]
		if !ok {
			before = f.line - chaosKeyCount
		}
		if i != before+chaosKeyCount && (whole || i <= before) {
			require.Fail(x.t, "lost, doubled or out of order", "%s: key %s: line %d after %d:%s", topic.Name, r.Key, i, before, historyOf(r, all))
		}
		last[f] = i
		records++
	}
	return records
}

// checkUpdates makes sure that the counts of each cell are 1, 2, 3, ...
func (x *chaosRun) checkUpdates(want map[cell]int64) (updates int) {
	x.t.Helper()
	got := make(map[cell]int64)
	for _, r := range all(x.t, x.client, chaosCounts) {
		c := cell{r.Key, r.Value.Start.UnixNano()}
		require.Equal(x.t, got[c]+1, r.Value.N, "word %q in the window of %v: lost, doubled or out of order", r.Key, r.Value.Start)
		got[c] = r.Value.N
		updates++
	}
	require.Equal(x.t, want, got)
	return updates
}

// checkTotals makes sure that each window has had one total.
func (x *chaosRun) checkTotals(topic stream.Topic[windowCount], want map[cell]int64) {
	x.t.Helper()
	got := make(map[cell]int64)
	for _, r := range all(x.t, x.client, topic) {
		c := cell{r.Key, r.Value.Start.UnixNano()}
		require.Zero(x.t, got[c], "%s: %q in the window of %v has two totals", topic.Name, r.Key, r.Value.Start)
		got[c] = r.Value.N
	}
	require.Equal(x.t, want, got, topic.Name)
}
