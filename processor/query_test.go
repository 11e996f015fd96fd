package processor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

func newQuery[V any](t *testing.T, client *stream.Client, topology *processor.Topology, operator, store string, cfg processor.QueryConfig) *processor.Query[V] {
	t.Helper()
	cfg.Operator, cfg.Store = operator, store
	q, err := processor.NewQuery[V](client, topology, cfg)
	require.NoError(t, err)
	return q
}

// rowsOf collects the pages of a query.
func rowsOf[V any](t *testing.T, pages func(func(processor.Answer[V], error) bool)) (rows []processor.Row[V]) {
	t.Helper()
	for page, err := range pages {
		require.NoError(t, err)
		rows = append(rows, page.Rows...)
	}
	return rows
}

// wordsOf counts the words of n lines.
func wordsOf(n int) map[string]int {
	want := map[string]int{}
	for _, r := range textLines(n) {
		for _, w := range strings.Fields(r.Value.Text) {
			want[w]++
		}
	}
	return want
}

func awaitCounts(t *testing.T, client *stream.Client, n int) {
	t.Helper()
	require.NoError(t, client.CreateTopic(t.Context(), counts.Spec()))
	require.Eventually(t, func() bool { return ends(t, client, counts.Spec()) == uint64(3*n) }, time.Minute, 5*time.Millisecond)
}

// TestQuery asks two instances of an app for what they have counted, from a third connection.
func TestQuery(t *testing.T) {
	server, client := newServer(t)
	const n = 1000
	produce(t, client, lines, textLines(n)...)
	topology := wordCount(t)
	first := startInstance(t, server, topology, processor.Config{Queries: true, Instance: "first"})
	require.Eventually(t, func() bool { return first.tasks() == 8 }, time.Minute, 5*time.Millisecond)
	second := startInstance(t, server, topology, processor.Config{Queries: true, Instance: "second"})
	awaitCounts(t, client, n)
	require.Eventually(t, func() bool { return second.tasks() == 4 }, time.Minute, 5*time.Millisecond)

	q := newQuery[int](t, client, topology, "count", "counts", processor.QueryConfig{})
	want := wordsOf(n)
	instances := map[string]bool{}
	for word, times := range want {
		a, err := q.Get(t.Context(), word)
		require.NoError(t, err)
		require.Equal(t, []processor.Row[int]{{Key: word, Value: times}}, a.Rows)
		require.Equal(t, stream.Partition(word, 4), a.Partition)
		require.False(t, a.Standby)
		require.Equal(t, "wordcount-by-word", a.Positions[0].Topic)
		require.NotZero(t, a.Commit)
		require.False(t, a.StreamTime.IsZero())
		instances[a.Instance] = true
	}
	require.Equal(t, map[string]bool{"first": true, "second": true}, instances)
	none, err := q.Get(t.Context(), "no such word")
	require.NoError(t, err)
	require.Empty(t, none.Rows)

	got := map[string]int{}
	for _, row := range rowsOf(t, q.Range(t.Context(), "", "")) {
		require.NotContains(t, got, row.Key)
		got[row.Key] = row.Value
	}
	require.Equal(t, want, got)
	part := rowsOf(t, q.At(1).Range(t.Context(), "w2", "w5"))
	require.NotEmpty(t, part)
	require.True(t, slices.IsSortedFunc(part, func(a, b processor.Row[int]) int { return strings.Compare(a.Key, b.Key) }))
	for _, row := range part {
		require.Equal(t, 1, stream.Partition(row.Key, 4))
		require.True(t, row.Key >= "w2" && row.Key < "w5")
	}
	first.leave(t)
	second.leave(t)
}

