// Word count is the smallest program with everything in it: a topic, a new key, state, and exactly-once results. It starts its own
// NATS server, counts the words of standard input (or of a line of its own) and prints the counts.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// The topics: lines of text, and how often each word has come.
var (
	Lines  = stream.Topic[string]{Name: "lines", Partitions: 4}
	Counts = stream.Topic[int64]{Name: "counts", Partitions: 4}
)

// Topology splits lines into words, brings equal words together and counts them.
func Topology() (*processor.Topology, error) {
	b := processor.NewBuilder("wordcount")
	words := processor.FlatMap(processor.From(b, Lines), strings.Fields)
	byWord := processor.KeyBy(words, "by-word", strings.ToLower)
	processor.Count(byWord, processor.Counting{Name: "count"}).To(Counts)
	return b.Build()
}

func main() {
	text := io.Reader(strings.NewReader("the quick brown fox jumps over the lazy dog\n"))
	if info, err := os.Stdin.Stat(); err == nil && info.Mode()&os.ModeCharDevice == 0 {
		text = os.Stdin
	}
	if err := run(context.Background(), text, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "wordcount:", err)
		os.Exit(1)
	}
}

// run counts the words of text and prints every change of a count.
func run(ctx context.Context, text io.Reader, out io.Writer) (err error) {
	topology, err := Topology()
	if err != nil {
		return err
	}
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
	client, err := stream.NewClient(nc, stream.Config{Storage: stream.Memory})
	if err != nil {
		return err
	}
	if err := produce(ctx, client, text); err != nil {
		return err
	}
	if err := processor.NewApp(client, topology, processor.Config{Bounded: true}).Run(ctx); err != nil {
		return err
	}
	return printCounts(ctx, client, out)
}

func produce(ctx context.Context, client *stream.Client, text io.Reader) error {
	if err := client.CreateTopic(ctx, Lines.Spec()); err != nil {
		return err
	}
	producer, err := stream.NewProducer(client, Lines, stream.ProducerConfig{})
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		if err := producer.Send(ctx, stream.ProducerRecord[string]{Value: lines.Text()}); err != nil {
			return errors.Join(err, producer.Close(ctx))
		}
	}
	return errors.Join(lines.Err(), producer.Close(ctx))
}

func printCounts(ctx context.Context, client *stream.Client, out io.Writer) error {
	consumer, err := stream.NewConsumer(ctx, client, Counts, stream.ConsumerConfig{Group: "printer"})
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
			if _, err := fmt.Fprintf(out, "%s %d\n", r.Key, r.Value); err != nil {
				return err
			}
		}
	}
}
