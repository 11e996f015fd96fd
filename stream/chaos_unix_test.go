//go:build unix

package stream_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// chaosSession is short, so that a test sees many deaths.
const chaosSession = 1500 * time.Millisecond

// chaos is a topic that is written all the time, and two groups of processes that read it:
// "least" commits, "once" stores its positions with its results.
type chaos struct {
	t     *testing.T
	c     *stream.Client
	js    jetstream.JetStream
	spec  memberSpec // what all have in common
	pipe  *os.File
	ended chan struct{} // closed when the pipe is read to its end
	count int           // of processes ever

	mu      sync.Mutex
	members map[string]*process
	ledger  map[string]*groupLedger
	wrong   []string
	stop    context.CancelFunc
	sent    chan int // how many records were acknowledged
}

type process struct {
	memberSpec
	cmd    *exec.Cmd
	zombie bool           // it has been stopped: what it says may be late
	next   map[int]uint64 // what it has to read next
	holds  map[int]bool
	killed bool
}

// groupLedger is what a group has done.
type groupLedger struct {
	read                               map[int]map[uint64]int // partition, offset: how often
	committed                          map[int]uint64
	delivered, refused, lost, assigned int
}

func startChaos(t *testing.T, nc *nats.Conn, spec memberSpec) *chaos {
	t.Helper()
	c, err := stream.NewClient(nc, stream.Config{Replicas: spec.Replicas})
	require.NoError(t, err)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	createTopic(t, c, numbers.Spec())
	_, err = js.CreateStream(testContext(t), jetstream.StreamConfig{Name: "results", Subjects: []string{"results.*"}, Replicas: spec.Replicas})
	require.NoError(t, err)
	from, to, err := os.Pipe()
	require.NoError(t, err)
	x := &chaos{
		t: t, c: c, js: js, spec: spec, pipe: to, ended: make(chan struct{}),
		members: make(map[string]*process), ledger: make(map[string]*groupLedger), sent: make(chan int, 1),
	}
	for _, group := range []string{"least", "once"} {
		x.ledger[group] = &groupLedger{read: make(map[int]map[uint64]int), committed: make(map[int]uint64)}
	}
	go func() {
		defer close(x.ended)
		defer func() { _ = from.Close() }()
		for lines := bufio.NewScanner(from); lines.Scan(); {
			x.hear(lines.Bytes())
		}
	}()
	run, stop := context.WithCancel(t.Context())
	x.stop = stop
	go func() { x.sent <- x.produce(run) }()
	t.Cleanup(func() {
		stop()
		for _, p := range x.alive("") {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		_ = to.Close()
		<-x.ended
	})
	return x
}

// produce sends numbered records of a hundred keys until ctx ends, and gives how many
// were acknowledged, which are all.
func (x *chaos) produce(ctx context.Context) int {
	p, err := stream.NewProducer(x.c, numbers, stream.ProducerConfig{})
	n := 0
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for err == nil && ctx.Err() == nil {
		for range 20 {
			if err = p.Send(context.Background(), stream.ProducerRecord[string]{Key: fmt.Sprint("k", n%100), Value: fmt.Sprint(n), ID: fmt.Sprint("n", n)}); err != nil {
				break
			}
			n++
		}
		<-tick.C
	}
	end, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err == nil {
		err = p.Flush(end)
	}
	if err == nil {
		err = p.Close(end)
	}
	if err != nil {
		x.t.Errorf("the producer failed: %v", err)
	}
	return n
}

// hear takes in one line of a member, and checks it.
func (x *chaos) hear(line []byte) {
	var e memberEvent
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := json.Unmarshal(line, &e); err != nil {
		x.wrong = append(x.wrong, string(line))
		return
	}
	p := x.members[e.Who]
	g := x.ledger[p.Group]
	switch e.Kind {
	case "assigned", "seek":
		if e.Kind == "assigned" {
			g.assigned++
			if !p.zombie && e.Next < g.committed[e.Part] {
				x.wrong = append(x.wrong, fmt.Sprintf("%s begins at %d behind the commit %d: %s", e.Who, e.Next, g.committed[e.Part], line))
			}
		}
		p.next[e.Part] = e.Next
		p.holds[e.Part] = true
	case "read":
		if p.next[e.Part] != e.First {
			x.wrong = append(x.wrong, fmt.Sprintf("%s should read %d: %s", e.Who, p.next[e.Part], line))
		}
		p.next[e.Part] = e.Next
		if g.read[e.Part] == nil {
			g.read[e.Part] = make(map[uint64]int)
		}
		for o := e.First; o < e.Next; o++ {
			g.read[e.Part][o]++
			g.delivered++
		}
	case "committed":
		g.committed[e.Part] = max(g.committed[e.Part], e.Next)
	case "refused":
		g.refused++
	case "lost":
		g.lost++
		p.zombie = false
		delete(p.holds, e.Part)
	default:
		if !p.killed {
			x.wrong = append(x.wrong, string(line))
		}
	}
}

// join starts a member.
func (x *chaos) join(group string) *process {
	x.t.Helper()
	x.count++
	p := &process{memberSpec: x.spec, next: make(map[int]uint64), holds: make(map[int]bool)}
	p.Name, p.Group, p.Results = fmt.Sprint(group, x.count), group, group == "once"
	text, err := json.Marshal(p.memberSpec)
	require.NoError(x.t, err)
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), memberEnv+"="+string(text))
	p.cmd.Stdout, p.cmd.Stderr = x.pipe, os.Stderr
	x.mu.Lock()
	x.members[p.Name] = p
	x.mu.Unlock()
	_, err = p.cmd.StdinPipe() // its end tells the process when this one has died
	require.NoError(x.t, err)
	require.NoError(x.t, p.cmd.Start())
	return p
}

