package processor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// What the instances of the chaos test run: words of lines, counted in windows behind a repartition, told with each change and once
// more when the window has closed, from windows on disk; counted for all time as well, on disk; a copy of the lines, and one of rare words behind the repartition, whose order per
// key shows whether anything was reordered on its way; and lines of each key, counted in windows that close while instances come and go.
var (
	chaosLines  = stream.Topic[line]{Name: "chaos-lines", Partitions: 6, Time: func(l line) time.Time { return l.At }}
	chaosCopies = stream.Topic[string]{Name: "chaos-copies", Partitions: 6}
	chaosCounts = stream.Topic[windowCount]{Name: "chaos-counts", Partitions: 6}
	chaosTotals = stream.Topic[windowCount]{Name: "chaos-totals", Partitions: 6}
	chaosEver   = stream.Topic[int64]{Name: "chaos-ever", Partitions: 6}
	chaosRare   = stream.Topic[string]{Name: "chaos-rare", Partitions: 6}
	chaosKeys   = stream.Topic[windowCount]{Name: "chaos-keys", Partitions: 6}
)

const (
	chaosWindow = 10 * time.Minute // of event time: a line is a second
	chaosGrace  = 10_000 * time.Hour
)

// windowCount is a count with the start of its window.
type windowCount struct {
	Start time.Time
	N     int64
}

func chaosTopology() (*processor.Topology, error) {
	b := processor.NewBuilder("chaos")
	in := processor.From(b, chaosLines)
	text := processor.Map(in, func(l line) string { return l.Text })
	text.To(chaosCopies)
	// What is behind a source comes in order: windows need no grace there.
	perKey := processor.Counting{Name: "keys", Windows: processor.Tumbling(chaosWindow), Emit: processor.OnClose}
	processor.MapRecord(processor.Count(in, perKey), withStart).To(chaosKeys)
	word := processor.KeyBy(processor.FlatMap(text, numberedWords), "by-word", wordOf)
	word.Filter(isRare).To(chaosRare)
	counting := processor.Counting{Name: "counts", Windows: processor.Tumbling(chaosWindow), Grace: chaosGrace}
	processor.MapRecord(processor.Count(word, counting), withStart).To(chaosCounts)
	counting.Name, counting.Emit, counting.Keep = "totals", processor.OnClose, processor.OnDisk
	processor.MapRecord(processor.Count(word, counting), withStart).To(chaosTotals)
	processor.Count(word, processor.Counting{Name: "ever", Keep: processor.OnDisk}).To(chaosEver)
	return b.Build()
}

func withStart(r processor.Record[int64]) windowCount { return windowCount{r.Window.Start, r.Value} }

// chaosWords leaves out the number that a line begins with.
func chaosWords(text string) []string { return strings.Fields(text)[1:] }

// numberedWords gives each word with the number of its line.
func numberedWords(text string) []string {
	words := chaosWords(text)
	for i, w := range words {
		words[i] = text[:len("#00000000 ")] + w
	}
	return words
}

func wordOf(numbered string) string { return numbered[len("#00000000 "):] }

func isRare(numbered string) bool { return strings.HasPrefix(wordOf(numbered), "w0-") }

var (
	largeIn  = stream.Topic[string]{Name: "large-in", Partitions: 1, Codec: stream.String()}
	largeOut = stream.Topic[string]{Name: "large-out", Partitions: 1, Codec: stream.String()}
)

// largeTopology keeps the last value of each key, and passes on those that are no filling.
func largeTopology(keep processor.Medium) (*processor.Topology, error) {
	b := processor.NewBuilder("large")
	b.KeepState(keep)
	latest := processor.Reduce(processor.From(b, largeIn), processor.Reduction[string]{Name: "latest", Add: func(_, v string) string { return v }})
	latest.AsStream().Filter(func(v string) bool { return strings.HasPrefix(v, "probe") }).To(largeOut)
	return b.Build()
}

// chaosLong is the environment variable that makes TestChaosInstances and TestCrashPoints last: see the chaos target of the Makefile.
const chaosLong = "ROSSBY_CHAOS"

// chaosEnv makes the test binary an instance of the app, a process that can be killed and stopped. Its value is a chaosInstance.
const chaosEnv = "ROSSBY_TEST_INSTANCE"

type chaosInstance struct {
	URLs    []string
	Session time.Duration
	Standby bool
	// Instance is its name; empty: one of its own.
	Instance string
	// Large makes it run largeTopology rather than chaosTopology, without replicas. Keep says where the state is, StateDir in which folder.
	Large    bool
	Keep     processor.Medium
	StateDir string
}

// runChaosInstance works until it is asked to stop.
func runChaosInstance(text string) int {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(4) // the test has died
	}()
	var i chaosInstance
	err := json.Unmarshal([]byte(text), &i)
	if err == nil {
		err = i.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		return 1
	}
	return 0
}

func (i chaosInstance) run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	client, closeClient, err := i.connect(ctx)
	if ctx.Err() != nil {
		return nil // asked to stop before there was a server
	}
	if err != nil {
		return err
	}
	defer closeClient()
	build := chaosTopology
	if i.Large {
		build = func() (*processor.Topology, error) { return largeTopology(i.Keep) }
	}
	topology, err := build()
	if err != nil {
		return err
	}
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.Lock(os.Stderr), zap.DebugLevel)
	return processor.NewApp(client, topology, processor.Config{Logger: zap.New(core), Instance: i.Instance, SessionTimeout: i.Session, Standby: i.Standby, StateDir: i.StateDir}).Run(ctx)
}

func (i chaosInstance) replicas() int {
	if i.Large {
		return 1
	}
	return 3
}

// connect tries until there is a server, or ctx ends.
func (i chaosInstance) connect(ctx context.Context) (client *stream.Client, end func(), err error) {
	for {
		nc, err := nats.Connect(strings.Join(i.URLs, ","), chaosConnection()...)
		if err == nil {
			client, err = stream.NewClient(nc, stream.Config{Replicas: i.replicas()})
			if err == nil {
				return client, nc.Close, nil
			}
			nc.Close()
		}
		fmt.Fprintln(os.Stderr, "connect:", err)
		select {
		case <-ctx.Done():
			return nil, nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// chaosConnection keeps to the proxies that it is given, and notices soon that nobody answers.
func chaosConnection() []nats.Option {
	return []nats.Option{
		nats.IgnoreDiscoveredServers(), nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.Timeout(2 * time.Second),
	}
}
