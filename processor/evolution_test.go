package processor_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

var (
	bought  = stream.Topic[int]{Name: "orders", Partitions: 2}
	paid    = stream.Topic[int]{Name: "payments", Partitions: 2}
	results = stream.Topic[int64]{Name: "results", Partitions: 2}
)

// shop makes a topology of one app.
func shop(t *testing.T, describe func(*processor.Builder)) *processor.Topology {
	t.Helper()
	b := processor.NewBuilder("shop")
	describe(b)
	topology, err := b.Build()
	require.NoError(t, err)
	return topology
}

func keeping(stores ...func(*processor.Context[int])) func(*processor.Context[int]) processor.Handler[int] {
	return func(c *processor.Context[int]) processor.Handler[int] {
		for _, s := range stores {
			s(c)
		}
		return processor.Handler[int]{Record: func(r processor.Record[int]) error { c.Forward(r); return nil }}
	}
}

func keyValue(name string) func(*processor.Context[int]) {
	return func(c *processor.Context[int]) { processor.KeyValueStore[int](c, name) }
}

// valuesAs keeps values of a type under a name.
func valuesAs[V any](name string) func(*processor.Context[int]) {
	return func(c *processor.Context[int]) { processor.KeyValueStore[V](c, name) }
}

func keepingValues(store func(name string) func(*processor.Context[int])) func(*processor.Builder) {
	return processing("keep", store("a"))
}

func windowed(name string) func(*processor.Context[int]) {
	return func(c *processor.Context[int]) { processor.WindowStore[int](c, name, time.Hour) }
}

func counting(windows processor.Windows) func(*processor.Builder) {
	return func(b *processor.Builder) {
		processor.Count(processor.From(b, bought), processor.Counting{Name: "count", Windows: windows}).To(results)
	}
}

func processing(name string, stores ...func(*processor.Context[int])) func(*processor.Builder) {
	return func(b *processor.Builder) { processor.Process(processor.From(b, bought), name, keeping(stores...)) }
}

func byKey(partitions int) func(*processor.Builder) {
	return func(b *processor.Builder) {
		keyed := processor.KeyBy(processor.From(b, bought), "by-customer", func(int) string { return "x" })
		if partitions != bought.Partitions {
			more := stream.Topic[int]{Name: "zones", Partitions: partitions}
			keyed = keyed.Merge(processor.From(b, more))
		}
		processor.Process(keyed, "keep", keeping(keyValue("a")))
	}
}

