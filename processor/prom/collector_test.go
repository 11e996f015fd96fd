package prom_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/prom"
	"github.com/rossby-streams/rossby/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	lines  = stream.Topic[string]{Name: "lines", Partitions: 2}
	counts = stream.Topic[int64]{Name: "counts", Partitions: 2}
)

func at(i int) time.Time { return time.Unix(1_700_000_000+int64(i), 0).UTC() }

// scrape reads the metrics as Prometheus does, and sums up those of a name whose labels contain what is asked for.
func scrape(t *testing.T, url, name string, labels ...string) (sum float64) {
	t.Helper()
	answer, err := http.Get(url) // #nosec: of this very test
	require.NoError(t, err)
	defer func() { require.NoError(t, answer.Body.Close()) }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
next:
	for line := range strings.Lines(string(text)) {
		metric, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		if !strings.HasPrefix(metric, name+"{") {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(metric, label) {
				continue next
			}
		}
		v, err := strconv.ParseFloat(value, 64)
		require.NoError(t, err, line)
		sum += v
	}
	return sum
}

// TestScrapeOfARunningApp compares what Prometheus sees with what the app has been given.
func TestScrapeOfARunningApp(t *testing.T) {
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	require.NoError(t, client.CreateTopic(t.Context(), lines.Spec()))
	b := processor.NewBuilder("scraped")
	held := make(chan struct{})
	fine := processor.MapRecord(processor.From(b, lines), func(r processor.Record[string]) string {
		if r.Value == "wait" {
			<-held
		}
		if r.Value == "bad" {
			panic("a bad line")
		}
		return r.Value
	})
	processor.Count(fine, processor.Counting{Name: "per-key"}).To(counts)
	topology, err := b.Build()
	require.NoError(t, err)
	app := processor.NewApp(client, topology, processor.Config{})
	registry := prometheus.NewPedanticRegistry()
	collector := prom.NewCollector("scraped", app)
	registry.MustRegister(collector)
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	send := func(from, to int, value string) {
		p, err := stream.NewProducer(client, lines, stream.ProducerConfig{})
		require.NoError(t, err)
		for i := from; i < to; i++ {
			require.NoError(t, p.Send(t.Context(), stream.ProducerRecord[string]{Key: "k" + strconv.Itoa(i%10), Value: value, Time: at(i)}))
		}
		require.NoError(t, p.Close(t.Context()))
	}
	eventually := func(want float64, name string, labels ...string) {
		t.Helper()
		require.Eventually(t, func() bool { return scrape(t, server.URL, name, labels...) == want }, time.Minute, 10*time.Millisecond, "%s %v", name, labels)
	}
	send(0, 1000, "fine")
	send(1000, 1007, "bad")
	eventually(1007, "rossby_task_records_total")
	eventually(2, "rossby_task_wait", `wait="records"`)
	eventually(1007, "rossby_task_produced_records_total")
	require.EqualValues(t, 7, scrape(t, server.URL, "rossby_task_dead_letters_total"))
	require.EqualValues(t, 2, scrape(t, server.URL, "rossby_task_state", `state="running"`))
	require.Zero(t, scrape(t, server.URL, "rossby_task_input_lag_messages"))
	require.EqualValues(t, 1007+2, scrape(t, server.URL, "rossby_task_input_next_offset"))
	require.EqualValues(t, 10, scrape(t, server.URL, "rossby_store_rows", `operator="per-key"`))
	latest := 0.0
	for p := range 2 {
		latest = max(latest, scrape(t, server.URL, "rossby_task_stream_time_seconds", `partition="`+strconv.Itoa(p)+`"`))
	}
	require.EqualValues(t, at(1006).Unix(), latest)
	commits := scrape(t, server.URL, "rossby_task_commits_total")
	require.Equal(t, commits, scrape(t, server.URL, "rossby_task_commit_seconds_count"))
	require.Equal(t, commits, scrape(t, server.URL, "rossby_task_delivery_seconds_count"))
	require.Positive(t, scrape(t, server.URL, "rossby_task_commit_bytes_total"))

	// A user function that blocks lets its partition fall behind, which can be seen.
	send(1010, 1011, "wait")
	for i := range 30 {
		send(1020+10*i, 1021+10*i, "fine") // of the same key
	}
	require.Eventually(t, func() bool { return scrape(t, server.URL, "rossby_task_input_lag_messages") >= 29 }, time.Minute, 10*time.Millisecond)
	close(held)
	eventually(0, "rossby_task_input_lag_messages")

	require.NoError(t, app.Pause(t.Context()))
	eventually(2, "rossby_task_wait", `wait="resume"`)
	app.Resume()
	eventually(2, "rossby_task_wait", `wait="records"`)
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
	stop()
	require.NoError(t, <-ended)
}