// TestQueryErrors asks for what is not to be had.
func TestQueryErrors(t *testing.T) {
	server, client := newServer(t)
	topology := wordCount(t)
	_, err := processor.NewQuery[int](client, topology, processor.QueryConfig{Operator: "count", Store: "other"})
	require.ErrorIs(t, err, processor.ErrNoStore)
	require.ErrorContains(t, err, "operators and their stores are: count counts")
	q := newQuery[int](t, client, topology, "count", "counts", processor.QueryConfig{})
	_, err = q.At(4).Get(t.Context(), "k")
	require.ErrorContains(t, err, "there are only 4 partitions")

	silent := startInstance(t, server, topology, processor.Config{})
	require.Eventually(t, func() bool { return silent.tasks() == 8 }, time.Minute, 5*time.Millisecond)
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = q.Get(soon, "k")
	require.ErrorIs(t, err, processor.ErrUnanswered, "queries are an option")
	require.ErrorIs(t, err, stream.ErrNoService)
	silent.leave(t)

	r := startInstance(t, server, topology, processor.Config{Queries: true})
	_, err = q.At(0).Get(t.Context(), "k") // which waits until the partition that is asked below is served
	require.NoError(t, err)
	for verb, request := range map[string]string{
		"get": `{"key":"a","limit":0.5}`, "range": `{"limit":1001}`, "windows": `{"key":"a"}`, "put": `{}`, "range ": "", "get ": `{"kee":"a"}`,
	} {
		subject := "rossby.query.wordcount.count.counts.0." + strings.TrimSpace(verb)
		_, err := client.Request(t.Context(), subject, []byte(request))
		var refused *stream.ServiceError
		require.ErrorAs(t, err, &refused, verb)
		want := stream.ServiceBadRequest
		if verb == "windows" || verb == "put" {
			want = stream.ServiceNoSuchVerb
		}
		require.Equal(t, want, refused.Code, "%s: %s", verb, refused.Text)
	}
	r.leave(t)
}

// TestQueryTools looks at an app as NATS tools do.
func TestQueryTools(t *testing.T) {
	server, client := newServer(t)
	produce(t, client, lines, textLines(100)...)
	r := startInstance(t, server, wordCount(t), processor.Config{Queries: true, Instance: "only"})
	awaitCounts(t, client, 100)
	nc := embeddedtest.ConnectTo(t, server)
	p := stream.Partition("common", 4)
	var info micro.Info
	tool := func(subject string, into any) {
		m, err := nc.Request(subject, nil, time.Minute)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(m.Data, into))
	}
	require.Eventually(t, func() bool {
		info = micro.Info{}
		m, err := nc.Request("$SRV.INFO.wordcount-queries", nil, time.Minute)
		return err == nil && json.Unmarshal(m.Data, &info) == nil && len(info.Endpoints) == 4
	}, time.Minute, 5*time.Millisecond)
	require.Equal(t, micro.InfoResponseType, info.Type)
	require.Equal(t, map[string]string{"app": "wordcount", "instance": "only"}, info.Metadata)
	i := slices.IndexFunc(info.Endpoints, func(e micro.EndpointInfo) bool { return e.Metadata["task"] == fmt.Sprintf("by-word-%d", p) })
	require.Equal(t, micro.EndpointInfo{
		Name: fmt.Sprintf("count_counts_%d_owner", p), Subject: fmt.Sprintf("rossby.query.wordcount.count.counts.%d.*", p), QueueGroup: "owner",
		Metadata: map[string]string{"task": fmt.Sprintf("by-word-%d", p), "role": "owner", "store": "count.counts", "kind": "key-value", "verbs": "get, range"},
	}, info.Endpoints[i])

	m, err := nc.Request(fmt.Sprintf("rossby.query.wordcount.count.counts.%d.get", p), []byte(`{"key":"common"}`), time.Minute)
	require.NoError(t, err)
	var answer map[string]any
	require.NoError(t, json.Unmarshal(m.Data, &answer))
	require.Equal(t, []any{map[string]any{"key": "common", "value": 100.0}}, answer["rows"])
	require.Equal(t, "owner", answer["role"])
	require.Equal(t, "only", answer["instance"])

	require.Eventually(t, func() bool { // a request is counted when its answer is out
		var stats micro.Stats
		tool("$SRV.STATS", &stats)
		i := slices.IndexFunc(stats.Endpoints, func(e *micro.EndpointStats) bool { return e.Name == fmt.Sprintf("count_counts_%d_owner", p) })
		return stats.Endpoints[i].NumRequests == 1
	}, time.Minute, 5*time.Millisecond)
	var ping micro.Ping
	tool("$SRV.PING.wordcount-queries."+info.ID, &ping)
	require.Equal(t, micro.PingResponseType, ping.Type)
	r.leave(t)
	_, err = nc.Request("$SRV.PING", nil, time.Minute)
	require.ErrorIs(t, err, nats.ErrNoResponders)
}

