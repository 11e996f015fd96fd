package processor_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// crashScene is what happens while an instance dies.
type crashScene struct {
	name   string
	play   func(x *crashRun, d *deathAt)
	steps  []string         // patterns of those that it is about, at which it must have died: see deathAt.step
	keep   processor.Medium // where the state is
	config processor.Config
	// variant says that the scene is another one, with another configuration: it dies at the steps that it is about, and with ROSSBY_CHAOS at all.
	variant bool
}

const (
	stepCommit    = "_rossby.journal.app-by-word-0-journal"
	stepPass      = "app-by-word.0.batch" // a delivery to a repartition topic
	stepDeliver   = "app-out.0.*"
	stepTrim      = "STREAM.PURGE.app-app-in-0-journal"
	stepPurge     = "STREAM.PURGE.app-by-word-0"
	stepOffsets   = "CONSUMER.RESET.app-in-0.app"
	stepRestore   = "CONSUMER.MSG.NEXT.app-*-journal.*"
	stepClaim     = "_rossby.groups.app.app.c.*"
	stepHeartbeat = "_rossby.groups.app.app.m.*"
)

var crashScenes = []crashScene{
	{
		name:  "an instance begins, processes, commits, delivers, trims and leaves",
		play:  workAndLeave,
		steps: []string{stepCommit, stepPass, stepDeliver, stepTrim, stepPurge, stepOffsets, stepClaim, stepHeartbeat},
	},
	{
		name: "an instance restores what another one has left, with records that were not delivered",
		play: func(x *crashRun, d *deathAt) {
			x.send(0, crashLines/2)
			first := &deathAt{app: x.name, point: crashPoint{step: stepDeliver, n: 10, after: true}}
			x.start(first)
			x.until(crashLines, first)
			x.start(d)
			x.send(crashLines/2, crashLines)
			x.until(2*crashLines, d)
		},
		steps: []string{stepRestore, stepCommit, stepDeliver, stepClaim},
	},
	{name: "an instance gives a task to another one", play: giveAndTake(true), steps: []string{stepCommit, stepClaim}},
	{name: "an instance warms up and takes a task", play: giveAndTake(false), steps: []string{stepRestore, stepClaim}},
	{
		name:    "an instance dies whose tasks are followed",
		play:    giveAndTake(true),
		steps:   []string{stepCommit, stepDeliver, stepClaim},
		config:  processor.Config{Standby: true},
		variant: true,
	},
	{
		name:    "an instance has its state on disk",
		play:    workAndLeave,
		steps:   []string{stepCommit, stepDeliver, stepTrim},
		keep:    processor.OnDisk,
		variant: true,
	},
	{
		name:    "an instance delivers at least once",
		play:    workAndLeave,
		steps:   []string{stepCommit, stepDeliver},
		config:  processor.Config{Guarantee: processor.AtLeastOnce},
		variant: true,
	},
}

func workAndLeave(x *crashRun, d *deathAt) {
	x.send(0, crashLines/2)
	x.start(d)
	x.until(crashLines, d)
	x.send(crashLines/2, crashLines)
	x.until(2*crashLines, d)
	x.untilPurged(d)
	x.stop(0)
}

// giveAndTake begins with one instance, which gives one of the two tasks to a second one: the first or the second of them may die. Whoever is left
// does all the work.
func giveAndTake(firstDies bool) func(x *crashRun, d *deathAt) {
	return func(x *crashRun, d *deathAt) {
		lives := &deathAt{app: x.name}
		first, second := d, lives
		if !firstDies {
			first, second = lives, d
		}
		x.send(0, crashLines/2)
		x.start(first)
		x.until(crashLines, d)
		x.untilRuns(x.start(second), d)
		x.send(crashLines/2, crashLines)
		x.until(2*crashLines, lives)
	}
}

// crashRun is one app on a server that it shares with others.
type crashRun struct {
	t      *testing.T
	scene  *crashScene
	name   string
	server *embedded.Server
	client *stream.Client
	dir    string
	ended  []chan error
	stops  []context.CancelFunc
}

// crashLines is how many lines there are, and two words in each.
const crashLines = 60

func (x *crashRun) in() stream.Topic[string] {
	return stream.Topic[string]{Name: x.name + "-in", Partitions: 1}
}

func (x *crashRun) out() stream.Topic[int64] {
	return stream.Topic[int64]{Name: x.name + "-out", Partitions: 1}
}