// TestScrapeOfRareThings reads metrics of what does not happen all the time: late records, take-overs, global tables.
func TestScrapeOfRareThings(t *testing.T) {
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	b := processor.NewBuilder("rare")
	in := stream.Topic[int]{Name: "in"}
	table := processor.GlobalTableFrom(b, stream.Topic[int]{Name: "table", Compact: true})
	looked := processor.Process(processor.From(b, in), "look", func(c *processor.Context[int]) processor.Handler[int] {
		rows := processor.LookupsIn(c, table)
		return processor.Handler[int]{Record: func(r processor.Record[int]) error {
			_, _ = rows.Get(r.Key)
			c.Forward(r)
			return nil
		}}
	})
	processor.Count(looked, processor.Counting{Name: "windows", Windows: processor.Tumbling(10 * time.Second)}).To(counts)
	topology, err := b.Build()
	require.NoError(t, err)
	send := func(name string, seconds ...int) {
		topic := stream.Topic[int]{Name: name, Compact: name == "table"}
		require.NoError(t, client.CreateTopic(t.Context(), topic.Spec()))
		p, err := stream.NewProducer(client, topic, stream.ProducerConfig{})
		require.NoError(t, err)
		for i, s := range seconds {
			require.NoError(t, p.Send(t.Context(), stream.ProducerRecord[int]{Key: strconv.Itoa(i), Value: 1, Time: at(s)}))
		}
		require.NoError(t, p.Close(t.Context()))
	}
	send("table", 0, 1, 2)
	send("in", 0, 100, 0, 1, 101)
	app := processor.NewApp(client, topology, processor.Config{Bounded: true})
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(prom.NewCollector("rare", app))
	require.NoError(t, app.Run(t.Context()))
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	for name, want := range map[string]float64{
		"rossby_task_late_records_total":        2,
		"rossby_task_takeovers_total":           1,
		"rossby_task_redelivered_records_total": 0,
		"rossby_global_table_rows":              3,
		"rossby_global_table_left_records":      0,
	} {
		require.EqualValues(t, want, scrape(t, server.URL, name), name)
	}
	require.Positive(t, scrape(t, server.URL, "rossby_task_journal_bytes"))
	require.Positive(t, scrape(t, server.URL, "rossby_task_journal_commits"))
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// TestStatesAreTold follows tasks through their lives in two instances.
func TestStatesAreTold(t *testing.T) {
	server := embeddedtest.Start(t)
	b := processor.NewBuilder("told")
	processor.Count(processor.From(b, lines), processor.Counting{Name: "per-key"}).To(counts)
	topology, err := b.Build()
	require.NoError(t, err)
	type instance struct {
		told chan processor.TaskStats
		stop context.CancelFunc
		err  chan error
	}
	start := func() instance {
		client, err := stream.NewClient(embeddedtest.ConnectTo(t, server), stream.Config{})
		require.NoError(t, err)
		i := instance{told: make(chan processor.TaskStats, 1000), err: make(chan error, 1)}
		var ctx context.Context
		ctx, i.stop = context.WithCancel(t.Context())
		app := processor.NewApp(client, topology, processor.Config{OnTask: func(s processor.TaskStats) { i.told <- s }})
		go func() { i.err <- app.Run(ctx) }()
		return i
	}
	lives := func(i instance) map[int][]processor.TaskState {
		states := make(map[int][]processor.TaskState)
		for s := range i.told {
			require.Equal(t, "lines", s.SubTopology)
			require.NoError(t, s.Err)
			if had := states[s.Partition]; len(had) == 0 || had[len(had)-1] != s.State {
				states[s.Partition] = append(had, s.State)
			}
		}
		return states
	}
	running := func(i instance, n int) (told []processor.TaskStats) {
		for n > 0 {
			s := <-i.told
			told = append(told, s)
			if s.State == processor.TaskRunning {
				n--
			}
		}
		return told
	}
	first := start()
	running(first, 2)
	second := start()
	told := running(second, 1)
	first.stop()
	require.NoError(t, <-first.err)
	told = append(told, running(second, 1)...)
	second.stop()
	require.NoError(t, <-second.err)
	close(first.told)
	close(second.told)
	warm := make(map[int]bool)
	for _, s := range told {
		if s.State == processor.TaskFollowing {
			warm[s.Partition] = true
		}
	}
	require.Len(t, warm, 1, "the second one has followed the task that it was to have")
	for p, states := range lives(first) {
		require.Equal(t, processor.TaskEnded, states[len(states)-1], p)
	}
	require.Len(t, lives(second), 2)
}

// TestFailuresAreTold has a task end with an error.
func TestFailuresAreTold(t *testing.T) {
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	require.NoError(t, client.CreateTopic(t.Context(), lines.Spec()))
	p, err := stream.NewProducer(client, lines, stream.ProducerConfig{})
	require.NoError(t, err)
	require.NoError(t, p.Send(t.Context(), stream.ProducerRecord[string]{Key: "k", Value: "v", Time: at(0)}))
	require.NoError(t, p.Close(t.Context()))
	b := processor.NewBuilder("failing")
	b.OnFailure(processor.Stop)
	processor.Map(processor.From(b, lines), func(string) string { panic("no") }).To(stream.Topic[string]{Name: "out", Partitions: 2})
	topology, err := b.Build()
	require.NoError(t, err)
	told := make(chan processor.TaskStats, 100)
	require.Error(t, processor.NewApp(client, topology, processor.Config{OnTask: func(s processor.TaskStats) { told <- s }}).Run(t.Context()))
	close(told)
	var failed []error
	for s := range told {
		if s.State == processor.TaskEnded && s.Err != nil {
			failed = append(failed, s.Err)
		}
	}
	require.Len(t, failed, 1)
	require.ErrorContains(t, errors.Join(failed...), "no")
}
