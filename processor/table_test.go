package processor_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

type person struct {
	Name string    `json:"name"`
	City string    `json:"city"`
	At   time.Time `json:"at"`
}

var (
	people  = stream.Topic[person]{Name: "people", Compact: true, Time: func(p person) time.Time { return p.At }}
	locals  = stream.Topic[string]{Name: "locals", Compact: true}
	updates = stream.Topic[string]{Name: "updates"}
)

// told writes changes as "old>new".
func told[V any](c processor.Change[V]) string {
	side := func(v *V) string {
		if v == nil {
			return "-"
		}
		return fmt.Sprint(*v)
	}
	return side(c.Old) + ">" + side(c.New)
}

// tableDriver runs what describe makes of the table of people.
func tableDriver(t testing.TB, describe func(processor.Table[person])) *processortest.Driver {
	b := processor.NewBuilder("tables")
	describe(processor.TableFrom(b, people))
	topology, err := b.Build()
	require.NoError(t, err)
	return processortest.New(t, topology)
}

func move(d *processortest.Driver, name, city string, seconds int) {
	processortest.Pipe(d, people, processor.Record[person]{Key: name, Value: person{name, city, at(seconds)}})
}

// rendered is what a topic of texts has got: key, value, seconds.
func rendered(d *processortest.Driver, topic stream.Topic[string]) (got []string) {
	for _, r := range processortest.ReadTable(d, topic) {
		value := "deleted"
		if r.Value != nil {
			value = *r.Value
		}
		got = append(got, fmt.Sprintf("%s %s %v", r.Key, value, r.Time.Sub(at(0)).Seconds()))
	}
	return got
}

func city(p person) string { return p.City }

func TestTableTellsWhatEachUpdateReplaces(t *testing.T) {
	d := tableDriver(t, func(people processor.Table[person]) {
		processor.Map(processor.MapTable(people, city).Changes(), told[string]).To(updates)
	})
	move(d, "ann", "Rome", 1)
	d.Crash()
	move(d, "ann", "Oslo", 2)
	move(d, "bob", "Oslo", 3)
	processortest.Delete(d, people, "ann", at(4))
	d.Crash()
	processortest.Delete(d, people, "ann", at(5)) // nobody there
	move(d, "ann", "Bern", 6)
	require.Equal(t, []string{"ann ->Rome 1", "ann Rome>Oslo 2", "bob ->Oslo 3", "ann Oslo>- 4", "ann ->Bern 6"}, rendered(d, updates))
}

func TestTablesGoByOffset(t *testing.T) {
	d := tableDriver(t, func(people processor.Table[person]) {
		processor.Map(processor.MapTable(people, city).Changes(), told[string]).To(updates)
	})
	move(d, "ann", "Rome", 10)
	move(d, "ann", "Oslo", 5)
	require.Equal(t, []string{"ann ->Rome 10", "ann Rome>Oslo 5"}, rendered(d, updates))
}

func TestFilteredRowsAreDeleted(t *testing.T) {
	d := tableDriver(t, func(people processor.Table[person]) {
		processor.MapTable(people.Filter(func(p person) bool { return p.City == "Rome" }), city).To(locals)
	})
	move(d, "ann", "Rome", 1)
	move(d, "bob", "Oslo", 2) // was never there: nothing is said
	move(d, "ann", "Oslo", 3)
	move(d, "ann", "Bern", 4)
	move(d, "ann", "Rome", 5)
	processortest.Delete(d, people, "ann", at(6))
	require.Equal(t, []string{"ann Rome 1", "ann deleted 3", "ann Rome 5", "ann deleted 6"}, rendered(d, locals))
}

func TestTableToStream(t *testing.T) {
	d := tableDriver(t, func(people processor.Table[person]) {
		processor.Map(people.Stream(), city).To(updates)
	})
	move(d, "ann", "Rome", 1)
	processortest.Delete(d, people, "ann", at(2))
	move(d, "ann", "Oslo", 3)
	require.Equal(t, []string{"ann Rome 1", "ann Oslo 3"}, rendered(d, updates))
}

func TestStreamToTable(t *testing.T) {
	b := processor.NewBuilder("tables")
	table := processor.ToTable(processor.From(b, people), "by-name")
	processor.Map(processor.MapTable(table, city).Changes(), told[string]).To(updates)
	d := processortest.New(t, build(t, b))
	move(d, "ann", "Rome", 1)
	move(d, "ann", "Oslo", 2)
	require.Equal(t, []string{"ann ->Rome 1", "ann Rome>Oslo 2"}, rendered(d, updates))
	processortest.Delete(d, people, "ann", at(3)) // in a stream it is a failed record
	require.Len(t, d.DeadLetters(), 1)
}