func (x *chaos) alive(group string) []*process {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []*process
	for _, p := range x.members {
		if !p.killed && (group == "" || p.Group == group) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *process) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// end kills a member, or asks it to leave.
func (x *chaos) end(p *process, how syscall.Signal) {
	x.t.Helper()
	require.NoError(x.t, p.cmd.Process.Signal(how))
	hangs := time.AfterFunc(patience, func() { _ = p.cmd.Process.Signal(syscall.SIGQUIT) }) // it says where
	err := p.cmd.Wait()
	hangs.Stop()
	x.mu.Lock()
	p.killed = true
	x.mu.Unlock()
	if how == syscall.SIGTERM {
		require.NoError(x.t, err, "%s leaves", p.Name)
	}
}

// progress waits until the group has committed in every partition from now on.
func (x *chaos) progress(groups ...string) {
	x.t.Helper()
	x.mu.Lock()
	before := make(map[string]map[int]uint64)
	for _, group := range groups {
		before[group] = make(map[int]uint64)
		for p, o := range x.ledger[group].committed {
			before[group][p] = o
		}
	}
	x.mu.Unlock()
	eventually(x.t, "all partitions are read on", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		for _, group := range groups {
			for p := range numbers.Partitions {
				if x.ledger[group].committed[p] <= before[group][p] {
					return false
				}
			}
		}
		return true
	})
}

// pause stops a member for longer than its session, until others have what it had.
func (x *chaos) pause(p *process) {
	x.t.Helper()
	x.mu.Lock()
	p.zombie = true
	x.mu.Unlock()
	require.NoError(x.t, p.cmd.Process.Signal(syscall.SIGSTOP))
	x.progress(p.Group)
	require.NoError(x.t, p.cmd.Process.Signal(syscall.SIGCONT))
}

