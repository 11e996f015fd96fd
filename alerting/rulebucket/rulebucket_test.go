package rulebucket_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/rulebucket"
	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// childURL is set in the process that a test kills.
const childURL = "ROSSBY_RULEBUCKET_CHILD"

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		if err := child(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

type load struct {
	Value float64   `json:"value"`
	At    time.Time `json:"at"`
}

var (
	loads   = stream.Topic[load]{Name: "loads", Partitions: 2, Time: func(l load) time.Time { return l.At }}
	changes = alerting.RuleChanges("rule-changes", 2)
	alarms  = stream.Topic[alerting.Alarm]{Name: "alarms", Time: func(a alerting.Alarm) time.Time { return a.At }}
)

// read reads {"above":80,"for":60}.
func read(name, text string) (alerting.Loaded[load], error) {
	var r struct {
		Above float64
		For   int
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return alerting.Loaded[load]{}, err
	}
	if r.Above == 0 {
		return alerting.Loaded[load]{}, errors.New(`line 1, column 2: there is no "above"`)
	}
	return alerting.Loaded[load]{Rule: alerting.Rule[load]{
		Name: name, Value: func(l load) float64 { return l.Value }, When: alerting.Above(r.Above), For: time.Duration(r.For) * time.Second,
	}}, nil
}

func topology() (*processor.Topology, error) {
	b := processor.NewBuilder("guard")
	alerting.ThresholdLive(processor.From(b, loads), alerting.Live[load]{Name: "rules", Changes: processor.From(b, changes), Read: read}).To(alarms)
	return b.Build()
}

// run runs the app and its feed until ctx ends.
func run(ctx context.Context, nc *nats.Conn) error {
	client, err := stream.NewClient(nc, stream.Config{Storage: stream.Memory})
	if err != nil {
		return err
	}
	feed, err := rulebucket.Open(ctx, nc, client, rulebucket.Config[load]{Topic: changes, Read: read})
	if ctx.Err() != nil {
		return nil // it was stopped before it had begun
	}
	if err != nil {
		return err
	}
	topology, err := topology()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fed := make(chan error, 1)
	go func() {
		defer cancel()
		fed <- feed.Run(ctx)
	}()
	// It comes back under its name: nobody waits for its session to end.
	err = processor.NewApp(client, topology, processor.Config{Instance: "one"}).Run(ctx)
	cancel()
	return errors.Join(err, <-fed)
}

func child(url string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	fmt.Println("ready")
	return run(context.Background(), nc)
}

// world is a server with an app that can be stopped and started.
type world struct {
	t       *testing.T
	nc      *nats.Conn
	client  *stream.Client
	samples *stream.Producer[load]
	rules   jetstream.KeyValue
	status  jetstream.KeyValue
	seconds int

	mu    sync.Mutex
	heard []string
}

func newWorld(t *testing.T, nc *nats.Conn) *world {
	t.Helper()
	w := &world{t: t, nc: nc}
	var err error
	w.client, err = stream.NewClient(nc, stream.Config{Storage: stream.Memory})
	require.NoError(t, err)
	for _, spec := range []stream.TopicSpec{loads.Spec(), alarms.Spec()} {
		require.NoError(t, w.client.CreateTopic(t.Context(), spec))
	}
	w.samples, err = stream.NewProducer(w.client, loads, stream.ProducerConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.samples.Close(context.Background())) })
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	w.rules, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "rules", Storage: jetstream.MemoryStorage})
	require.NoError(t, err)
	w.status, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "rules-status", Storage: jetstream.MemoryStorage})
	require.NoError(t, err)
	reader, err := w.client.OpenReader(t.Context(), alarms.Spec(), 0, stream.ReaderConfig{Deliver: func(m stream.Message) {
		var a alerting.Alarm
		if err := json.Unmarshal(m.Data, &a); err != nil {
			a.Reason = err.Error()
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.heard = append(w.heard, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", a.Rule, a.Key, a.State, a.Reason)))
	}})
	require.NoError(t, err)
	t.Cleanup(reader.Close)
	return w
}

// start runs the app; stop ends it.
func (w *world) start() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, w.nc) }()
	return func() {
		cancel()
		require.NoError(w.t, <-done)
	}
}