func TestTableOfAnAggregate(t *testing.T) {
	b := processor.NewBuilder("tables")
	moves := processor.Count(processor.From(b, people), processor.Counting{Name: "moves"}).Table()
	few := moves.Filter(func(n int64) bool { return n < 3 })
	processor.MapTable(few, func(n int64) string { return strings.Repeat("x", int(n)) }).To(locals)
	d := processortest.New(t, build(t, b))
	for i := range 4 {
		move(d, "ann", "Rome", i)
	}
	require.Equal(t, []string{"ann x 0", "ann xx 1", "ann deleted 2"}, rendered(d, locals))
}

func TestBadRowsAreDeadLetters(t *testing.T) {
	d := tableDriver(t, func(people processor.Table[person]) {
		processor.MapTable(people, func(p person) string {
			if p.City == "Atlantis" {
				panic("it sank")
			}
			return p.City
		}).To(locals)
	})
	move(d, "ann", "Rome", 1)
	d.PipeBytes(people.Spec(), "ann", []byte("{"), nil)
	move(d, "", "Rome", 2)
	move(d, "ann", "Atlantis", 3)
	processortest.Delete(d, people, "", at(4))
	move(d, "ann", "Oslo", 5)
	require.Equal(t, []string{"ann Rome 1", "ann Oslo 5"}, rendered(d, locals))
	require.Len(t, d.DeadLetters(), 4)
	row, ok, err := processortest.StoreValue[*person](d, "people", "rows", "ann")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "Oslo", row.City)
}

func TestTableMistakes(t *testing.T) {
	b := processor.NewBuilder("tables")
	table := processor.TableFrom(b, people)
	processor.MapTable[person, string](table, nil).To(locals)
	table.Filter(nil).To(stream.Topic[person]{Name: "filtered"})
	windows := processor.Tumbling(time.Minute)
	processor.Count(table.Stream(), processor.Counting{Name: "count", Windows: windows}).Table().To(stream.Topic[int64]{Name: "counts"})
	processor.TableFrom(b, stream.Topic[person]{Name: "unused"}).Filter(func(person) bool { return true })
	_, err := b.Build()
	for _, want := range []string{
		"table_test.go", "the map of a table needs a function", "the filter of a table needs a function", "the aggregates have windows",
		`topic "unused" is read and nobody takes its records`,
	} {
		require.ErrorContains(t, err, want)
	}
	zero := processor.MapTable(processor.Table[person]{}, city)
	zero.Filter(func(string) bool { return true }).To(locals)
	processor.GroupBy(zero, "by", func(string, string) string { return "" }).To(stream.Topic[processor.Change[string]]{Name: "x"})
	require.Zero(t, processor.ToTable(zero.Stream(), "again"))
}

// TestByTimeTheLatestCounts compares ByTime with the list of all updates, over random updates, deletions and crashes.
func TestByTimeTheLatestCounts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := tableDriver(t, func(people processor.Table[person]) {
			processor.MapTable(people.ByTime("by-time", time.Hour), city).To(locals)
		})
		latest, model := map[string]int{}, map[string]string{}
		var want []string
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			name := rapid.SampledFrom([]string{"ann", "bob"}).Draw(rt, "name")
			to := rapid.SampledFrom([]string{"Rome", "Bern", "deleted", "crash"}).Draw(rt, "to")
			when := rapid.IntRange(1, 100).Draw(rt, "when")
			if to == "crash" {
				d.Crash()
				continue
			}
			if to == "deleted" {
				processortest.Delete(d, people, name, at(when))
			} else {
				move(d, name, to, when)
			}
			if when < latest[name] {
				continue
			}
			latest[name] = when
			if _, there := model[name]; !there && to == "deleted" {
				continue
			}
			want = append(want, fmt.Sprintf("%s %s %v", name, to, float64(when)))
			if model[name] = to; to == "deleted" {
				delete(model, name)
			}
		}
		require.Equal(rt, want, rendered(d, locals))
	})
}

// cities counts people per city, over a table.
func cities(people processor.Table[person]) processor.Table[int] {
	perCity := processor.GroupBy(people, "by-city", func(_ string, p person) string { return p.City })
	return processor.Aggregate(perCity, processor.Aggregation[processor.Change[person], int]{
		Name: "inhabitants",
		Init: func() int { return 0 },
		Add: func(n int, c processor.Change[person]) int {
			if c.Old != nil {
				n--
			}
			if c.New != nil {
				n++
			}
			return n
		},
	}).Table()
}

