package processor_test

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// world is what the examples run in: a server of their own. Where a test would fail, it panics.
type world struct {
	server *embedded.Server
	nc     *nats.Conn
	client *stream.Client
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func newWorld() *world {
	server := must(embedded.Start(context.Background(), embedded.Config{}))
	nc := must(server.Connect())
	return &world{server: server, nc: nc, client: must(stream.NewClient(nc, stream.Config{}))}
}

func (w *world) end() {
	w.nc.Close()
	check(w.server.Stop())
}

// run processes everything that the topics hold, closes all windows and ends.
func (w *world) run(b *processor.Builder) {
	app := processor.NewApp(w.client, must(b.Build()), processor.Config{Bounded: true})
	check(app.Run(context.Background()))
}

func say[V any](key string, value V) stream.ProducerRecord[V] {
	return stream.ProducerRecord[V]{Key: key, Value: value}
}

func send[V any](w *world, topic stream.Topic[V], records ...stream.ProducerRecord[V]) {
	ctx := context.Background()
	check(w.client.CreateTopic(ctx, topic.Spec()))
	p := must(stream.NewProducer(w.client, topic, stream.ProducerConfig{}))
	for _, r := range records {
		check(p.Send(ctx, r))
	}
	check(p.Close(ctx))
}

// read returns what a topic of one partition holds.
func read[V any](w *world, topic stream.Topic[V]) (records []stream.Record[V]) {
	ctx := context.Background()
	consumer := must(stream.NewConsumer(ctx, w.client, topic, stream.ConsumerConfig{Group: "reader"}))
	defer consumer.Close()
	for !must(consumer.CaughtUp(ctx)) {
		records = append(records, must(consumer.Poll(ctx))...)
	}
	return records
}
