package streamtest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rossby-streams/rossby/stream"
)

// patience bounds what a test of the suite waits for, look one Poll that may find nothing.
const (
	patience = time.Minute
	look     = 20 * time.Millisecond
)

// Admin is the part of a log that Run asks about topics and groups: *stream.Client and
// *Log have it.
type Admin interface {
	CreateTopic(ctx context.Context, spec stream.TopicSpec) error
	Offsets(ctx context.Context, spec stream.TopicSpec) ([]stream.PartitionOffsets, error)
	Committed(ctx context.Context, spec stream.TopicSpec, group string) ([]stream.GroupOffset, error)
}

// ClosingSender is a producer that Run closes.
type ClosingSender interface {
	stream.Sender[string]
	Close(ctx context.Context) error
}

// Member is a consumer that Run lets join, move and leave.
type Member interface {
	stream.Poller[string]
	Assigned() []int
	Seek(ctx context.Context, partition int, next uint64) error
	Pause(parts ...int)
	Resume(parts ...int)
	Close()
}

// Target is the log that Run tests, without topics.
type Target struct {
	Admin    Admin
	Producer func(topic stream.Topic[string]) (ClosingSender, error)
	Consumer func(ctx context.Context, topic stream.Topic[string], cfg stream.ConsumerConfig) (Member, error)
}

// Target gives the log for Run.
func (l *Log) Target() Target {
	return Target{
		Admin:    l,
		Producer: func(topic stream.Topic[string]) (ClosingSender, error) { return NewProducer(l, topic) },
		Consumer: func(ctx context.Context, topic stream.Topic[string], cfg stream.ConsumerConfig) (Member, error) {
			return NewConsumer(ctx, l, topic, cfg)
		},
	}
}

// Run tries to break the promises that a log makes about topics, producers and groups,
// each in a subtest with a topic of its own.
func Run(t *testing.T, target Target) {
	t.Helper()
	for i, c := range append(logCases(), groupCases()...) {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			topic := c.topic
			topic.Name = "suite" + strconv.Itoa(i)
			b := &bench{T: t, ctx: ctx, target: target, topic: topic}
			b.must(target.Admin.CreateTopic(ctx, topic.Spec()))
			c.run(b)
		})
	}
}

// promise is one subtest.
type promise struct {
	name  string
	topic stream.Topic[string] // its name is given by Run
	run   func(b *bench)
}

// bench is what a promise works with.
type bench struct {
	*testing.T
	ctx    context.Context //nolint:containedctx // that of one subtest
	target Target
	topic  stream.Topic[string]
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) equal(what string, got, want any) {
	b.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func (b *bench) producer() ClosingSender {
	b.Helper()
	p, err := b.target.Producer(b.topic)
	b.must(err)
	b.Cleanup(func() {
		if err := p.Close(context.WithoutCancel(b.ctx)); err != nil {
			b.Error(err)
		}
	})
	return p
}

// send sends records, waits until they are stored and closes the producer.
func (b *bench) send(records ...stream.ProducerRecord[string]) {
	b.Helper()
	p := b.producer()
	for _, r := range records {
		b.must(p.Send(b.ctx, r))
	}
	b.must(p.Flush(b.ctx))
}

// numbered gives n records of so many keys, whose values are 0 to n-1.
func numbered(n, keys int) []stream.ProducerRecord[string] {
	out := make([]stream.ProducerRecord[string], n)
	for i := range out {
		out[i] = stream.ProducerRecord[string]{Key: "k" + strconv.Itoa(i%keys), Value: strconv.Itoa(i)}
	}
	return out
}

func (b *bench) join(cfg stream.ConsumerConfig) Member {
	b.Helper()
	if cfg.Group == "" {
		cfg.Group = "g"
	}
	m, err := b.target.Consumer(b.ctx, b.topic, cfg)
	b.must(err)
	b.Cleanup(m.Close)
	return m
}

// read polls until there are n records, and then once more, so that one too many is seen.
func (b *bench) read(m Member, n int) []stream.Record[string] {
	b.Helper()
	var out []stream.Record[string]
	for len(out) < n {
		records, err := m.Poll(b.ctx)
		b.must(err)
		out = append(out, records...)
	}
	out = append(out, b.glance(m)...)
	if len(out) != n {
		b.Fatalf("read %d records, want %d", len(out), n)
	}
	return out
}

// glance polls for a moment.
func (b *bench) glance(m Member) []stream.Record[string] {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, look)
	defer cancel()
	out, err := m.Poll(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		b.Fatal(err)
	}
	return out
}