// finish ends the producer, waits until the groups have everything, and compares.
func (x *chaos) finish() {
	x.t.Helper()
	x.stop()
	sent := <-x.sent
	ends := make([]uint64, numbers.Partitions)
	last := map[string]string{}
	stored := 0
	for p := range ends {
		msgs := readAll(x.t, x.c, numbers.Spec(), p)
		ends[p] = uint64(len(msgs))
		stored += len(msgs)
		for _, m := range msgs {
			v := string(m.Data)
			require.True(x.t, len(v) > len(last[m.Key]) || len(v) == len(last[m.Key]) && v > last[m.Key], "key %s: %s after %s", m.Key, v, last[m.Key])
			last[m.Key] = v
		}
	}
	require.Equal(x.t, sent, stored, "acknowledged and stored")
	eventually(x.t, "the groups have everything", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		for _, g := range x.ledger {
			for p, end := range ends {
				if g.committed[p] != end+1 {
					return false
				}
			}
		}
		return true
	})
	for _, p := range x.alive("") {
		x.end(p, syscall.SIGTERM)
	}
	x.requireResults(ends)
	x.mu.Lock()
	defer x.mu.Unlock()
	require.Empty(x.t, x.wrong)
	for name, g := range x.ledger {
		distinct := 0
		for p, end := range ends {
			for o := uint64(1); o <= end; o++ {
				require.NotZero(x.t, g.read[p][o], "group %s never read offset %d of partition %d", name, o, p)
			}
			distinct += len(g.read[p])
		}
		x.t.Logf("group %s: %d produced, %d delivered, %d read, %d duplicates, %d commits refused, %d assignments, %d lost",
			name, sent, g.delivered, distinct, g.delivered-distinct, g.refused, g.assigned, g.lost)
	}
}

// requireResults makes sure that the stored results have each record exactly once, in order.
func (x *chaos) requireResults(ends []uint64) {
	x.t.Helper()
	ctx := testContext(x.t)
	var all []*jetstream.RawStreamMsg
	for more := true; more; {
		require.NoError(x.t, insist(ctx, func() error { // a server may just have come back
			one, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			results, err := x.js.Stream(one, "results")
			if err != nil {
				return err
			}
			m, err := results.GetMsg(one, uint64(len(all)+1))
			if more = !errors.Is(err, jetstream.ErrMsgNotFound); more && err == nil {
				all = append(all, m)
			}
			if !more {
				return nil
			}
			return err
		}))
	}
	next := make(map[string]uint64)
	for _, m := range all {
		var r result
		require.NoError(x.t, json.Unmarshal(m.Data, &r))
		require.Equal(x.t, max(next[m.Subject], 1), r.First, "results of %s", m.Subject)
		next[m.Subject] = r.Next
	}
	for p, end := range ends {
		require.Equal(x.t, end+1, next[fmt.Sprint("results.", p)])
	}
	x.t.Logf("%d results say each record once", len(all))
}

// TestChaosMembers kills every member of two groups in turn, and pauses one of each
// for longer than its session.
func TestChaosMembers(t *testing.T) {
	t.Parallel()
	s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	x := startChaos(t, embeddedtest.ConnectTo(t, s), memberSpec{URLs: s.URL(), Session: chaosSession})
	groups := []string{"least", "once"}
	for _, group := range groups {
		x.join(group)
		x.join(group)
	}
	x.progress(groups...)
	for _, group := range groups {
		for _, p := range x.alive(group) {
			x.end(p, syscall.SIGKILL)
			x.join(group)
			x.progress(group)
		}
		x.pause(x.alive(group)[0])
		x.progress(group)
		x.end(x.alive(group)[1], syscall.SIGTERM)
		x.progress(group)
	}
	x.finish()
}

// TestChaosCluster does so on three servers with three replicas, while leaders step down
// and a server is killed and comes back.
func TestChaosCluster(t *testing.T) {
	t.Parallel()
	cluster := embeddedtest.StartCluster(t, 3)
	nc := embeddedtest.ConnectToCluster(t, cluster, reconnecting()...)
	x := startChaos(t, nc, memberSpec{URLs: strings.Join(cluster.URLs(), ","), Replicas: 3, Session: 2 * chaosSession})
	groups := []string{"least", "once"}
	for _, group := range groups {
		x.join(group)
		x.join(group)
	}
	x.progress(groups...)
	for _, name := range []string{"_rossby-groups", "numbers-0", "numbers-1"} {
		ctx := testContext(t)
		_, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+name, nil)
		require.NoError(t, err)
	}
	x.end(x.alive("least")[0], syscall.SIGKILL)
	x.join("least")
	x.progress(groups...)
	require.NoError(t, cluster.StopServer(1))
	x.end(x.alive("once")[0], syscall.SIGKILL)
	x.join("once")
	x.progress(groups...)
	require.NoError(t, cluster.RestartServer(testContext(t), 1))
	x.pause(x.alive("once")[0])
	x.pause(x.alive("least")[0])
	x.end(x.alive("least")[1], syscall.SIGTERM)
	x.progress(groups...)
	x.finish()
}
