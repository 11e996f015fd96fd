package join_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

var countries = stream.Topic[string]{Name: "countries", Partitions: 3, Compact: true}

// country is the part of a text after the comma.
func country(r processor.Record[string]) string {
	_, after, _ := strings.Cut(r.Value, ",")
	return after
}

func TestGlobalLookups(t *testing.T) {
	d := driverOf(t, func(b *processor.Builder) {
		rows := processor.GlobalTableFrom(b, countries)
		left := processor.From(b, orders)
		join.GlobalLeft(left, rows, join.By[string]{Name: "left", Key: country}, pairLeft).To(joined)
		join.Global(left, rows, join.By[string]{Name: "inner"}, func(l, r string) string { return "own key: " + pair(l, r) }).To(joined)
	})
	set(d, orders, "k", "a,CH", 1)
	set(d, countries, "CH", "Bern", 100) // triggers nothing, and its time is nobody's
	set(d, countries, "k", "itself", 100)
	set(d, orders, "", "b,CH", 2) // any task, any key, none at all
	set(d, orders, "k", "c,CH", 3)
	d.Crash()
	set(d, countries, "CH", "-", 101)
	d.PipeBytes(countries.Spec(), "k", []byte("{"), nil) // the row stays as it was
	set(d, orders, "k", "d,CH", 4)
	require.Equal(t, []string{
		"k a,CH,null 1", " b,CH,Bern 2", "k c,CH,Bern 3", "k own key: c,CH,itself 3", "k d,CH,null 4", "k own key: d,CH,itself 4",
	}, told(d))
}

func TestGlobalMistakes(t *testing.T) {
	b, other := processor.NewBuilder("app"), processor.NewBuilder("other")
	left := processor.From(b, orders)
	rows := processor.GlobalTableFrom(b, countries)
	processor.TableFrom(b, countries).To(joined)
	join.Global[string, string, string](left, rows, join.By[string]{Name: "a"}, nil).To(joined)
	join.GlobalLeft[string, string, string](left, rows, join.By[string]{Name: "b"}, nil).To(joined)
	_, err := b.Build()
	for _, want := range []string{"Global a: the joiner is nil", "GlobalLeft b: the joiner is nil", `topic "countries" is read already`} {
		require.ErrorContains(t, err, want)
	}
	left = processor.From(other, orders)
	join.GlobalLeft(left, rows, join.By[string]{Name: "c"}, pairLeft).To(joined)
	join.GlobalLeft(left, processor.GlobalTable[string]{}, join.By[string]{Name: "d"}, pairLeft).To(joined)
	_, err = other.Build()
	require.ErrorContains(t, err, "operator c looks up a global table of another Builder")
	require.ErrorContains(t, err, "operator d looks up a global table of another Builder, or a zero GlobalTable")
}

// TestGlobalTableIsThereBeforeTheFirstRecord: an app with a backlog in its stream and a large global table joins the first record
// already, on every start, and sees what is written while it runs.
func TestGlobalTableIsThereBeforeTheFirstRecord(t *testing.T) {
	nc := embeddedtest.Connect(t)
	client, err := stream.NewClient(nc, stream.Config{})
	require.NoError(t, err)
	ctx := t.Context()
	in := stream.Topic[string]{Name: "orders", Partitions: 2}
	topology := func() *processor.Topology {
		b := processor.NewBuilder("app")
		rows := processor.GlobalTableFrom(b, countries)
		join.GlobalLeft(processor.From(b, in), rows, join.By[string]{Name: "j", Key: country}, pairLeft).To(joined)
		topology, err := b.Build()
		require.NoError(t, err)
		return topology
	}
	const n = 5000
	require.NoError(t, client.CreateTopic(ctx, countries.Spec()))
	require.NoError(t, client.CreateTopic(ctx, in.Spec()))
	var rows, records []stream.Outgoing
	put := func(key, data string) stream.Outgoing {
		return stream.Outgoing{Topic: countries.Spec(), Partition: stream.Partition(key, 3), Key: key, Data: []byte(data)}
	}
	order := func(i int, of string) stream.Outgoing {
		key := fmt.Sprintf("k%d", i)
		return stream.Outgoing{Topic: in.Spec(), Partition: stream.Partition(key, 2), Key: key, Data: fmt.Appendf(nil, "%q", fmt.Sprintf("o%d,%s", i, of))}
	}
	for i := range n {
		rows = append(rows, put(fmt.Sprintf("C%d", i), fmt.Sprintf("%q", fmt.Sprintf("city %d", i))))
		records = append(records, order(i, fmt.Sprintf("C%d", i)))
	}
	rows = append(rows, put("bad", "{"))
	require.NoError(t, client.Publish(ctx, rows))
	require.NoError(t, client.Publish(ctx, records))
	require.NoError(t, processor.NewApp(client, topology(), processor.Config{Bounded: true}).Run(ctx))
	require.Equal(t, n, strings.Count(strings.Join(values(t, client), "\n"), "city"), "each has found its row")

	// Started again, it knows the rows again, and follows the topic.
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- processor.NewApp(client, topology(), processor.Config{}).Run(running) }()
	require.NoError(t, client.Publish(ctx, []stream.Outgoing{order(n, "C7")}))
	require.NoError(t, client.Publish(ctx, []stream.Outgoing{put("NEW", `"a new one"`)}))
	i := n
	require.Eventually(t, func() bool {
		i++
		require.NoError(t, client.Publish(ctx, []stream.Outgoing{order(i, "NEW")}))
		return strings.Contains(strings.Join(values(t, client), "\n"), "NEW,a new one")
	}, time.Minute, 50*time.Millisecond)
	require.Contains(t, values(t, client), fmt.Sprintf("o%d,C7,city 7", n))
	stop()
	require.NoError(t, <-ended)

	// A bad row is passed over unless the policy says Stop.
	b := processor.NewBuilder("strict")
	b.OnFailure(processor.Stop)
	strict := processor.GlobalTableFrom(b, countries)
	join.GlobalLeft(processor.From(b, in), strict, join.By[string]{Name: "j", Key: country}, pairLeft).To(joined)
	topo, err := b.Build()
	require.NoError(t, err)
	err = processor.NewApp(client, topo, processor.Config{Bounded: true}).Run(ctx)
	require.ErrorContains(t, err, `decode the row of key "bad"`)
	require.ErrorContains(t, err, "topic countries, partition")

	require.Contains(t, topology().String(), "global-table countries, 3 partitions, in every instance")
	require.Contains(t, topology().Mermaid(), "-. rows .->")
}

// values returns what the joined topic holds.
func values(t *testing.T, client *stream.Client) (got []string) {
	t.Helper()
	consumer, err := stream.NewConsumer(t.Context(), client, joined, stream.ConsumerConfig{Group: "values"})
	require.NoError(t, err)
	defer consumer.Close()
	for {
		done, err := consumer.CaughtUp(t.Context())
		require.NoError(t, err)
		if done {
			return got
		}
		records, err := consumer.Poll(t.Context())
		require.NoError(t, err)
		for _, r := range records {
			got = append(got, r.Value)
		}
	}
}
