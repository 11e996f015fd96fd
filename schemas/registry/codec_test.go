package registry_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/schemas"
	"github.com/rossby-streams/rossby/schemas/registry"
	"github.com/rossby-streams/rossby/stream"
)

type load struct {
	Host string   `json:"host"`
	Load *float64 `json:"load,omitempty"`
}

func tied(t testing.TB, js jetstream.JetStream, texts ...string) *registry.Registry {
	t.Helper()
	r := open(t, js, registry.Config{Compatibility: registry.None})
	for _, text := range texts {
		register(t, r, "load", text)
	}
	require.NoError(t, r.Tie(t.Context(), "loads", "load"))
	return r
}

func codecFor(t testing.TB, r *registry.Registry, edge registry.Edge) *registry.Codec[load] {
	t.Helper()
	c, err := registry.CodecFor[load](t.Context(), r, "loads", edge)
	require.NoError(t, err)
	return c
}

func TestCodecs(t *testing.T) {
	r := tied(t, jetStream(t), one, two, strict)
	old, latest := codecFor(t, r, registry.Edge{Version: 1}), codecFor(t, r, registry.Edge{})
	require.Equal(t, "load", old.Subject())
	require.Equal(t, 1, old.Version())
	require.Equal(t, 3, latest.Version())
	half := 0.5
	data, err := latest.Encode(load{"a", &half})
	require.NoError(t, err)
	require.JSONEq(t, `{"host":"a","load":0.5}`, string(data))
	v, err := latest.Decode(data)
	require.NoError(t, err)
	require.Equal(t, load{"a", &half}, v)

	_, err = old.Decode(data)
	var mismatch *registry.MismatchError
	require.ErrorAs(t, err, &mismatch)
	require.Equal(t, []int{3, 2}, mismatch.Fits)
	require.ErrorContains(t, err, `fits version 3 of subject "load" and not version 1`)
	var invalid *schemas.ValidationError
	require.ErrorAs(t, err, &invalid)

	_, err = latest.Encode(load{Host: "a"})
	require.ErrorAs(t, err, &mismatch)
	require.Equal(t, []int{2, 1}, mismatch.Fits)
	_, err = latest.Decode([]byte(`{"host":7}`))
	require.ErrorAs(t, err, &mismatch)
	require.Empty(t, mismatch.Fits)
	require.ErrorContains(t, err, `fits no known version of subject "load"`)
	_, err = latest.Decode([]byte(`{"host":`))
	require.ErrorAs(t, err, &mismatch)

	for _, edge := range []registry.Edge{{Version: 4}, {Version: -1}} {
		_, err = registry.CodecFor[load](t.Context(), r, "loads", edge)
		require.ErrorIs(t, err, registry.ErrNotFound, "%v", edge)
	}
	_, err = registry.CodecFor[load](t.Context(), r, "loads", registry.Edge{Sample: -1})
	require.ErrorContains(t, err, "Edge.Sample is -1")
	_, err = registry.CodecFor[load](t.Context(), r, "others", registry.Edge{})
	require.ErrorContains(t, err, `the topic "others" is tied to no subject`)
}

func TestSamples(t *testing.T) {
	r := tied(t, jetStream(t), one)
	c := codecFor(t, r, registry.Edge{Sample: 10})
	refused := 0
	for range 100 {
		if _, err := c.Decode([]byte(`{"host":"a","load":1}`)); err != nil {
			refused++
		}
	}
	require.Equal(t, 10, refused)
	_, err := c.Encode(load{})
	require.NoError(t, err)
	_, err = c.Decode([]byte(`{`))
	require.Error(t, err, "what is no JSON is no value either")
}

// TestTopicsAtTheEdge sends through a codec of the registry and has an app read with one of another version: producers refuse what does
// not fit, and what other clients have sent becomes a dead letter.
func TestTopicsAtTheEdge(t *testing.T) {
	nc := embeddedtest.Connect(t)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	client, err := stream.NewClient(nc, stream.Config{})
	require.NoError(t, err)
	r := tied(t, js, one, two)
	topic := func(version int) stream.Topic[load] {
		return stream.Topic[load]{Name: "loads", Partitions: 1, Codec: codecFor(t, r, registry.Edge{Version: version})}
	}
	out := stream.Topic[string]{Name: "hosts"}
	b := processor.NewBuilder("app")
	processor.Map(processor.From(b, topic(1)), func(l load) string { return l.Host }).To(out)
	topology, err := b.Build()
	require.NoError(t, err)
	require.NoError(t, client.CreateTopic(t.Context(), topic(2).Spec()))
	p, err := stream.NewProducer(client, topic(2), stream.ProducerConfig{})
	require.NoError(t, err)
	half := 0.5
	send := func(v load) error { return p.Send(t.Context(), stream.ProducerRecord[load]{Key: "k", Value: v}) }
	require.NoError(t, send(load{Host: "a"}))
	require.NoError(t, send(load{"b", &half}), "fits version 2, and not version 1, with which the app reads")
	require.NoError(t, send(load{Host: "c"}))
	require.NoError(t, p.Close(t.Context()))
	_, err = js.Publish(t.Context(), "loads.0.k", []byte(`{"host":7}`))
	require.NoError(t, err)

	require.NoError(t, processor.NewApp(client, topology, processor.Config{Bounded: true}).Run(t.Context()))
	require.Equal(t, []string{"a", "c"}, values(t, client, out))
	letters := read(t, client, topology.DeadLetterTopic())
	require.Len(t, letters, 2)
	require.Contains(t, letters[0].Headers.Get(processor.DeadError), "fits version 2")
	require.Contains(t, letters[1].Headers.Get(processor.DeadError), "fits no known version")
}

func read[V any](t *testing.T, client *stream.Client, topic stream.Topic[V]) []stream.Record[V] {
	t.Helper()
	k, err := stream.NewConsumer(t.Context(), client, topic, stream.ConsumerConfig{Group: "test"})
	require.NoError(t, err)
	defer k.Close()
	var all []stream.Record[V]
	for {
		done, err := k.CaughtUp(t.Context())
		require.NoError(t, err)
		if done {
			return all
		}
		records, err := k.Poll(t.Context())
		require.NoError(t, err)
		all = append(all, records...)
	}
}

func values(t *testing.T, client *stream.Client, topic stream.Topic[string]) []string {
	t.Helper()
	var all []string
	for _, r := range read(t, client, topic) {
		all = append(all, r.Value)
	}
	return all
}

func Example() {
	ctx := context.Background()
	js, stop, err := server()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	reg, err := registry.Open(ctx, js, registry.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := reg.Register(ctx, "person", []byte(`{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}`))
	fmt.Println(v.Number, err)
	_, err = reg.Register(ctx, "person", []byte(`{"type":"object","properties":{"name":{"type":"string","maxLength":20}},"required":["name"]}`))
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// registry: subject "person" is backward compatible: the new schema would refuse what version 1 allows: /name may have more than 20 characters (properties/name/maxLength) (allow both, or use another subject)
}