// TestQueryAmidHandOvers asks for counters again and again while instances come, leave and die. A counter never goes back, and an answer is
// never of something that is not committed: in the end each is what it should be, and none was greater.
func TestQueryAmidHandOvers(t *testing.T) {
	t.Parallel()
	server, client := newServer(t)
	const n, parts = 6_000, 30
	require.NoError(t, client.CreateTopic(t.Context(), lines.Spec()))
	topology := wordCount(t)
	cfg := processor.Config{Queries: true, Standby: true}
	alive := []*running{startInstance(t, server, wordCount(t), cfg), startInstance(t, server, wordCount(t), cfg)}
	done := make(chan struct{})
	var wg sync.WaitGroup
	asked := make([]atomic.Int64, 4)
	for i := range asked {
		wg.Go(func() {
			q := newQuery[int](t, client, topology, "count", "counts", processor.QueryConfig{})
			last, commit := map[string]int{}, map[string]uint64{}
			for {
				select {
				case <-done:
					return
				default:
				}
				word := fmt.Sprintf("w%d", asked[i].Load()%7)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				a, err := q.Get(ctx, word)
				cancel()
				if !(err == nil && len(a.Rows) <= 1 && !a.Standby) {
					t.Errorf("%s: %v %+v", word, err, a)
					return
				}
				now := 0
				if len(a.Rows) > 0 {
					now = a.Rows[0].Value
				}
				if now < last[word] || a.Commit < commit[word] {
					t.Errorf("%s was %d in commit %d, is %d in commit %d", word, last[word], commit[word], now, a.Commit)
				}
				last[word], commit[word] = now, a.Commit
				asked[i].Add(1)
			}
		})
	}
	changes := 0
	for i := range parts {
		produce(t, client, lines, textLines(n)[i*n/parts:(i+1)*n/parts]...)
		if i%5 != 4 {
			continue
		}
		alive = append(alive, startInstance(t, server, wordCount(t), cfg))
		if i%10 == 4 {
			alive[0].kill()
		} else {
			alive[0].leave(t)
		}
		alive = alive[1:]
		changes++
		for j := range asked { // so that each change meets some, and some follow
			before := asked[j].Load()
			require.Eventually(t, func() bool { return asked[j].Load() >= before+50 }, time.Minute, time.Millisecond)
		}
	}
	q := newQuery[int](t, client, topology, "count", "counts", processor.QueryConfig{})
	want := wordsOf(n)
	require.Eventually(t, func() bool {
		a, err := q.Get(t.Context(), "common")
		return err == nil && len(a.Rows) == 1 && a.Rows[0].Value == want["common"]
	}, time.Minute, 20*time.Millisecond)
	close(done)
	wg.Wait()
	awaitCounts(t, client, n)
	got := map[string]int{}
	for _, row := range rowsOf(t, q.Range(t.Context(), "", "")) {
		got[row.Key] = row.Value
	}
	require.Equal(t, want, got)
	for _, r := range alive {
		r.leave(t)
	}
	checkCounts(t, client, n)
	answers := int64(0)
	for i := range asked {
		answers += asked[i].Load()
	}
	t.Logf("%d answers while %d instances came and went", answers, changes)
}

// TestQueryStaleOwner has an app that another one has taken its tasks from, and that has not noticed: it must not answer.
func TestQueryStaleOwner(t *testing.T) {
	t.Parallel()
	server, client := newServer(t)
	produce(t, client, lines, textLines(500)...)
	topology := wordCount(t)
	stale := startInstance(t, server, topology, processor.Config{Queries: true})
	awaitCounts(t, client, 500)
	q := newQuery[int](t, client, topology, "count", "counts", processor.QueryConfig{})
	_, err := q.Get(t.Context(), "common")
	require.NoError(t, err)
	require.NoError(t, stale.app.Pause(t.Context()), "so that it does not commit by itself")
	require.NoError(t, newApp(t, client, topology, true).Run(t.Context()), "takes all over")

	nc := embeddedtest.ConnectTo(t, server)
	m, err := nc.Request(fmt.Sprintf("rossby.query.wordcount.count.counts.%d.get", stream.Partition("common", 4)), []byte(`{"key":"common"}`), time.Minute)
	require.NoError(t, err)
	require.Equal(t, "503", m.Header.Get(micro.ErrorCodeHeader), "it answers %s", m.Data)
	require.ErrorIs(t, <-stale.err, stream.ErrFenced)
}

// TestQueryStandby reads from copies: committed, and never more than the owner has.
func TestQueryStandby(t *testing.T) {
	t.Parallel()
	t.Run("in memory", func(t *testing.T) { testQueryStandby(t, wordCount(t)) })
	t.Run("on disk", func(t *testing.T) { testQueryStandby(t, wordCountOnDisk(t)) })
}