// put writes a rule and waits for its status; an empty one is deleted.
func (w *world) put(name, text, state string) rulebucket.Status {
	w.t.Helper()
	revision, err := w.edit(name, text)
	require.NoError(w.t, err)
	return w.await(name, revision, state)
}

func (w *world) edit(name, text string) (uint64, error) {
	if text != "" {
		return w.rules.PutString(w.t.Context(), name, text)
	}
	if err := w.rules.Delete(w.t.Context(), name); err != nil {
		return 0, err
	}
	return 0, nil
}

func (w *world) await(name string, revision uint64, state string) rulebucket.Status {
	w.t.Helper()
	var s rulebucket.Status
	require.Eventually(w.t, func() bool {
		entry, err := w.status.Get(w.t.Context(), name)
		return err == nil && json.Unmarshal(entry.Value(), &s) == nil && s.Revision >= revision && s.State == state
	}, 30*time.Second, 5*time.Millisecond, "the status of %s", name)
	return s
}

// sample sends a value of the keys, one second after the last.
func (w *world) sample(value float64, keys ...string) {
	w.t.Helper()
	w.seconds++
	for _, key := range keys {
		l := load{value, time.Unix(1_700_000_000+int64(w.seconds), 0).UTC()}
		require.NoError(w.t, w.samples.Send(w.t.Context(), stream.ProducerRecord[load]{Key: key, Value: l}))
	}
	require.NoError(w.t, w.samples.Flush(w.t.Context()))
}

func (w *world) said() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.heard...)
}

// hears waits until the alarms since the last call are these, in any order.
func (w *world) hears(want ...string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return len(w.said()) >= len(want) }, 30*time.Second, 5*time.Millisecond, "%v", want)
	w.mu.Lock()
	defer w.mu.Unlock()
	require.ElementsMatch(w.t, want, w.heard)
	w.heard = nil
}

// settled waits until the tasks have taken a change: they say so of a rule that is there for that.
func (w *world) settled(keys ...string) {
	w.t.Helper()
	w.put("Probe", `{"above":1}`, rulebucket.InForce)
	require.Eventually(w.t, func() bool {
		w.sample(2, keys...)
		return len(w.said()) >= len(keys)
	}, 30*time.Second, 5*time.Millisecond, "the probe")
	want := make(map[string]bool)
	for _, key := range keys {
		want["Probe "+key+" firing"] = true
	}
	require.Eventually(w.t, func() bool { return containsAll(w.said(), want) }, 30*time.Second, 5*time.Millisecond)
	w.mu.Lock()
	w.heard = without(w.heard, "Probe")
	w.mu.Unlock()
	w.put("Probe", "", rulebucket.Removed)
	require.Eventually(w.t, func() bool { return count(w.said(), "Probe") >= len(keys) }, 30*time.Second, 5*time.Millisecond)
	w.mu.Lock()
	w.heard = without(w.heard, "Probe")
	w.mu.Unlock()
}

func count(all []string, prefix string) int { return len(all) - len(without(all, prefix)) }

func without(all []string, prefix string) []string {
	var kept []string
	for _, a := range all {
		if !strings.HasPrefix(a, prefix) {
			kept = append(kept, a)
		}
	}
	return kept
}

func containsAll(all []string, want map[string]bool) bool {
	found := 0
	for _, a := range all {
		if want[a] {
			found++
		}
	}
	return found >= len(want)
}