// TestTopologyEvolves starts an app with one topology and then with another: what can be carried on is, what cannot is refused before
// anything is touched.
func TestTopologyEvolves(t *testing.T) {
	with := func(parts ...func(*processor.Builder)) func(*processor.Builder) {
		return func(b *processor.Builder) {
			for _, p := range parts {
				p(b)
			}
		}
	}
	source := func(topic stream.Topic[int]) func(*processor.Builder) {
		return func(b *processor.Builder) { processor.From(b, topic).Peek(func(processor.Record[int]) {}) }
	}
	sink := func(b *processor.Builder) { processor.From(b, paid).To(stream.Topic[int]{Name: "copies"}) }
	wide := bought
	wide.Partitions = 4
	base := processing("keep", keyValue("a"))
	type position struct{ X, Y int }
	type total struct {
		Sum, Count int
		At         *position       `json:"at"`
		All        []position      `json:"all"`
		Named      map[string]int  `json:"named"`
		Odd        json.RawMessage `json:"odd,omitzero"`
		_          int             // nobody sees it
	}
	type renamed struct {
		Total, Count int
		At           *position `json:"at"`
	}
	type tagged struct {
		Total int `json:"Sum"`
		Count int64
		At    struct {
			position `json:",inline"`
			Z        float64
		} `json:"at"`
		All   []struct{ X, Y, Z int } `json:"all"`
		Named map[string]float64      `json:"named"`
		Odd   string                  `json:"odd"`
	}
	type inner struct {
		Sum, Count int
		All        []struct{ X, Why int } `json:"all"`
	}
	type fewer struct{ Count int }
	type other struct {
		Sum, Count int
		At         string `json:"at"`
	}
	for name, c := range map[string]struct {
		before, after func(*processor.Builder)
		refused       string // "": carried on
	}{
		"nothing": {base, base, ""},
		"an operator more": {base, func(b *processor.Builder) {
			processor.Process(processor.From(b, bought).Filter(func(int) bool { return true }), "keep", keeping(keyValue("a")))
		}, ""},
		"a store more":                {base, processing("keep", keyValue("a"), windowed("b")), ""},
		"a sub-topology more":         {base, with(base, source(paid)), ""},
		"a sink more":                 {source(paid), sink, ""},
		"a sink less":                 {sink, source(paid), ""},
		"a repartition more":          {source(bought), byKey(2), ""},
		"an operator without state":   {func(b *processor.Builder) { processor.Process(processor.From(b, bought), "gone", keeping()) }, source(bought), ""},
		"a store less":                {base, processing("keep"), "it had state in keep.a"},
		"an operator renamed":         {base, processing("kept", keyValue("a")), "bring the operator back under its name"},
		"a store of another kind":     {base, processing("keep", windowed("a")), "keep.a was a key-value store, now it is a window store"},
		"a topic less":                {with(base, source(paid)), base, "sub-topology payments: it read payments"},
		"a repartition less":          {byKey(2), source(bought), "sub-topology by-customer"},
		"windows of another size":     {counting(processor.Tumbling(time.Minute)), counting(processor.Tumbling(time.Hour)), "tumbling windows of 1m0s"},
		"windows of another kind":     {counting(processor.Tumbling(time.Minute)), counting(processor.Session(time.Minute)), "it had state in count.windows"},
		"windows for none":            {counting(processor.Windows{}), counting(processor.Tumbling(time.Minute)), "count.aggregates"},
		"fields more or less":         {keepingValues(valuesAs[fewer]), keepingValues(valuesAs[total]), ""},
		"fields less":                 {keepingValues(valuesAs[total]), keepingValues(valuesAs[fewer]), ""},
		"a Go field with a tag":       {keepingValues(valuesAs[total]), keepingValues(valuesAs[tagged]), ""},
		"a field renamed":             {keepingValues(valuesAs[total]), keepingValues(valuesAs[renamed]), `keep.a: the values had a field Sum of kind number, now they have Total instead`},
		"a field of a field renamed":  {keepingValues(valuesAs[total]), keepingValues(valuesAs[inner]), `a field all[].Y of kind number, now they have all[].Why instead`},
		"a field of another kind":     {keepingValues(valuesAs[total]), keepingValues(valuesAs[other]), `keep.a: the values.at were object, now they are text`},
		"partitions of an input":      {source(bought), source(wide), "declare 2 partitions again"},
		"partitions of a repartition": {byKey(2), byKey(4), "it had 2 partitions"},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t)
			produce(t, client, bought, stream.ProducerRecord[int]{Key: "k", Value: 1})
			produce(t, client, paid, stream.ProducerRecord[int]{Key: "k", Value: 1})
			before := shop(t, c.before)
			require.NoError(t, newApp(t, client, before, true).Run(t.Context()))
			produce(t, client, bought, stream.ProducerRecord[int]{Key: "k", Value: 2})
			err := newApp(t, client, shop(t, c.after), true).Run(t.Context())
			if c.refused == "" {
				require.NoError(t, err)
				return
			}
			var refused *processor.EvolutionError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, "shop", refused.App)
			require.ErrorContains(t, err, c.refused)
			require.ErrorContains(t, err, "give the app a new name")
			require.NoError(t, newApp(t, client, before, true).Run(t.Context()), "the former topology goes on")
		})
	}
}

// TestNoteIsGolden keeps programs of today able to read what programs of yesterday have noted: a change needs a new version.
func TestNoteIsGolden(t *testing.T) {
	client := newClient(t)
	topology := shop(t, func(b *processor.Builder) {
		counting(processor.Tumbling(time.Minute))(b)
		processor.Process(processor.From(b, paid), "keep", keeping(keyValue("a"), windowed("b")))
	})
	require.NoError(t, newApp(t, client, topology, true).Run(t.Context()))
	note, _, err := client.GroupNote(t.Context(), "app.shop")
	require.NoError(t, err)
	want, err := os.ReadFile(filepath.Join("testdata", "state-note-v2.golden"))
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(want)), string(note))
	former, err := os.ReadFile(filepath.Join("testdata", "state-note-v1.golden"))
	require.NoError(t, err)
	client = newClient(t)
	_, err = client.SetGroupNote(t.Context(), "app.shop", former, 0)
	require.NoError(t, err)
	require.NoError(t, newApp(t, client, topology, true).Run(t.Context()))
	note, _, err = client.GroupNote(t.Context(), "app.shop")
	require.NoError(t, err)
	levelTwo := strings.Replace(string(want), `"number":1`, `"number":2`, 1)
	require.Equal(t, strings.TrimSpace(levelTwo), string(note), "what the former version has noted is carried on")
}

