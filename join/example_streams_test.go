package join_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// Login is one time that somebody has logged in.
type Login struct {
	City string    `json:"city"`
	At   time.Time `json:"at"`
}

var (
	logins  = stream.Topic[Login]{Name: "logins", Time: func(l Login) time.Time { return l.At }}
	strange = stream.Topic[string]{Name: "strange", Codec: stream.String()}
)

// A stream is joined with itself to find records that are close to one another. Each record meets itself and each pair comes both
// ways; a window that begins behind the record leaves one of each pair.
func ExampleInner_selfJoin() {
	b := processor.NewBuilder("travel")
	in := processor.From(b, logins)
	join.Inner(in, in, join.Window{Name: "soon-after", Before: -1, After: time.Hour}, func(first, second Login) string {
		if first.City == second.City {
			return ""
		}
		return fmt.Sprintf("%s, and %s %v later", first.City, second.City, second.At.Sub(first.At))
	}).Filter(func(s string) bool { return s != "" }).To(strange)

	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	runExample(b, strange, func(ctx context.Context, c *stream.Client) error {
		return sendExample(ctx, c, logins, "ann", Login{"Bern", noon}, Login{"Bern", noon.Add(10 * time.Minute)}, Login{"Lima", noon.Add(30 * time.Minute)})
	})
	// Output:
	// ann: Bern, and Lima 30m0s later
	// ann: Bern, and Lima 20m0s later
}

// More than two streams are joined by joining a result with the next stream. The result has the time of the latest record.
func ExampleInner_threeStreams() {
	type event struct {
		Text string    `json:"text"`
		At   time.Time `json:"at"`
	}
	topic := func(name string) stream.Topic[event] {
		return stream.Topic[event]{Name: name, Time: func(e event) time.Time { return e.At }}
	}
	orders, payments, parcels := topic("orders"), topic("payments"), topic("parcels")
	done := stream.Topic[string]{Name: "done", Codec: stream.String()}

	b := processor.NewBuilder("shop")
	w := join.Window{Name: "paid", Within: 24 * time.Hour, Grace: time.Hour}
	paid := join.Inner(processor.From(b, orders), processor.From(b, payments), w,
		func(o, p event) string { return o.Text + ", " + p.Text })
	w.Name = "sent"
	join.Inner(paid, processor.From(b, parcels), w, func(paid string, p event) string { return paid + ", " + p.Text }).To(done)

	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	runExample(b, done, func(ctx context.Context, c *stream.Client) error {
		return errors.Join(
			sendExample(ctx, c, orders, "17", event{"a book", noon}),
			sendExample(ctx, c, parcels, "17", event{"sent", noon.Add(2 * time.Hour)}),
			sendExample(ctx, c, payments, "17", event{"paid", noon.Add(3 * time.Hour)}),
		)
	})
	// Output:
	// 17: a book, paid, sent
}

// runExample runs a topology on a server of its own over what fill sends, and prints what a topic holds then.
func runExample(b *processor.Builder, out stream.Topic[string], fill func(context.Context, *stream.Client) error) {
	if err := tryExample(context.Background(), b, out, fill); err != nil {
		fmt.Println(err)
	}
}

func tryExample(ctx context.Context, b *processor.Builder, out stream.Topic[string], fill func(context.Context, *stream.Client) error) (err error) {
	server, err := embedded.Start(ctx, embedded.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	nc, err := server.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	client, err := stream.NewClient(nc, stream.Config{})
	if err != nil {
		return err
	}
	topology, err := b.Build()
	if err != nil {
		return err
	}
	if err := fill(ctx, client); err != nil {
		return err
	}
	if err := processor.NewApp(client, topology, processor.Config{Bounded: true}).Run(ctx); err != nil {
		return err
	}
	consumer, err := stream.NewConsumer(ctx, client, out, stream.ConsumerConfig{Group: "reader"})
	if err != nil {
		return err
	}
	defer consumer.Close()
	for {
		done, err := consumer.CaughtUp(ctx)
		if err != nil || done {
			return err
		}
		records, err := consumer.Poll(ctx)
		if err != nil {
			return err
		}
		for _, r := range records {
			fmt.Printf("%s: %s\n", r.Key, r.Value)
		}
	}
}

func sendExample[V any](ctx context.Context, c *stream.Client, topic stream.Topic[V], key string, values ...V) error {
	if err := c.CreateTopic(ctx, topic.Spec()); err != nil {
		return err
	}
	p, err := stream.NewProducer(c, topic, stream.ProducerConfig{})
	if err != nil {
		return err
	}
	for _, v := range values {
		if err := p.Send(ctx, stream.ProducerRecord[V]{Key: key, Value: v}); err != nil {
			return errors.Join(err, p.Close(ctx))
		}
	}
	return p.Close(ctx)
}