func testQueryStandby(t *testing.T, topology *processor.Topology) {
	server, client := newServer(t)
	began := time.Now().Add(-time.Minute)
	const n = 1000
	produce(t, client, lines, textLines(n)...)
	start := func() *running {
		return startInstance(t, server, topology, processor.Config{Queries: true, Standby: true, StateDir: t.TempDir()})
	}
	first, second := start(), start()
	awaitCounts(t, client, n)
	copies := newQuery[int](t, client, topology, "count", "counts", processor.QueryConfig{Standby: true})
	owners := newQuery[int](t, client, topology, "count", "counts", processor.QueryConfig{})
	want := wordsOf(n)
	for word := range want {
		require.Eventually(t, func() bool {
			a, err := copies.Get(t.Context(), word)
			return err == nil && a.Standby && len(a.Rows) == 1 && a.Rows[0].Value == want[word]
		}, time.Minute, 5*time.Millisecond)
		a, err := owners.Get(t.Context(), word)
		require.NoError(t, err)
		b, err := copies.Get(t.Context(), word)
		require.NoError(t, err)
		require.True(t, b.Standby)
		require.NotEqual(t, a.Instance, b.Instance)
		require.Zero(t, a.Age)
		require.Positive(t, b.Age)
		require.Zero(t, b.Behind)
		require.WithinRange(t, b.Committed, began, time.Now().Add(time.Minute))
	}
	second.leave(t)
	for word := range want {
		require.Eventually(t, func() bool { // until the copies have become owners: who answers then is one
			a, err := copies.Get(t.Context(), word)
			return err == nil && len(a.Rows) == 1 && a.Rows[0].Value == want[word] && !a.Standby
		}, time.Minute, 5*time.Millisecond)
	}
	first.leave(t)
}

// TestQueryPaused asks an app that is paused.
func TestQueryPaused(t *testing.T) {
	server, client := newServer(t)
	produce(t, client, lines, textLines(100)...)
	r := startInstance(t, server, wordCount(t), processor.Config{Queries: true})
	awaitCounts(t, client, 100)
	require.NoError(t, r.app.Pause(t.Context()))
	produce(t, client, lines, textLines(10)...)
	q := newQuery[int](t, client, wordCount(t), "count", "counts", processor.QueryConfig{})
	for range 3 {
		a, err := q.Get(t.Context(), "common")
		require.NoError(t, err)
		require.Equal(t, 100, a.Rows[0].Value)
	}
	r.app.Resume()
	awaitCounts(t, client, 110)
	r.leave(t)
}