func TestRulesAreAddedChangedAndRemovedWhileRunning(t *testing.T) {
	w := newWorld(t, embeddedtest.Connect(t))
	w.put0("High", `{"above":80}`)
	stop := w.start()
	w.await("High", 1, rulebucket.InForce)
	w.settled("a", "b")
	w.sample(90, "a", "b")
	w.hears("High a firing", "High b firing")

	added := w.put("Slow", `{"above":80,"for":2}`, rulebucket.InForce)
	require.Equal(t, added.Revision, added.InForce)
	w.settled("a", "b")
	w.hears("High a resolved", "High b resolved") // of the probe's samples
	w.sample(90, "a")
	w.hears("High a firing", "Slow a pending")

	bad := w.put("High", `{"abov":70}`, rulebucket.Refused)
	require.Equal(t, `line 1, column 2: there is no "above"`, bad.Error)
	require.NotZero(t, bad.InForce)
	require.Less(t, bad.InForce, bad.Revision)
	w.sample(91, "a")
	w.sample(92, "a") // Slow's two seconds have not begun anew
	w.hears("Slow a firing")

	stop() // a bad rule is in the bucket now, and the good one is not
	w.put0("Slow", "")
	w.put0("Late", `{"above":95}`)
	stop = w.start()
	w.hears("Slow a resolved the rule was removed")
	w.await("Late", 1, rulebucket.InForce)
	w.sample(10, "a")
	w.hears("High a resolved")
	w.settled("a", "b")
	w.sample(96, "b")
	w.hears("High b firing", "Late b firing")
	w.put("High", "", rulebucket.Removed)
	w.hears("High b resolved the rule was removed")
	stop()
}

// put0 writes a rule while nothing runs.
func (w *world) put0(name, text string) {
	w.t.Helper()
	_, err := w.edit(name, text)
	require.NoError(w.t, err)
}

// TestABucketThatIsMadeAnewCountsFromOne: its revisions are newer all the same, and what is not in it is removed.
func TestABucketThatIsMadeAnewCountsFromOne(t *testing.T) {
	w := newWorld(t, embeddedtest.Connect(t))
	for range 5 {
		w.put0("High", `{"above":80}`)
	}
	w.put0("Gone", `{"above":80}`)
	stop := w.start()
	w.await("Gone", 6, rulebucket.InForce)
	w.settled("a")
	w.sample(90, "a")
	w.hears("High a firing", "Gone a firing")
	stop()
	js, err := jetstream.New(w.nc)
	require.NoError(t, err)
	require.NoError(t, js.DeleteKeyValue(t.Context(), "rules"))
	w.rules, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "rules", Storage: jetstream.MemoryStorage})
	require.NoError(t, err)
	w.put0("High", `{"above":95}`)
	stop = w.start()
	w.hears("Gone a resolved the rule was removed")
	w.sample(94, "a")
	w.hears("High a resolved")
	stop()
}

// TestKilledWhileRulesChange: a process with the app and the feed is killed again and again while rules change; alarms come once each.
func TestKilledWhileRulesChange(t *testing.T) {
	port := embeddedtest.StartWith(t, embedded.Config{Port: -1})
	w := newWorld(t, embeddedtest.ConnectTo(t, port))
	w.put0("High", `{"above":80}`)
	const rounds = 12
	for round := range rounds {
		kill := spawn(t, port.URL())
		if round%3 == 2 {
			w.put0("High", fmt.Sprintf(`{"above":%d}`, 80-round)) // a change that keeps what fires
			w.put0("High", fmt.Sprintf(`{"abov":%d}`, round))     // and one that is refused
		}
		w.sample(90, "a", "b")
		w.sample(10, "a", "b")
		if round == 0 {
			w.await("High", 1, rulebucket.InForce)
		}
		// The kill comes at once, when something has been heard of the round, or when all has.
		enough := []int{0, count(w.said(), "High") + 1, (round + 1) * 4}[round%3]
		require.Eventually(t, func() bool { return count(w.said(), "High") >= enough }, 30*time.Second, time.Millisecond)
		kill()
	}
	stop := w.start()
	w.put("Last", `{"above":99}`, rulebucket.InForce)
	for _, key := range []string{"a", "b"} {
		require.Eventually(t, func() bool { return count(w.said(), "High "+key) == 2*rounds }, 60*time.Second, 10*time.Millisecond, "%v", w.said())
	}
	stop()
	for _, key := range []string{"a", "b"} {
		i := 0
		for _, a := range w.said() {
			if !strings.HasPrefix(a, "High "+key) {
				continue
			}
			want := "High " + key + map[int]string{0: " firing", 1: " resolved"}[i%2]
			require.Equal(t, want, a)
			i++
		}
		require.Equal(t, 2*rounds, i)
	}
}

// spawn starts the app in a process of its own; kill ends it with SIGKILL.
func spawn(t *testing.T, url string) (kill func()) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childURL+"="+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.True(t, bufio.NewScanner(out).Scan())
	return func() {
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait() // it says that it was killed
	}
}