func crashLine(i int) string { return fmt.Sprintf("all w%d", i%7) }

func (x *crashRun) topology() *processor.Topology {
	x.t.Helper()
	b := processor.NewBuilder(x.name)
	words := processor.FlatMap(processor.From(b, x.in()), func(line string) []string {
		words := strings.Fields(line)
		words[0] += strings.Repeat(" ", 3000) // journals grow until they are trimmed
		return words
	})
	word := processor.KeyBy(words, "by-word", strings.TrimSpace)
	processor.Count(word, processor.Counting{Name: "count", Keep: x.scene.keep}).To(x.out())
	topology, err := b.Build()
	require.NoError(x.t, err)
	return topology
}

func (x *crashRun) config() processor.Config {
	cfg := x.scene.config
	cfg.SessionTimeout = 500 * time.Millisecond
	cfg.StateDir = x.dir
	return cfg
}

// start runs an instance whose connection dies as d says.
func (x *crashRun) start(d *deathAt) *processor.App {
	x.t.Helper()
	app := new(processor.App)
	done := make(chan error, 1)
	ctx, stop := context.WithCancel(x.t.Context())
	x.ended, x.stops = append(x.ended, done), append(x.stops, stop)
	client, err := x.connect(d)
	if err != nil {
		require.True(x.t, d.died(), "connect: %v", err)
		done <- err
		return app
	}
	cfg := x.config()
	cfg.Logger = zaptest.NewLogger(x.t).Named(strconv.Itoa(len(x.ended)))
	app = processor.NewApp(client, x.topology(), cfg)
	go func() { done <- app.Run(ctx) }()
	return app
}

func (x *crashRun) connect(d *deathAt) (*stream.Client, error) {
	x.t.Helper()
	nc, err := nats.Connect(x.server.URL(), nats.SetCustomDialer(d), nats.NoReconnect(), nats.Timeout(time.Minute),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return nil, err
	}
	x.t.Cleanup(nc.Close)
	return stream.NewClient(nc, stream.Config{})
}

// stop ends an instance, unless it has died.
func (x *crashRun) stop(i int) {
	x.t.Helper()
	x.stops[i]()
	select {
	case <-x.ended[i]: // whatever it says: it may have died
	case <-time.After(time.Minute):
		require.Fail(x.t, "an instance does not end")
	}
	x.ended[i] <- nil
}

func (x *crashRun) eventually(d *deathAt, done func() bool) {
	x.t.Helper()
	require.Eventually(x.t, func() bool { return d.died() || done() }, time.Minute, 10*time.Millisecond)
}

// untilRuns waits until the instance that was started last runs one of the two tasks, or d has died.
func (x *crashRun) untilRuns(app *processor.App, d *deathAt) {
	x.t.Helper()
	ended := x.ended[len(x.ended)-1]
	x.eventually(d, func() bool {
		if len(ended) > 0 && !d.died() {
			x.t.Errorf("an instance has ended: %v", <-ended)
			ended <- nil
			return true
		}
		return slices.ContainsFunc(app.Stats(), func(s processor.TaskStats) bool { return s.State == processor.TaskRunning })
	})
}

// untilPurged waits until what is between the two tasks has been purged, or d has died.
func (x *crashRun) untilPurged(d *deathAt) {
	x.t.Helper()
	x.eventually(d, func() bool {
		o, err := x.client.Offsets(x.t.Context(), stream.TopicSpec{Name: x.name + "-by-word", Partitions: 1})
		return err == nil && o[0].Records == 0
	})
}

// send stores lines.
func (x *crashRun) send(from, to int) {
	x.t.Helper()
	p, err := stream.NewProducer(x.client, x.in(), stream.ProducerConfig{})
	require.NoError(x.t, err)
	for i := from; i < to; i++ {
		require.NoError(x.t, p.Send(x.t.Context(), stream.ProducerRecord[string]{Key: "k", Value: crashLine(i), Time: at(i)}))
	}
	require.NoError(x.t, p.Close(x.t.Context()))
}

// until waits until there are so many results, or d has died.
func (x *crashRun) until(results int, d *deathAt) {
	x.t.Helper()
	x.eventually(d, func() bool {
		o, err := x.client.Offsets(x.t.Context(), x.out().Spec())
		return err == nil && o[0].Next > uint64(results)
	})
}