// TestRowsAreGolden keeps the names and kinds of all that operators of this package keep in rows: a program of tomorrow that has other
// ones could not read what is stored today.
func TestRowsAreGolden(t *testing.T) {
	client := newClient(t)
	topology := shop(t, func(b *processor.Builder) {
		in := processor.From(b, bought)
		for name, windows := range map[string]processor.Windows{
			"plain": {}, "tumbling": processor.Tumbling(time.Minute), "sliding": processor.Sliding(time.Minute), "session": processor.Session(time.Minute),
		} {
			processor.Count(in, processor.Counting{Name: name, Windows: windows}).To(stream.Topic[int64]{Name: name, Partitions: 2})
			if name != "plain" {
				closed := processor.Count(in, processor.Counting{Name: name + "-closed", Windows: windows, Emit: processor.OnClose})
				closed.To(stream.Topic[int64]{Name: name + "-closed", Partitions: 2})
			}
		}
		processor.Process(in, "stores", keeping(keyValue("key-value"), windowed("window"),
			func(c *processor.Context[int]) { processor.ExpiringStore[int](c, "expiring", time.Hour) },
			func(c *processor.Context[int]) { processor.SessionStore[int](c, "session", time.Hour) },
			func(c *processor.Context[int]) { processor.VersionedStore[int](c, "versioned", time.Hour) },
		))
		table := processor.TableFrom(b, stream.Topic[int]{Name: "people", Compact: true}).ByTime("by-time", time.Hour)
		processor.GroupBy(table, "grouped", func(string, int) string { return "" }).Peek(func(processor.Record[processor.Change[int]]) {})
		processor.ToTable(processor.From(b, stream.Topic[int]{Name: "made"}), "to-table").To(stream.Topic[int]{Name: "tabled", Compact: true})
	})
	require.NoError(t, newApp(t, client, topology, true).Run(t.Context()))
	requireGolden(t, client, "app.shop", filepath.Join("testdata", "rows.golden"))
}

func requireGolden(t *testing.T, client *stream.Client, group, file string) {
	t.Helper()
	note, _, err := client.GroupNote(t.Context(), group)
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, json.Indent(&text, note, "", " "))
	text.WriteByte('\n')
	if *rewrite {
		require.NoError(t, os.WriteFile(file, text.Bytes(), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), text.String())
}

// TestRefusedNewcomerDisturbsNobody starts an instance that cannot go on with the state beside one that works.
func TestRefusedNewcomerDisturbsNobody(t *testing.T) {
	server, client := newServer(t)
	produce(t, client, lines, textLines(1000)...)
	a := startInstance(t, server, wordCount(t), processor.Config{})
	require.Eventually(t, func() bool { return a.tasks() == 8 }, time.Minute, 5*time.Millisecond)
	b := processor.NewBuilder("wordcount")
	processor.Process(processor.From(b, lines), "other", func(c *processor.Context[int]) processor.Handler[line] {
		return processor.Handler[line]{Record: func(processor.Record[line]) error { return nil }}
	})
	other, err := b.Build()
	require.NoError(t, err)
	var refused *processor.EvolutionError
	require.ErrorAs(t, newApp(t, client, other, false).Run(t.Context()), &refused)
	produce(t, client, lines, textLines(2000)[1000:]...)
	require.Equal(t, 8, a.tasks(), "nothing has moved")
	a.leave(t)
	require.NoError(t, newApp(t, client, wordCount(t), true).Run(t.Context()))
	checkCounts(t, client, 2000)
}

// TestStateThatIsGoneMayGo deletes the journals of an app: what is gone is no conflict, but no new beginning either until the app is reset.
func TestStateThatIsGoneMayGo(t *testing.T) {
	client := newClient(t)
	produce(t, client, bought, stream.ProducerRecord[int]{Key: "k", Value: 1})
	require.NoError(t, newApp(t, client, shop(t, processing("keep", keyValue("a"))), true).Run(t.Context()))
	other := shop(t, processing("another", keyValue("b")))
	require.Error(t, newApp(t, client, other, true).Run(t.Context()))
	for _, p := range []string{"0", "1"} {
		require.NoError(t, client.DeleteJournal(t.Context(), "shop-orders-"+p+"-journal"))
	}
	var lost *processor.StateLostError
	require.ErrorAs(t, newApp(t, client, other, true).Run(t.Context()), &lost, "on purpose, or not?")
	require.NoError(t, client.DeleteGroup(t.Context(), bought.Spec(), "shop"))
	require.ErrorAs(t, newApp(t, client, other, true).Run(t.Context()), &lost, "still not known")
	_, err := processor.Reset(t.Context(), client, other, processor.ResetConfig{})
	require.NoError(t, err)
	require.NoError(t, newApp(t, client, other, true).Run(t.Context()))
}

// TestSubTopologyMayGo deletes the journals of one sub-topology of an app, which lets it go, and come back as a new one.
func TestSubTopologyMayGo(t *testing.T) {
	client := newClient(t)
	produce(t, client, bought, stream.ProducerRecord[int]{Key: "k", Value: 1})
	produce(t, client, paid, stream.ProducerRecord[int]{Key: "k", Value: 1})
	one := processing("keep", keyValue("a"))
	both := func(b *processor.Builder) {
		one(b)
		processor.Process(processor.From(b, paid), "more", keeping(keyValue("a")))
	}
	run := func(describe func(*processor.Builder)) error {
		return newApp(t, client, shop(t, describe), true).Run(t.Context())
	}
	require.NoError(t, run(both))
	require.Error(t, run(one))
	for _, p := range []string{"0", "1"} {
		require.NoError(t, client.DeleteJournal(t.Context(), "shop-payments-"+p+"-journal"))
	}
	require.NoError(t, run(one))
	require.NoError(t, client.DeleteGroup(t.Context(), paid.Spec(), "shop"))
	require.NoError(t, run(both))
}