// TestQueryWindows asks for aggregates, for windows and sessions of them, and for the rows of a window store, in pages.
func TestQueryWindows(t *testing.T) {
	server, client := newServer(t)
	const n, bursts = 3000, 30
	records := make([]stream.ProducerRecord[line], n)
	for i := range records { // bursts of 100 s, with 1000 s in between
		records[i] = stream.ProducerRecord[line]{Key: "k", Value: line{Text: fmt.Sprint(i), At: at(i + i/100*1000)}}
	}
	produce(t, client, lines, records...)
	long := 100 * 24 * time.Hour
	results := stream.Topic[int64]{Name: "results", Partitions: 4}
	b := processor.NewBuilder("windowed")
	in := processor.From(b, lines)
	processor.Count(in, processor.Counting{Name: "all"}).To(results)
	processor.Count(in, processor.Counting{Name: "minutes", Windows: processor.Tumbling(time.Minute), Grace: long}).To(results)
	processor.Count(in, processor.Counting{Name: "slides", Windows: processor.Sliding(5 * time.Second), Grace: long}).To(results)
	processor.Count(in, processor.Counting{Name: "bursts", Windows: processor.Session(time.Minute), Grace: long}).To(results)
	processor.Process(in, "kept", func(c *processor.Context[int64]) processor.Handler[line] {
		rows := processor.WindowStore[string](c, "rows", long)
		history := processor.VersionedStore[string](c, "history", long)
		return processor.Handler[line]{Record: func(r processor.Record[line]) error {
			rows.Add(r.Key, r.Time.Truncate(time.Hour), r.Value.Text)
			history.Put(r.Key, r.Time, r.Value.Text)
			c.Forward(processor.With(r, int64(0)))
			return nil
		}}
	}).To(results)
	topology := build(t, b)
	r := startInstance(t, server, topology, processor.Config{Queries: true})
	all := newQuery[int64](t, client, topology, "all", "aggregates", processor.QueryConfig{})
	last := records[n-1].Value.At
	require.Eventually(t, func() bool {
		a, err := all.Get(t.Context(), "k")
		return err == nil && len(a.Rows) == 1 && a.Rows[0] == processor.Row[int64]{Key: "k", Value: n, Time: last}
	}, time.Minute, 10*time.Millisecond)

	kept := rowsOf(t, newQuery[string](t, client, topology, "kept", "rows", processor.QueryConfig{}).Windows(t.Context(), "k", time.Time{}, last))
	require.Len(t, kept, n)
	for i, row := range kept {
		want := processor.Row[string]{Key: "k", Value: fmt.Sprint(i), Time: records[i].Value.At.Truncate(time.Hour)}
		require.Equal(t, want, row, "in pages, by time, then as they came; thousands have one time")
	}
	versions := newQuery[string](t, client, topology, "kept", "history", processor.QueryConfig{})
	a, err := versions.Get(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, []processor.Row[string]{{Key: "k", Value: fmt.Sprint(n - 1), Time: last}}, a.Rows)

	for i, when := range []int{n - 1, n / 2, 250} {
		record := records[when]
		a, err = versions.AsOf(t.Context(), "k", record.Value.At.Add(500*time.Millisecond))
		require.NoError(t, err)
		require.Equal(t, []processor.Row[string]{{Key: "k", Value: fmt.Sprint(when), Time: record.Value.At}}, a.Rows, i)
	}
	a, err = versions.AsOf(t.Context(), "k", at(-1))
	require.NoError(t, err)
	require.Empty(t, a.Rows)

	minutes, sum := rowsOf(t, newQuery[int64](t, client, topology, "minutes", "windows", processor.QueryConfig{}).Windows(t.Context(), "k", at(0), last)), int64(0)
	for _, row := range minutes {
		require.Equal(t, row.Window.Start.Truncate(time.Minute), row.Window.Start)
		require.Equal(t, time.Minute, row.Window.End.Sub(row.Window.Start))
		require.False(t, row.Time.Before(row.Window.Start) || !row.Time.Before(row.Window.End))
		sum += row.Value
	}
	require.GreaterOrEqual(t, sum, int64(n-60), "windows that start before the first record are not asked for")

	slides := newQuery[int64](t, client, topology, "slides", "windows", processor.QueryConfig{})
	got := rowsOf(t, slides.Windows(t.Context(), "k", at(20), at(20)))
	require.Equal(t, []processor.Row[int64]{{Key: "k", Value: 6, Time: at(25), Window: processor.Window{Start: at(20), End: at(25)}}}, got)

	sessions := newQuery[int64](t, client, topology, "bursts", "sessions", processor.QueryConfig{})
	got = rowsOf(t, sessions.Windows(t.Context(), "k", time.Time{}, last))
	require.Len(t, got, bursts)
	for i, row := range got {
		start := at(i * 1100)
		require.Equal(t, processor.Row[int64]{Key: "k", Value: 100, Window: processor.Window{Start: start, End: start.Add(99 * time.Second)}}, row)
	}
	require.Len(t, rowsOf(t, sessions.Windows(t.Context(), "k", at(50), at(1100))), 2, "those that overlap")

	for of, want := range map[*processor.Query[int64]][]processor.Row[int64]{sessions: got, newQuery[int64](t, client, topology, "minutes", "windows", processor.QueryConfig{}): minutes} {
		require.Equal(t, want, rowsOf(t, of.All(t.Context(), at(0), last)), "there is one key")
	}
	whole := rowsOf(t, newQuery[string](t, client, topology, "kept", "rows", processor.QueryConfig{}).All(t.Context(), time.Time{}, last))
	require.Equal(t, kept, whole)
	r.leave(t)
}

