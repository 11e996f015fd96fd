package stream_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/stream"
)

// Plain clients publish through the printed mappings, as a server reads them from
// its configuration file, and every message lands where our own producer puts its
// key; our own producers work as if the mappings were not there.
func TestPlainClientsPublishThroughMappings(t *testing.T) {
	ctx := testContext(t)
	spec := stream.TopicSpec{Name: "metrics", Partitions: 8}
	one, err := spec.Mappings("", 1)
	require.NoError(t, err)
	require.Equal(t, stream.Mappings{{From: "metrics.*", To: "metrics.{{partition(8,1)}}.{{wildcard(1)}}"}}, one)
	three, err := spec.Mappings("in.metrics", 3)
	require.NoError(t, err)
	require.Equal(t, stream.Mapping{From: "in.metrics.*.*", To: "metrics.{{partition(8,1,2)}}.{{wildcard(1)}}.{{wildcard(2)}}"}, three[1])

	s := configured(t, append(one, three...).Config())
	c := connect(t, stream.ConnectConfig{URL: s.URL()})
	createTopic(t, c, spec)
	nc, err := nats.Connect(s.URL())
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)

	var plain, all []string
	for i := range 100 {
		plain = append(plain, fmt.Sprintf("web-%03d", i))
		all = append(all, fmt.Sprintf("web-%03d", i), fmt.Sprintf("eu.web-%d", i), fmt.Sprintf("eu.%d.web", i))
	}
	all = append(all, "a b", "*", "%", "日本.語")
	for _, key := range plain {
		require.NoError(t, nc.Publish("metrics."+key, []byte("core")))
		_, err := js.Publish(ctx, "metrics."+key, []byte("acknowledged"))
		require.NoError(t, err)
	}
	for _, key := range all {
		_, err := js.Publish(ctx, "in.metrics."+stream.EscapeKey(key), []byte("in"))
		require.NoError(t, err)
	}
	p, err := stream.NewProducer(c, stream.Topic[string]{Name: "metrics", Partitions: 8}, stream.ProducerConfig{})
	require.NoError(t, err)
	for _, key := range all {
		require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Key: key, Value: "ours"}))
	}
	require.NoError(t, p.Close(ctx))

	found := map[string]int{}
	for part := range spec.Partitions {
		for _, m := range readAll(t, c, spec, part) {
			require.Equal(t, stream.Partition(m.Key, spec.Partitions), part, "%q", m.Key)
			found[m.Key]++
		}
	}
	for _, key := range all {
		want := 2
		if strings.HasPrefix(key, "web-") {
			want = 4
		}
		require.Equal(t, want, found[key], "%q", key)
	}
	require.Len(t, found, len(all))
}

func TestMappingsThatCannotBe(t *testing.T) {
	spec := stream.TopicSpec{Name: "metrics", Partitions: 2}
	for _, test := range []struct {
		spec   stream.TopicSpec
		from   string
		tokens int
		says   string
	}{
		{spec, "", 2, "in.metrics"},
		{spec, "metrics", 2, "in.metrics"},
		{spec, "metrics.in", 1, "in.metrics"},
		{spec, "", 0, "not 1 to 16"},
		{spec, "x", 17, "not 1 to 16"},
		{spec, "a..b", 1, "no subject"},
		{spec, "a.*", 1, "no subject"},
		{spec, "a b", 1, "no subject"},
		{spec, `a"b`, 1, "no subject"},
		{stream.TopicSpec{Name: "h", KeyIn: stream.Header}, "", 1, "headers"},
		{stream.TopicSpec{Name: "a.b"}, "", 1, "name"},
	} {
		_, err := test.spec.Mappings(test.from, test.tokens)
		require.ErrorContains(t, err, test.says, "%+v", test)
	}
	m, err := spec.Mappings("", 1)
	require.NoError(t, err)
	require.Equal(t, []string{`nsc add mapping --account 'O'\''Hara' --from 'metrics.*' --to 'metrics.{{partition(2,1)}}.{{wildcard(1)}}'`}, m.Commands("O'Hara"))
}

// A partition is read with nothing but nats.go: in order, by key, by a part of
// the key, live, and by acknowledging for a group.
func TestPlainClientsRead(t *testing.T) {
	ctx := testContext(t)
	s := configured(t, "server_name: plain")
	c := connect(t, stream.ConnectConfig{URL: s.URL()})
	topic := stream.Topic[string]{Name: "metrics", Partitions: 2, Codec: stream.String()}
	spec := topic.Spec()
	createTopic(t, c, spec)
	nc, err := nats.Connect(s.URL())
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	live, err := nc.SubscribeSync("metrics.*.eu.>")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())

	for i := range 20 {
		key := []string{"eu.web-1", "us.web-2"}[i%2]
		require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Partition: 1, Key: key, Data: fmt.Append(nil, i)}}))
	}
	for i := 0; i < 20; i += 2 {
		m, err := live.NextMsgWithContext(ctx)
		require.NoError(t, err)
		require.Equal(t, "metrics.1.eu.web-1", m.Subject)
		require.Equal(t, fmt.Sprint(i), string(m.Data))
	}
	str, err := js.Stream(ctx, "metrics-1")
	require.NoError(t, err)
	last, err := str.GetLastMsgForSubject(ctx, "metrics.1.us.web-2")
	require.NoError(t, err)
	require.Equal(t, "19", string(last.Data))
	require.Equal(t, uint64(20), last.Sequence)

	var all, us []string
	for i := range 20 {
		all = append(all, fmt.Sprint(i))
		if i%2 == 1 {
			us = append(us, fmt.Sprint(i))
		}
	}
	for filter, want := range map[string][]string{"metrics.1.>": all, "metrics.1.us.*": us} {
		cons, err := js.OrderedConsumer(ctx, "metrics-1", jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter}})
		require.NoError(t, err)
		batch, err := cons.Fetch(len(want))
		require.NoError(t, err)
		var got []string
		for m := range batch.Messages() {
			got = append(got, string(m.Data()))
		}
		require.NoError(t, batch.Error())
		require.Equal(t, want, got)
	}

	// A plain durable is a group to us.
	cons, err := js.CreateConsumer(ctx, "metrics-1", jetstream.ConsumerConfig{Durable: "plain", AckPolicy: jetstream.AckAllPolicy})
	require.NoError(t, err)
	batch, err := cons.Fetch(5)
	require.NoError(t, err)
	var m jetstream.Msg
	for m = range batch.Messages() {
		require.NoError(t, batch.Error())
	}
	require.NoError(t, m.DoubleAck(ctx))
	offsets, err := c.Committed(ctx, spec, "plain")
	require.NoError(t, err)
	require.Equal(t, stream.GroupOffset{Partition: 1, Next: 6, Lag: 15}, offsets[1])
}