func TestGroupByMovesRows(t *testing.T) {
	d := tableDriver(t, func(people processor.Table[person]) {
		processor.Map(cities(people).Changes(), told[int]).To(updates)
	})
	move(d, "ann", "Rome", 1)
	move(d, "bob", "Rome", 2)
	move(d, "ann", "Rome", 3) // within its group: one update
	move(d, "ann", "Oslo", 4)
	move(d, "cat", "", 5) // belongs to no group
	processortest.Delete(d, people, "bob", at(6))
	require.ElementsMatch(t, []string{
		"Rome ->1 1", "Rome 1>2 2", "Rome 2>2 3", "Rome 2>1 4", "Oslo ->1 4", "Rome 1>0 6",
	}, rendered(d, updates))
	require.Len(t, d.DeadLetters(), 1)
}

// TestTablesEqualTheirModel: over random updates, deletions and crashes, a filtered table, what is written of it and what is counted per
// group are what a map says.
func TestTablesEqualTheirModel(t *testing.T) {
	inhabitants := stream.Topic[int]{Name: "inhabitants"}
	partitioned := people
	partitioned.Partitions = 3
	rapid.Check(t, func(rt *rapid.T) {
		b := processor.NewBuilder("tables")
		table := processor.TableFrom(b, partitioned)
		kept := table.Filter(func(p person) bool { return p.City != "Oslo" })
		processor.MapTable(kept, city).To(locals)
		cities(kept).To(inhabitants)
		topology, err := b.Build()
		require.NoError(rt, err)
		d := processortest.New(t, topology)

		model, written, counted := map[string]string{}, map[string]string{}, map[string]int{}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			name := rapid.SampledFrom([]string{"ann", "bob", "cat"}).Draw(rt, "name")
			when := at(rapid.IntRange(0, 100).Draw(rt, "when"))
			switch to := rapid.SampledFrom([]string{"Rome", "Bern", "Oslo", "deleted", "crash"}).Draw(rt, "to"); to {
			case "crash":
				d.Crash()
			case "deleted":
				processortest.Delete(d, partitioned, name, when)
				delete(model, name)
			default:
				processortest.Pipe(d, partitioned, processor.Record[person]{Key: name, Value: person{name, to, when}})
				model[name] = to
			}
		}
		for _, r := range processortest.ReadTable(d, locals) {
			if r.Value == nil {
				require.Contains(rt, written, r.Key, "a tombstone for what was not there")
				delete(written, r.Key)
			} else {
				written[r.Key] = *r.Value
			}
		}
		maps.DeleteFunc(model, func(_, city string) bool { return city == "Oslo" })
		require.Equal(rt, model, written)
		for _, r := range processortest.Read(d, inhabitants) {
			counted[r.Key] = r.Value
		}
		want := map[string]int{}
		for _, city := range model {
			want[city]++
		}
		maps.DeleteFunc(counted, func(_ string, n int) bool { return n == 0 })
		require.Equal(rt, want, counted)
		require.Empty(rt, d.DeadLetters())
	})
}

// TestTablesOnAServer writes a table to a compacted topic, through restarts of the app and the compaction of both topics, and reads it
// back as a table.
func TestTablesOnAServer(t *testing.T) {
	client := newClient(t)
	from, to := people, locals
	from.Partitions, to.Partitions = 2, 2
	topology := func() *processor.Topology {
		b := processor.NewBuilder("tables")
		processor.MapTable(processor.TableFrom(b, from), city).To(to)
		return build(t, b)
	}
	model := map[string]string{}
	require.NoError(t, client.CreateTopic(t.Context(), from.Spec()))
	for round := range 3 {
		var outbox []stream.Outgoing
		for i := range 200 {
			key := fmt.Sprintf("p%d", i%40)
			p := person{key, fmt.Sprintf("city-%d", (round+1)*i%17), at(i)}
			data, err := stream.JSON[person]().Encode(p)
			require.NoError(t, err)
			model[key] = p.City
			if (i+round)%7 == 0 {
				data = nil
				delete(model, key)
			}
			outbox = append(outbox, stream.Outgoing{Topic: from.Spec(), Partition: stream.Partition(key, 2), Key: key, Data: data})
		}
		require.NoError(t, client.Publish(t.Context(), outbox))
		require.NoError(t, newApp(t, client, topology(), true).Run(t.Context()))
	}
	got := map[string]string{}
	for _, r := range all(t, client, to) {
		if r.Tombstone {
			delete(got, r.Key)
		} else {
			got[r.Key] = r.Value
		}
	}
	require.Equal(t, model, got)
	require.NotEmpty(t, got)
	require.Less(t, len(got), 40)
	require.Equal(t, slices.Sorted(maps.Keys(model)), slices.Sorted(maps.Keys(got)))
	require.Empty(t, all(t, client, topology().DeadLetterTopic()))
}