// TestStandbyAnswersGrowOld asks a copy of a task that commits nothing: its age grows until the server says again that there is nothing more.
func TestStandbyAnswersGrowOld(t *testing.T) {
	t.Parallel()
	server, client := newServer(t)
	produce(t, client, lines, textLines(100)...)
	cfg := processor.Config{Queries: true, Standby: true}
	owner, other := startInstance(t, server, wordCount(t), cfg), startInstance(t, server, wordCount(t), cfg)
	awaitCounts(t, client, 100)
	q := newQuery[int](t, client, wordCount(t), "count", "counts", processor.QueryConfig{Standby: true})
	require.Eventually(t, func() bool {
		a, err := q.Get(t.Context(), "common")
		return err == nil && a.Standby && len(a.Rows) == 1 && a.Rows[0].Value == 100
	}, time.Minute, 5*time.Millisecond)
	require.NoError(t, owner.app.Pause(t.Context()))
	require.NoError(t, other.app.Pause(t.Context()))
	oldest := time.Duration(0)
	renewed := func() bool { // nothing comes, and the server says so every two seconds
		a, err := q.Get(t.Context(), "common")
		before := oldest
		oldest = max(oldest, a.Age)
		return err == nil && before > time.Second && a.Age < before/2
	}
	require.Eventually(t, renewed, time.Minute, 20*time.Millisecond)
	owner.leave(t)
	other.leave(t)
}

// TestVainQuestions has questions wait for a task that is busy until nobody waits for their answers.
func TestVainQuestions(t *testing.T) {
	t.Parallel()
	server, client := newServer(t)
	begun, release := make(chan struct{}), make(chan struct{})
	b := processor.NewBuilder("busy")
	processor.Process(processor.From(b, lines), "slow", func(c *processor.Context[line]) processor.Handler[line] {
		rows := processor.KeyValueStore[string](c, "rows")
		return processor.Handler[line]{Record: func(r processor.Record[line]) error {
			rows.Put(r.Key, r.Value.Text)
			if r.Value.Text == "wait" {
				close(begun)
				<-release
			}
			return nil
		}}
	})
	produce(t, client, lines, stream.ProducerRecord[line]{Key: "k", Value: line{Text: "wait", At: at(0)}})
	r := startInstance(t, server, build(t, b), processor.Config{Queries: true})
	<-begun
	nc := embeddedtest.ConnectTo(t, server)
	subject := fmt.Sprintf("rossby.query.busy.slow.rows.%d.get", stream.Partition("k", lines.Partitions))
	inbox := nc.NewInbox()
	answers, err := nc.SubscribeSync(inbox)
	require.NoError(t, err)
	for _, wait := range []int{1, 0, 3_600_000} {
		require.NoError(t, nc.PublishRequest(subject, inbox, []byte(fmt.Sprintf(`{"key":"k","wait_ms":%d}`, wait))))
	}
	require.Eventually(t, func() bool { // they have come
		m, err := nc.Request("$SRV.INFO.busy-queries", nil, time.Minute)
		return err == nil && len(m.Data) > 0
	}, time.Minute, 20*time.Millisecond)
	<-time.After(20 * time.Millisecond) // longer than the first one waits
	close(release)
	codes := map[string]int{}
	for range 3 {
		m, err := answers.NextMsg(time.Minute)
		require.NoError(t, err)
		codes[m.Header.Get(micro.ErrorCodeHeader)]++
	}
	require.Equal(t, map[string]int{"503": 1, "": 2}, codes)
	r.leave(t)
}

// TestQueryGlobals asks for rows of a global table, which every instance has.
func TestQueryGlobals(t *testing.T) {
	t.Parallel()
	server, client := newServer(t)
	places := stream.Topic[string]{Name: "places", Partitions: 3, Compact: true, Codec: stream.String()}
	const n = 1500
	records := make([]stream.ProducerRecord[string], n)
	for i := range records {
		records[i] = stream.ProducerRecord[string]{Key: fmt.Sprintf("p%04d", i), Value: fmt.Sprint("place ", i)}
	}
	produce(t, client, places, records...)
	b := processor.NewBuilder("located")
	table := processor.GlobalTableFrom(b, places)
	processor.Process(processor.From(b, lines), "locate", func(c *processor.Context[line]) processor.Handler[line] {
		_ = processor.LookupsIn(c, table)
		return processor.Handler[line]{Record: func(processor.Record[line]) error { return nil }}
	})
	topology := build(t, b)
	r := startInstance(t, server, topology, processor.Config{Queries: true, Instance: "one"})
	q := newQuery[string](t, client, topology, "places", "rows", processor.QueryConfig{Standby: true})
	a, err := q.Get(t.Context(), "p0042")
	require.NoError(t, err)
	require.Equal(t, []processor.Row[string]{{Key: "p0042", Value: "place 42"}}, a.Rows)
	require.Equal(t, "one", a.Instance)
	rows := rowsOf(t, q.Range(t.Context(), "", ""))
	require.Len(t, rows, n)
	for i, row := range rows {
		require.Equal(t, records[i].Key, row.Key)
	}
	r.leave(t)
}