// check ends the instances, lets another one finish, and counts.
func (x *crashRun) check() {
	x.t.Helper()
	for i := range x.stops {
		x.stop(i)
	}
	cfg := x.config()
	cfg.Bounded = true
	require.NoError(x.t, processor.NewApp(x.client, x.topology(), cfg).Run(x.t.Context()))
	got := make(map[string]int64)
	for _, r := range all(x.t, x.client, x.out()) {
		if r.Value <= got[r.Key] && cfg.Guarantee == processor.AtLeastOnce {
			continue // once more
		}
		require.Equal(x.t, got[r.Key]+1, r.Value, "word %q: lost, doubled or out of order", r.Key)
		got[r.Key] = r.Value
	}
	want := make(map[string]int64)
	for i := range crashLines {
		for _, word := range strings.Fields(crashLine(i)) {
			want[word]++
		}
	}
	if cfg.Guarantee == processor.AtLeastOnce {
		for word, n := range want {
			require.GreaterOrEqual(x.t, got[word], n, word) // what came twice between the tasks is counted twice
		}
		return
	}
	require.Equal(x.t, want, got)
}

// TestCrashPoints lets an instance die at each kind of message that it publishes: before the server has it, and after, so that the answer is
// lost. Requests of the server's API are messages, too: these are all steps of commit, delivery, trim, restore and hand-over. A first run finds out
// which there are. The instance dies before the first one of a kind, or after the second one, by turns, and both for the kinds that a scene is about, which are all
// for some scenes; before and after each single message with ROSSBY_CHAOS. Whatever the step, others finish the work, and each word is counted once.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	for i := range crashScenes {
		scene := &crashScenes[i]
		t.Run(scene.name, func(t *testing.T) {
			t.Parallel()
			server := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
			client, err := stream.NewClient(embeddedtest.ConnectTo(t, server), stream.Config{})
			require.NoError(t, err)
			play := func(t *testing.T, number int, p crashPoint) *deathAt {
				x := &crashRun{t: t, scene: scene, name: fmt.Sprintf("crash%d", number), server: server, client: client, dir: t.TempDir()}
				require.NoError(t, client.CreateTopic(t.Context(), x.in().Spec()))
				require.NoError(t, client.CreateTopic(t.Context(), x.out().Spec()))
				d := &deathAt{app: x.name, point: p}
				scene.play(x, d)
				x.check()
				return d
			}
			points := scene.points(play(t, 0, crashPoint{}).seen())
			var mu sync.Mutex
			died := make(map[string]int)
			eachAtATime(t, points, func(t *testing.T, number int, p crashPoint) {
				if play(t, number+1, p).died() {
					mu.Lock()
					defer mu.Unlock()
					died[p.step]++
				}
			})
			for _, pattern := range scene.steps {
				require.NotZero(t, died[pattern], "it never died at %s", pattern)
			}
			t.Logf("%d crash points, each survived; deaths at each step: %v", len(points), died)
		})
	}
}

// points chooses from the steps that there are, and how often.
func (scene *crashScene) points(seen map[string]int) (points []crashPoint) {
	for i, step := range slices.Sorted(maps.Keys(seen)) {
		switch {
		case os.Getenv(chaosLong) != "":
			for n := range seen[step] {
				points = append(points, crashPoint{step, n + 1, false}, crashPoint{step, n + 1, true})
			}
		case scene.variant, slices.Contains(scene.steps, step): // below
		case i%2 == 0:
			points = append(points, crashPoint{step, 1, false})
		default:
			points = append(points, crashPoint{step, min(2, seen[step]), true})
		}
	}
	for _, pattern := range scene.steps {
		total := 0
		for step, n := range seen {
			if matches(pattern, step) {
				total += n
			}
		}
		points = append(points, crashPoint{pattern, 1, false}, crashPoint{pattern, min(2, total), true})
	}
	return points
}

// atATime is how many points are played at the same time: they wait more than they work.
const atATime = 6

// eachAtATime runs a test for each point.
func eachAtATime(t *testing.T, points []crashPoint, test func(t *testing.T, number int, p crashPoint)) {
	t.Helper()
	next := make(chan int)
	var wg sync.WaitGroup
	for range atATime {
		wg.Go(func() {
			for i := range next {
				p := points[i]
				t.Run(fmt.Sprintf("%s,%d,after=%t", p.step, p.n, p.after), func(t *testing.T) { test(t, i, p) })
			}
		})
	}
	for i := range points {
		if t.Failed() {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
}