// inOrder checks that each value came once, and those of a key in order.
func (b *bench) inOrder(records []stream.Record[string]) {
	b.Helper()
	last, seen := make(map[string]int), make(map[string]bool)
	for _, r := range records {
		n, err := strconv.Atoi(r.Value)
		b.must(err)
		if before, ok := last[r.Key]; ok && n <= before {
			b.Fatalf("key %q: %d came after %d", r.Key, n, before)
		}
		if seen[r.Value] {
			b.Fatalf("value %s came twice", r.Value)
		}
		last[r.Key], seen[r.Value] = n, true
	}
}

func (b *bench) offsets() []stream.PartitionOffsets {
	b.Helper()
	o, err := b.target.Admin.Offsets(b.ctx, b.topic.Spec())
	b.must(err)
	return o
}

func as[E error](b *bench, err error) {
	b.Helper()
	var want E
	if !errors.As(err, &want) {
		b.Fatalf("got error %v, want a %T", err, want)
	}
}

// yearOf is a topic's Time whose values are years.
func yearOf(v string) time.Time {
	year, err := strconv.Atoi(v)
	if err != nil {
		return time.Time{}
	}
	return time.Date(year, time.June, 1, 0, 0, 0, 0, time.UTC)
}

func logCases() []promise {
	type record = stream.ProducerRecord[string]
	one := stream.Topic[string]{}
	four := stream.Topic[string]{Partitions: 4}
	return []promise{
		{"offsets begin at 1 and have no holes", one, func(b *bench) {
			b.send(numbered(700, 3)...)
			for i, r := range b.read(b.join(stream.ConsumerConfig{}), 700) {
				b.equal("offset", r.Offset, i+1)
			}
		}},
		{"an empty topic has no records", four, func(b *bench) {
			for p, o := range b.offsets() {
				b.equal("offsets", o, stream.PartitionOffsets{Partition: p, First: 1, Next: 1})
			}
		}},
		{"records come once and in the order of their key", four, func(b *bench) {
			b.send(numbered(2000, 17)...)
			b.inOrder(b.read(b.join(stream.ConsumerConfig{}), 2000))
		}},
		{"the key decides the partition", four, func(b *bench) {
			b.send(numbered(200, 50)...)
			for _, r := range b.read(b.join(stream.ConsumerConfig{}), 200) {
				b.equal("partition of "+r.Key, r.Partition, stream.Partition(r.Key, 4))
			}
		}},
		{"records without a key are spread", stream.Topic[string]{Partitions: 2}, func(b *bench) {
			b.send(make([]record, 2048)...)
			for _, o := range b.offsets() {
				b.equal("records", o.Records, 1024)
			}
		}},
		{"who takes a topic for another one is refused", four, func(b *bench) {
			for _, wrong := range []stream.Topic[string]{{Partitions: 2}, {Partitions: 8}, {Partitions: 4, Compact: true}, {Partitions: 4, KeyIn: stream.Header}} {
				wrong.Name = b.topic.Name
				_, err := b.target.Producer(wrong)
				as[*stream.TopicMismatchError](b, err)
				_, err = b.target.Consumer(b.ctx, wrong, stream.ConsumerConfig{Group: "g"})
				as[*stream.TopicMismatchError](b, err)
			}
		}},
		{"awkward keys come back as they were", four, func(b *bench) {
			keys := []string{"a b", ".", "..", "a..b", "*", ">", "%", "%41", "\x00\n", "\xff", "ä", strings.Repeat("k", 900)}
			want := make(map[string]bool)
			var records []record
			for _, k := range keys {
				want[k] = true
				records = append(records, record{Key: k, Value: "v"})
			}
			b.send(records...)
			for _, r := range b.read(b.join(stream.ConsumerConfig{}), len(keys)) {
				delete(want, r.Key)
			}
			b.equal("missing keys", len(want), 0)
		}},
		{"headers and event time travel", one, func(b *bench) {
			at := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
			b.send(record{Key: "k", Time: at, Headers: stream.Headers{"X": {"1", "2"}}})
			r := b.read(b.join(stream.ConsumerConfig{}), 1)[0]
			b.equal("time", r.Time.Equal(at), true)
			b.equal("header", r.Headers["X"], []string{"1", "2"})
		}},
		{"an id counts once", one, func(b *bench) {
			b.send(record{Key: "k", Value: "0", ID: "a"}, record{Key: "k", Value: "1", ID: "a"}, record{Key: "k", Value: "2", ID: "b"})
			b.send(record{Key: "k", Value: "3", ID: "b"}, record{Key: "k", Value: "4"})
			var got []string
			for _, r := range b.read(b.join(stream.ConsumerConfig{}), 3) {
				got = append(got, r.Value)
			}
			b.equal("values", got, []string{"0", "2", "4"})
		}},
		{"a compacted topic keeps the last value of each key", stream.Topic[string]{Compact: true}, func(b *bench) {
			b.send(numbered(100, 5)...)
			for i, r := range b.read(b.join(stream.ConsumerConfig{}), 5) {
				b.equal("offset and value", []any{r.Offset, r.Value}, []any{96 + i, 95 + i})
			}
		}},
		{"a tombstone deletes its key", stream.Topic[string]{Compact: true}, func(b *bench) {
			b.send(append(numbered(4, 2), record{Key: "k0", Value: "unused", Tombstone: true})...)
			records := b.read(b.join(stream.ConsumerConfig{}), 2)
			b.equal("the other key", []any{records[0].Key, records[0].Value, records[0].Tombstone}, []any{"k1", "3", false})
			b.equal("the deleted one", []any{records[1].Key, records[1].Value, records[1].Tombstone, records[1].Offset}, []any{"k0", "", true, 5})
		}},
		{"a topic that is not compacted refuses tombstones", one, func(b *bench) {
			as[*stream.KeyError](b, b.producer().Send(b.ctx, record{Key: "k", Tombstone: true}))
			b.equal("records", b.offsets()[0].Records, 0)
		}},
		{"each record that was accepted is reported, in order, before Flush returns", four, func(b *bench) {
			p := b.producer()
			var mu sync.Mutex
			last := make(map[int]int)
			reports := 0
			for i, r := range numbered(1000, 13) {
				r.Done = func(d stream.Delivery) {
					mu.Lock()
					defer mu.Unlock()
					reports++
					if d.Err != nil || d.Partition != stream.Partition(r.Key, 4) || i < last[d.Partition] {
						b.Errorf("record %d: %+v after %d", i, d, last[d.Partition])
					}
					last[d.Partition] = i
				}
				b.must(p.Send(b.ctx, r))
			}
			b.must(p.Flush(b.ctx))
			mu.Lock()
			defer mu.Unlock()
			b.equal("reports", reports, 1000)
		}},
		{"records of a vanished topic are reported and told", one, func(b *bench) {
			b.topic.Name = "vanished"
			p, err := b.target.Producer(b.topic)
			b.must(err)
			told := make(chan stream.Delivery, 1)
			b.must(p.Send(b.ctx, record{Key: "k", Done: func(d stream.Delivery) { told <- d }}))
			as[*stream.TopicNotFoundError](b, p.Flush(b.ctx))
			as[*stream.TopicNotFoundError](b, (<-told).Err)
			b.must(p.Close(b.ctx))
		}},
		{"a compacted topic refuses records without a key", stream.Topic[string]{Compact: true}, func(b *bench) {
			as[*stream.KeyError](b, b.producer().Send(b.ctx, record{}))
			b.equal("records", b.offsets()[0].Records, 0)
		}},
		{"the newest MaxRecords are kept", stream.Topic[string]{MaxRecords: 10}, func(b *bench) {
			b.send(numbered(25, 3)...)
			b.equal("offsets", b.offsets()[0], stream.PartitionOffsets{Partition: 0, First: 16, Next: 26, Records: 10})
			b.equal("first", b.read(b.join(stream.ConsumerConfig{}), 10)[0].Offset, 16)
		}},
		{"a record that is too large is refused, the next is not", one, func(b *bench) {
			p := b.producer()
			as[*stream.TooLargeError](b, p.Send(b.ctx, record{Key: "k", Value: strings.Repeat("x", 2<<20)}))
			b.must(p.Send(b.ctx, record{Key: "k"}))
			b.must(p.Flush(b.ctx))
			b.equal("records", b.offsets()[0].Records, 1)
		}},
		{"a value that cannot be encoded is refused", one, func(b *bench) {
			as[*stream.EncodeError](b, b.producer().Send(b.ctx, record{Key: "k", Value: "\xff"}))
			b.equal("records", b.offsets()[0].Records, 0)
		}},
		{"a closed producer sends nothing", one, func(b *bench) {
			p := b.producer()
			b.must(p.Close(b.ctx))
			b.equal("closed", errors.Is(p.Send(b.ctx, record{Key: "k"}), stream.ErrClosed), true)
		}},
		{"keys in headers come back as they were", stream.Topic[string]{Partitions: 2, KeyIn: stream.Header}, func(b *bench) {
			b.send(numbered(100, 7)...)
			records := b.read(b.join(stream.ConsumerConfig{}), 100)
			b.inOrder(records)
			for _, r := range records {
				b.equal("partition of "+r.Key, r.Partition, stream.Partition(r.Key, 2))
				b.equal("headers", len(r.Headers), 0)
			}
		}},
		{"a key that is too long is refused", one, func(b *bench) {
			as[*stream.KeyError](b, b.producer().Send(b.ctx, record{Key: strings.Repeat("k", 10<<10)}))
			b.equal("records", b.offsets()[0].Records, 0)
		}},
		{"the topic's Time gives the event time", stream.Topic[string]{Time: yearOf}, func(b *bench) {
			b.send(record{Key: "k", Value: "1969"})
			r := b.read(b.join(stream.ConsumerConfig{}), 1)[0]
			b.equal("year", r.Time.Year(), 1969)
			b.equal("headers", len(r.Headers), 0)
		}},
		{"an event time beats the topic's Time", stream.Topic[string]{Time: yearOf}, func(b *bench) {
			b.send(record{Key: "k", Value: "1969", Time: yearOf("1815")})
			b.equal("year", b.read(b.join(stream.ConsumerConfig{}), 1)[0].Time.Year(), 1815)
		}},
		{"data that cannot be decoded are told and passed", one, func(b *bench) {
			json := b.topic.Codec
			b.topic.Codec = stream.String()
			b.send(record{Key: "k", Value: "{"}, record{Key: "k", Value: `"fine"`})
			b.topic.Codec = json
			records := b.read(b.join(stream.ConsumerConfig{}), 2)
			b.equal("first fails", records[0].Err != nil, true)
			b.equal("its data", string(records[0].Data), "{")
			b.equal("second", records[1].Value, "fine")
		}},
		{"ids count in each partition by themselves", stream.Topic[string]{Partitions: 8}, func(b *bench) {
			parts := make(map[int]bool)
			var records []record
			for _, r := range numbered(64, 64) {
				r.ID = "same"
				parts[stream.Partition(r.Key, 8)] = true
				records = append(records, r)
			}
			b.send(records...)
			b.read(b.join(stream.ConsumerConfig{}), len(parts))
		}},
		{"creating again changes nothing, or fails", four, func(b *bench) {
			b.send(numbered(10, 10)...)
			b.must(b.target.Admin.CreateTopic(b.ctx, b.topic.Spec()))
			other := b.topic.Spec()
			other.Partitions = 5
			as[*stream.TopicMismatchError](b, b.target.Admin.CreateTopic(b.ctx, other))
			b.equal("records", len(b.read(b.join(stream.ConsumerConfig{}), 10)), 10)
		}},
		{"a topic that does not exist is told", one, func(b *bench) {
			b.topic.Name = "nobody"
			_, err := b.target.Consumer(b.ctx, b.topic, stream.ConsumerConfig{Group: "g"})
			as[*stream.TopicNotFoundError](b, err)
			_, err = b.target.Admin.Offsets(b.ctx, b.topic.Spec())
			as[*stream.TopicNotFoundError](b, err)
		}},
	}
}
